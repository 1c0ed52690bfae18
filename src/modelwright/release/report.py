"""The report of a run: one self-contained HTML file, the verdict first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from modelwright.core.limits import Limit, show
from modelwright.core.records import (
    ACCEPTED,
    Finding,
    Interval,
    Measured,
)
from modelwright.release.candidates_page import candidates_page
from modelwright.release.card import missing_from_card
from modelwright.release.data_page import data_page
from modelwright.release.drawing import limit_bar
from modelwright.release.html import contents, page, reasons, table
from modelwright.release.model_page import curves_page, failures_page, uses_page, weak_page
from modelwright.release.practices import practices_html, score_practices
from modelwright.release.run_records import RunRecords
from modelwright.release.verdict import headline, tone

MANY_USES = 10
"""Uses of the same sealed rows after which their verdicts get optimistic."""
SIGN = {"pass": "&#10003; pass", "fail": "&#10007; fail", "undecided": "? undecided"}


def render(given: RunRecords) -> str:
    """The whole page."""
    release = given.release
    title = f"{release.model} {release.version or release.run}"
    head = (
        f"<p class='eyebrow'>{escape(title)} &middot; {escape(release.at)}</p>"
        f"<h1 class='{tone(release)}'>{escape(headline(release))}</h1>{_purpose(given)}"
    )
    return page(title, head + contents(sections(given), "report"))


def sections(given: RunRecords) -> list[tuple[str, str]]:
    """Every part of the report: its name and content."""
    release, found = given.release, given.evaluation
    return [
        ("Limits", _limits(given)),
        ("Quality on the holdout", _quality(release.evidence)),
        ("Gates", _gates(release.evidence)),
        ("What a person must still judge", _to_judge(given)),
        ("Candidates", candidates_page(given.fit, given.manifest.limits, release.evidence)),
        ("Curves", curves_page(found)),
        ("What the model uses", uses_page(found)),
        ("Weak slices", weak_page(found)),
        ("Worst errors", failures_page(found)),
        ("Cost", _cost(given.measured)),
        ("Data", _retrained(given) + data_page(given.dataset)),
        ("ML Test Score", practices_html(given.practices or score_practices(given))),
        ("How to get this again", _reproduce(given)),
    ]


def to_judge(given: RunRecords) -> list[str]:
    """What no computation decides, in sentences."""
    spec, evidence = given.spec_file.spec, given.release.evidence
    found = []
    if missing := missing_from_card(spec):
        found.append(f"What only the owner knows: fill {', '.join(missing)} in the spec.")
    for finding in evidence:
        if finding.check == "fairness" and finding.verdict != "pass":
            found.append(f"Whether this difference is justified: {finding.subject}, "
                         f"{finding.measured}.")  # fmt: skip
        elif finding.check == "weak slice" and finding.verdict == "fail":
            found.append(f"Whether it may be used where it is weak: {finding.measured}.")
    if not any(column.protected for column in given.dataset.schema.columns):
        found.append("Whether any column needs protection from unequal treatment: none is marked "
                     "in data.protected.")  # fmt: skip
    for override in given.release.overrides:
        found.append(f"Whether {override.who} let {override.check} {override.subject}, which was "
                     f"undecided, through for good reason: {override.why}.")  # fmt: skip
    accepted = [f for f in given.dataset.findings if f.why.startswith(ACCEPTED)]
    if accepted:
        named = ", ".join(f"{f.check} {f.subject}" for f in accepted)
        found.append(f"Whether these findings in the data are harmless, as the spec says: {named}.")
    if given.release.holdout_uses > MANY_USES:
        found.append(f"Whether the sealed holdout still is one: it was used "
                     f"{given.release.holdout_uses} times.")  # fmt: skip
    found.append("Whether the holdout is like the rows that the model will meet.")
    return found


def _to_judge(given: RunRecords) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in to_judge(given)) + "</ul>"


def _purpose(given: RunRecords) -> str:
    spec = given.spec_file.spec
    lines = [("For", spec.intent), ("Not for", spec.out_of_scope), ("Owner", spec.owner)]
    return "".join(f"<p><b>{a}:</b> {escape(b)}</p>" for a, b in lines if b)


def _quality(evidence: Sequence[Finding]) -> str:
    """The goal with its interval first, then every other metric."""
    rows = [
        f"<tr><th scope='row'>{escape(f.subject)}{' (goal)' if f.check == 'goal' else ''}</th>"
        f"<td>{escape(f.measured)}{_beside(f.why)}</td></tr>"
        for f in evidence
        if f.check in ("goal", "metric")
    ]
    return table(("metric", "value"), rows)


def _beside(why: str) -> str:
    return f"<div class='info'>{escape(why)}</div>" if why else ""


def _limits(given: RunRecords) -> str:
    rows = []
    for finding, limit in _paired(given.release.evidence, given.manifest.limits):
        rows.append(
            f"<tr><th scope='row'>{escape(finding.subject)}</th>"
            f"<td class='{finding.verdict} sign'>{SIGN[finding.verdict]}</td>"
            f"<td>{escape(finding.measured)}</td><td class='wanted'>{escape(finding.wanted)}</td>"
            f"<td>{limit_bar(finding, limit)}</td></tr>"
        )
    if not rows:
        return "<p>The spec sets no limits. Add some under <code>limits:</code>.</p>"
    key = "<p class='key'>Bar: the interval. Dot: what was measured. Upright line: the limit.</p>"
    return table(("limit", "verdict", "measured", "wanted", ""), rows, stacked=True) + key


def _paired(evidence: Sequence[Finding], limits: Iterable[Limit]) -> list[tuple[Finding, Limit]]:
    by_words = {str(limit): limit for limit in limits if not limit.relative}
    return [
        (finding, by_words[finding.wanted])
        for finding in evidence
        if finding.check in ("limit", "slice")
    ]


def _gates(evidence: Sequence[Finding]) -> str:
    rows = [
        f"<tr><th scope='row'>{escape(f.check)}</th>"
        f"<td class='{_weight(f)} sign'>{SIGN[f.verdict]}{_warns(f)}</td>"
        f"<td>{escape(f.subject)}</td><td>{escape(f.measured)}</td>"
        f"<td class='wanted'>{escape(f.wanted)}</td>"
        f"<td>{reasons(f.why, f.advice)}</td></tr>"
        for f in evidence
        if f.severity != "info"
    ]
    head = ("gate", "verdict", "of", "measured", "wanted", "why, and what to do")
    return table(head, rows, stacked=True)


def _retrained(given: RunRecords) -> str:
    """Of a retraining: what rows it was made of, and why."""
    notes = [". ".join(filter(None, (f.measured, f.why))) for f in given.gates("retrained")]
    return "".join(f"<p>Retrained: {escape(note)}.</p>" for note in notes)


def _weight(finding: Finding) -> str:
    """The colour of a verdict: one that only warns is not red."""
    warns = finding.severity == "warning" and finding.verdict != "pass"
    return "warning" if warns else finding.verdict


def _warns(finding: Finding) -> str:
    return " (warns)" if _weight(finding) == "warning" else ""


def _cost(measured: Measured) -> str:
    lines = [
        ("one row in process, p50", f"{measured.in_process_p50 * 1e6:.0f} µs"),
        ("size", show("size", measured.size)),
        ("load", show("latency_p95", measured.load_seconds)),
    ]
    if measured.cold_start is not None:
        lines.append(
            ("HTTP server: start to first answer", show("latency_p95", measured.cold_start))
        )
    for name in ("latency_p50", "latency_p95", "latency_p99", "throughput", "memory"):
        found = getattr(measured, name)
        if found is not None:
            metric = "latency_p95" if name.startswith("latency") else name
            lines.append((f"HTTP server: {name}", with_interval(metric, found)))
    rows = [f"<tr><th scope='row'>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in lines]
    rate = f"at {measured.rate:,.0f} requests/s" if measured.rate else "one request after the other"
    steady = "" if measured.steady else " The blocks of the p95 differ by more than a tenth."
    note = f"<p>Measured on {escape(measured.machine)}, latency {rate}.{steady}</p>"
    return note + table(("what", "value"), rows)


def with_interval(metric: str, found: Interval | None) -> str:
    """A figure in its unit, with the ends of its interval and how often those hold."""
    if found is None:
        return "not measured"
    value = show(metric, found.value)
    if found.low == found.high:
        return value
    ends = f"{show(metric, found.low)} to {show(metric, found.high)}"
    return f"{value} ({100 * found.confidence:.3g}%: {ends})"


def _reproduce(given: RunRecords) -> str:
    manifest = given.manifest
    lines = [
        ("run", given.release.run),
        ("code", manifest.code or "not in git"),
        ("spec sha256", manifest.spec_digest),
        (
            "overrides",
            ", ".join(f"{k}={v}" for k, v in given.spec_file.overrides.items()) or "none",
        ),
        ("data fingerprint", manifest.data_fingerprint),
        ("seed", str(manifest.seed)),
        ("uses of the sealed holdout", str(given.release.holdout_uses)),
        ("libraries", ", ".join(f"{k} {v}" for k, v in manifest.versions.items())),
        ("artefact sha256", given.release.artefact),
    ]
    rows = [f"<tr><th scope='row'>{a}</th><td><code>{escape(b)}</code></td></tr>" for a, b in lines]
    return table(("what", "value"), rows)
