"""Two judged runs on one page: their differences first, then both reports side by side."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from modelwright.core.limits import METRICS, show
from modelwright.core.records import Interval
from modelwright.release.candidates_page import parameter_text
from modelwright.release.evidence import led
from modelwright.release.html import anchor, page, table
from modelwright.release.report import sections, with_interval
from modelwright.release.run_records import RunRecords
from modelwright.release.standings import kept_standings
from modelwright.release.verdict import headline, tone

TIMED = ("latency_p95", "throughput", "memory")


def compare_page(one: RunRecords, other: RunRecords, found: list[Line]) -> str:
    """The whole page; `found`: what `lines` says of the two."""
    names = [f"{r.release.model} {r.release.version or r.release.run}" for r in (one, other)]
    title = " and ".join(names)
    heads = "".join(
        f"<div><p class='eyebrow'>{escape(name)} &middot; {escape(r.release.at)}</p>"
        f"<h2 class='{tone(r.release)}'>{escape(headline(r.release))}</h2></div>"
        for name, r in zip(names, (one, other), strict=True)
    )
    body = [
        f"<h1>{escape(title)}</h1><div class='columns'>{heads}</div>",
        f"<section><h2>Differences</h2>{differences(one, other, names, found)}</section>",
    ]
    for (name, left), (_, right) in zip(sections(one), sections(other), strict=True):
        body.append(
            f"<section id='{anchor(name)}'><h2>{name}</h2><div class='columns'>"
            f"<div>{left}</div><div>{right}</div></div></section>"
        )
    return page(title, "".join(body), wide=True)


@dataclass(frozen=True)
class Line:
    """One thing in which two runs differ.

    Attributes:
        what: a metric, a cost, or what made the model.
        texts: as people read it, of the one and of the other.
        better: which is better, in words; empty where that cannot be said.
        measured: the figures with their intervals; None for what is no figure.
        lead: how much better the first is on the same rows (paired); None where the runs were not
            judged on the same rows, or it is no metric of quality.
    """

    what: str
    texts: tuple[str, str]
    better: str = ""
    measured: tuple[Interval | None, Interval | None] = (None, None)
    lead: Interval | None = None


def differences(one: RunRecords, other: RunRecords, names: list[str], found: list[Line]) -> str:
    """What differs, a line each: quality with intervals, costs, what made the model."""
    rows = [
        f"<tr><th scope='row'>{escape(line.what)}</th><td class='why'>{escape(line.better)}</td>"
        f"<td class='any'>{escape(line.texts[0])}</td>"
        f"<td class='any'>{escape(line.texts[1])}</td></tr>"
        for line in found
    ]
    note = ""
    if one.dataset.holdout_fingerprint != other.dataset.holdout_fingerprint:
        note = "<p class='warning'>The two were judged on different holdout rows.</p>"
    return note + table(("", "which is better", names[0], names[1]), rows, stacked=True)


def lines(one: RunRecords, other: RunRecords) -> list[Line]:
    """Every difference; quality is compared row by row where both were judged on the same rows."""
    found = []
    left, right = _measured(one), _measured(other)
    leads = _leads(one, other)
    for metric in dict.fromkeys([*left, *right]):
        a, b, lead = left.get(metric), right.get(metric), leads.get(metric)
        word = ""
        if a is not None and b is not None and (metric in METRICS or _is_loss(metric)):
            word = _paired(metric, lead) if lead is not None else _better(metric, a, b)
        texts = (with_interval(metric, a), with_interval(metric, b))
        found.append(Line(metric, texts, word, (a, b), lead))
    for what, values in _made_of(one, other).items():
        if values[0] != values[1]:
            found.append(Line(what, values))
    return found


def _leads(one: RunRecords, other: RunRecords) -> dict[str, Interval]:
    mine, theirs = kept_standings(one.folder), kept_standings(other.folder)
    return mine.leads(theirs) if mine is not None and theirs is not None else {}


def _paired(metric: str, lead: Interval) -> str:
    """Which is better on the same rows, and by how much."""
    if lead.low > 0:
        return f"the first is better: {led(metric, lead)}, on the same rows"
    if lead.high < 0:
        turned = Interval(-lead.value, -lead.high, -lead.low, lead.confidence)
        return f"the second is better: {led(metric, turned)}, on the same rows"
    if lead.low == lead.high == 0:
        return "equal on every row"
    return "no difference beyond chance, on the same rows"


def _measured(records: RunRecords) -> dict[str, Interval]:
    """Quality and costs with their intervals."""
    found = {f.subject: f.interval for f in records.release.evidence
             if f.check in ("goal", "metric") and f.interval is not None}  # fmt: skip
    for name in ("latency_p95", "throughput", "memory"):
        interval = getattr(records.measured, name)
        if interval is not None:
            found[name] = interval
    size = float(records.measured.size)
    return {**found, "size": Interval(size, size, size)}


def _better(metric: str, a: Interval, b: Interval) -> str:
    """Only where the intervals do not overlap, and what is written differs; what a machine took was
    measured at two times, so that its state is in the difference."""
    if a.value != b.value and show(metric, a.value) == show(metric, b.value):
        return "equal as far as is written"
    when = ", measured at different times" if metric in TIMED else ""
    higher = not _is_loss(metric) and METRICS[metric].better == "higher"
    if a.low > b.high:
        return ("the first is better" if higher else "the second is better") + when
    if b.low > a.high:
        return ("the second is better" if higher else "the first is better") + when
    return "" if a.value == b.value else "within their intervals"


def _is_loss(metric: str) -> bool:
    """Whether it is an error that no limit can be set on: of a quantile, or of probabilities."""
    return metric == "ece" or metric.startswith("pinball ")


def _made_of(one: RunRecords, other: RunRecords) -> dict[str, tuple[str, str]]:
    def of(records: RunRecords) -> dict[str, str]:
        params = sorted(records.fit.params.items())
        return {
            "verdict": records.release.verdict,
            "family": records.fit.family,
            "parameters": ", ".join(f"{name} {parameter_text(value)}" for name, value in params),
            "trained on": f"{records.dataset.train_rows:,} rows, {records.dataset.fingerprint}",
            "judged on": f"{records.dataset.holdout_rows:,} rows, "
            f"{records.dataset.holdout_fingerprint}",
            "columns": ", ".join(c.name for c in records.dataset.schema.features),
            "spec": records.manifest.spec_digest,
            "code": records.manifest.code or "not in git",
            "seed": str(records.fit.seed),
            "artefact": records.release.artefact,
        }

    left, right = of(one), of(other)
    return {what: (left[what], right[what]) for what in left}
