"""Two judged runs on one page: their differences first, then both reports side by side."""

from __future__ import annotations

from html import escape

from modelwright.core.limits import METRICS, show
from modelwright.core.records import Interval
from modelwright.release.html import page, table
from modelwright.release.report import anchor, sections
from modelwright.release.run_records import RunRecords
from modelwright.release.verdict import headline


def compare_page(one: RunRecords, other: RunRecords) -> str:
    """The whole page."""
    names = [f"{r.release.model} {r.release.version or r.release.run}" for r in (one, other)]
    title = " and ".join(names)
    heads = "".join(
        f"<div><p class='eyebrow'>{escape(name)} &middot; {escape(r.release.at)}</p>"
        f"<h2 class='{r.release.verdict}'>{escape(headline(r.release))}</h2></div>"
        for name, r in zip(names, (one, other), strict=True)
    )
    body = [
        f"<h1>{escape(title)}</h1><div class='columns'>{heads}</div>",
        f"<section><h2>Differences</h2>{differences(one, other, names)}</section>",
    ]
    for (name, left), (_, right) in zip(sections(one), sections(other), strict=True):
        body.append(
            f"<section id='{anchor(name)}'><h2>{name}</h2><div class='columns'>"
            f"<div>{left}</div><div>{right}</div></div></section>"
        )
    return page(title, "".join(body))


def differences(one: RunRecords, other: RunRecords, names: list[str]) -> str:
    """What differs, a line each: quality with intervals, costs, what made the model."""
    rows = [
        f"<tr><th scope='row'>{escape(what)}</th><td>{escape(left)}</td><td>{escape(right)}</td>"
        f"<td>{escape(word)}</td></tr>"
        for what, left, right, word in lines(one, other)
    ]
    note = ""
    if one.dataset.holdout_fingerprint != other.dataset.holdout_fingerprint:
        note = "<p class='warning'>The two were judged on different holdout rows.</p>"
    return note + table(("", names[0], names[1], ""), rows)


def lines(one: RunRecords, other: RunRecords) -> list[tuple[str, str, str, str]]:
    """(what, its value in the one, in the other, which is better as far as intervals tell)."""
    found = []
    left, right = _measured(one), _measured(other)
    for metric in dict.fromkeys([*left, *right]):
        a, b = left.get(metric), right.get(metric)
        known = a is not None and b is not None and metric in METRICS
        word = _better(metric, a, b) if known and a is not None and b is not None else ""
        found.append((metric, _shown(metric, a), _shown(metric, b), word))
    for what, values in _made_of(one, other).items():
        if values[0] != values[1]:
            found.append((what, *values, ""))
    return found


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
    """Only where the intervals do not overlap."""
    higher = METRICS[metric].better == "higher"
    if a.low > b.high:
        return "the first is better" if higher else "the second is better"
    if b.low > a.high:
        return "the second is better" if higher else "the first is better"
    return "" if a.value == b.value else "within their intervals"


def _shown(metric: str, found: Interval | None) -> str:
    if found is None:
        return "not measured"
    if found.low == found.high:
        return show(metric, found.value)
    ends = f"{show(metric, found.low)} to {show(metric, found.high)}"
    return f"{show(metric, found.value)} ({ends})"


def _made_of(one: RunRecords, other: RunRecords) -> dict[str, tuple[str, str]]:
    def of(records: RunRecords) -> dict[str, str]:
        params = ", ".join(f"{k} {v}" for k, v in sorted(records.fit.params.items()))
        return {
            "verdict": records.release.verdict,
            "family": records.fit.family,
            "parameters": params,
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
