"""The report's parts that go along time: traffic, latency, quality, the canary, and the rest."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from modelwright.core.evaluation import Curve
from modelwright.core.limits import METRICS, QUALITY, Limit, show
from modelwright.core.traffic import Traffic
from modelwright.release.drawing import Frame, plot, short
from modelwright.release.html import table
from modelwright.watch.ended_canary import Ended
from modelwright.watch.findings_page import findings_table, nothing
from modelwright.watch.report_records import DAY, Records
from modelwright.watch.state import Point
from modelwright.watch.times import minute_of

MOST_POINTS, MOST_MARKED, MOST_LISTED = 200, 40, 24
MOST_FIGURES = 24
MOST_BUCKETS = 96
BUCKETS = (60, 300, 900, 3600, 4 * 3600, DAY, 7 * DAY, 30 * DAY)
LINES = 4
"""So many versions are told apart in one plot."""
_SCALES = {"seconds": (1e3, "ms"), "bytes": (1e-6, "MB"), "per_second": (1.0, "a second")}
_WINDOWS = ("rows", "drift_alarms", "score_place")


def traffic_page(given: Records) -> str:
    """Answers over time, by version, and the windows that were judged."""
    counted = {v: _since(minutes, given.since) for v, minutes in given.minutes.items()}
    counted = {version: minutes for version, minutes in counted.items() if minutes}
    if not counted:
        return nothing("no answer is counted since " + minute_of(given.since))
    most = sorted(counted, key=lambda version: -sum(counted[version].values()))[:LINES]
    size = _bucket(given)
    curves = [_traffic(given, counted[version], size, f"version {version}") for version in most]
    title = f"Answers each {_span(size)}{f', {curves[0].of}' if len(curves) == 1 else ''}"
    frame = _frame(given, curves, f"answers each {_span(size)}", floor=True)
    rows = [
        f"<tr><th scope='row'>{escape(version)}</th><td>{sum(minutes.values()):,}</td>"
        f"<td>{minute_of(min(minutes))}</td><td>{minute_of(max(minutes))}</td></tr>"
        for version, minutes in counted.items()
    ]
    totals = table(("version", "answers", "first", "last"), rows)
    drawn = plot(curves, frame, title, points=max(len(c.x) for c in curves) <= MOST_MARKED).figure()
    return f"<div class='figures'>{drawn}</div>{totals}{_windows(given)}"


def latency_page(given: Records) -> str:
    """Latency against its limit, and every other cost that is watched."""
    names = [n for n in given.series if metric_of(n) in METRICS and metric_of(n) not in QUALITY]
    names.sort(key=lambda name: (not metric_of(name).startswith("latency"), name))
    if not names:
        return nothing("latency is measured at the server, and no look has found its numbers")
    return _figures(given, names)


def quality_page(given: Records) -> str:
    """Metrics of late labels with their bands; how many labels came and when; the estimate."""
    metrics = [n for n in given.series if is_quality(n) and n.lower().startswith("quality")]
    labels = [n for n in given.series if "label" in n.lower() and n not in metrics]
    estimates = [n for n in given.series if is_quality(n) and n not in (*metrics, *labels)]
    parts = []
    if metrics:
        parts.append(_figures(given, metrics))
    else:
        parts.append(nothing("no window of answers has its labels; send them as they come"))
    for title, names, absent in (
        ("Labels", labels, "how many answers have a label, and how late, is not known"),
        ("Estimate without labels", estimates, "there is no estimate to show"),
    ):
        parts.append(f"<h3>{title}</h3>{_figures(given, names) if names else nothing(absent)}")
    found = [f for part in given.shown if is_quality(part) for f in given.findings(part)]
    return "".join(parts) + (findings_table(found, given.names) if found else "")


def canary_page(given: Records) -> str:
    """The canary's share, its verdict so far, and the evidence."""
    canary, found = given.subject.traffic.canary, given.findings("canary")
    series = [name for name in given.series if name.lower().startswith("canary")]
    beside = _beside(given.subject.traffic)
    if canary is None and given.ended is not None:
        return beside + _ended(given, given.ended, series)
    if canary is None and not found and not series:
        return nothing("no version has a canary's share of the traffic") + beside
    parts = [beside]
    if canary is not None:
        now = canary.weight_at(given.now)
        began = f", since {minute_of(canary.began)}" if canary.began else ""
        parts.append(f"<p>Version {escape(canary.version)} is to answer {100 * now:.4g} % of the "
                     f"requests now{began}.</p>")  # fmt: skip
        parts.append(_share(given, canary.version, canary.weight_at, math.inf))
    else:
        parts.append(nothing("no canary is on; below is what was said of the last one"))
    parts.append(findings_table(found, given.names) if found else nothing("no verdict on it"))
    parts.append(_figures(given, series) if series else "")
    return "".join(parts)


def _ended(given: Records, ended: Ended, series: Sequence[str]) -> str:
    """The canary that ended last, marked as such: its verdict, its share and its evidence."""
    rule, found = ended.rule, ended.decision.findings if ended.decision is not None else ()
    span = f"{minute_of(rule.began)} to {minute_of(ended.at)}"
    said = f"No canary is on. The last one has ended: version {rule.version} against version "
    said += f"{ended.against}, {span}; {ended.outcome}."
    own = {name: [p for p in given.series[name] if rule.began <= p.at <= ended.at]
           for name in series}  # fmt: skip
    then = dataclasses.replace(
        given, series={name: points for name, points in own.items() if points}
    )
    return "".join((
        f"<p>{escape(said)}</p>",
        _share(given, rule.version, rule.weight_at, ended.at),
        findings_table(found, given.names) if found else nothing("no verdict on it"),
        _figures(then, list(then.series)) if then.series else "",
    ))  # fmt: skip


def _beside(traffic: Traffic) -> str:
    """What else shares the traffic."""
    found = []
    if traffic.test is not None:
        arms = [f"version {v} {100 * share:.4g} %" for v, share in traffic.test.arms.items()]
        found.append(f"A test is on: {', '.join(arms)}.")
    if traffic.shadow:
        found.append(f"Version {traffic.shadow} answers a copy of each request, unseen.")
    return "".join(f"<p>{escape(text)}</p>" for text in found)


def other_series(given: Records) -> list[str]:
    """Names of series that no other part shows."""
    return [
        name for name in given.series
        if metric_of(name) not in METRICS and not is_quality(name)
        and not name.lower().startswith("canary") and _plain(name) not in _WINDOWS
    ]  # fmt: skip


def other_page(given: Records) -> str:
    """Those series."""
    return _figures(given, other_series(given))


def is_quality(name: str) -> bool:
    """Whether a series or a part is about labels, quality, or its estimate.

    Example:
        >>> is_quality("quality roc_auc"), is_quality("estimated loss"), is_quality("latency_p95")
        (True, True, False)
    """
    words = name.lower()
    return words.startswith(("quality", "estimate")) or "label" in words or "back-test" in words


def metric_of(name: str) -> str:
    """The metric that a series is of, as limits name it.

    Example:
        >>> metric_of("quality roc_auc where age = 3"), metric_of("latency p95"), metric_of("rows")
        ('roc_auc', 'latency_p95', 'rows')
    """
    plain = _plain(name.partition(" where ")[0])
    return re.sub(r"^(quality|limit|live|estimated?|server)_", "", plain)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _limit(given: Records, name: str) -> Limit | None:
    """The limit on the whole of a series, or on each level of the column that it is a level of."""
    _, where, level = name.partition(" where ")
    for limit in given.limits:
        sliced = bool(where) and level.startswith(limit.slice_column or "\0")
        fits = sliced if limit.slice_column else not where
        if fits and limit.metric == metric_of(name) and not limit.relative:
            return limit
    return None


def _figures(given: Records, names: Sequence[str]) -> str:
    drawn = "".join(_over_time(given, name) for name in names[:MOST_FIGURES])
    left = len(names) - MOST_FIGURES
    more = f"<p class='key'>{left} more are not drawn.</p>" if left > 0 else ""
    return f"<div class='figures'>{drawn}</div>{more}"


def _over_time(given: Records, name: str) -> str:
    """One series with its band and its limit, and its last values as a table."""
    points = [p for p in given.series[name] if math.isfinite(p.value)]
    if not points:
        return ""
    metric = METRICS.get(metric_of(name))
    scale, unit = _SCALES.get(metric.unit, (1.0, "")) if metric else (1.0, "")
    limit = _limit(given, name)
    level = None if limit is None else limit.bound * scale
    kept = _thinned(points)
    curve = _curve(given, kept, scale)
    frame = _frame(given, [curve], unit or "value", level=level)
    against = f", limit {limit}" if limit is not None else ""
    title = f"{given.names.words(name)}{f', {unit}' if unit else ''}{against}"
    marked = len(kept) <= MOST_MARKED
    drawn = plot([curve], frame, title, level=level, points=marked).figure()
    write: Callable[[float], str] = short if metric is None else lambda v: show(metric.name, v)
    rows = [_row(point, write) for point in reversed(points[-MOST_LISTED:])]
    numbers = table(("until", "value", "band", "rows", "version"), rows)
    told = f"<details><summary>Last values of {escape(given.names.words(name))}</summary>"
    return f"<div>{drawn}{told}{numbers}</details></div>"


def _row(point: Point, write: Callable[[float], str]) -> str:
    band = ""
    if point.low is not None and point.high is not None:
        band = f"{write(point.low)} to {write(point.high)}"
    cells = (write(point.value), band, f"{point.rows:,}" if point.rows else "", point.version)
    others = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f"<tr><th scope='row'>{minute_of(point.at)}</th>{others}</tr>"


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most so many, the last among them."""
    step = max(1, math.ceil(len(points) / MOST_POINTS))
    return list(points[::-1][::step][::-1])


def _curve(given: Records, points: Sequence[Point], scale: float) -> Curve:
    xs = tuple(_before(given, point.at) for point in points)
    ys = tuple(point.value * scale for point in points)
    bands = [(p.value if p.low is None else p.low, p.value if p.high is None else p.high)
             for p in points]  # fmt: skip
    banded = any(p.low is not None or p.high is not None for p in points)
    if not banded or not all(math.isfinite(end) for band in bands for end in band):
        return Curve("series", xs, ys)
    low, high = (tuple(end * scale for end in ends) for ends in zip(*bands, strict=True))
    return Curve("series", xs, ys, low, high)


def _before(given: Records, at: float) -> float:
    """Place on the lower axis: hours or days before the report, as negative numbers."""
    return (at - given.now) / _unit(given)[0]


def _unit(given: Records) -> tuple[float, str]:
    return (3600.0, "hours") if given.now - given.since <= 3 * DAY else (DAY * 1.0, "days")


def _frame(
    given: Records, curves: Iterable[Curve], name: str, *, level: float | None = None,
    floor: bool = False,
) -> Frame:  # fmt: skip
    """A frame from the report's begin to now, which holds curves and limit."""
    found = [y for curve in curves for y in (*curve.y, *curve.low, *curve.high)]
    found += [] if level is None else [level]
    found += [0.0] if floor else []
    low, high = min(found, default=0.0), max(found, default=1.0)
    room = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    begin = _before(given, given.earliest)
    axis = f"{_unit(given)[1]} before {minute_of(given.now)}"
    ends = (low if floor else low - room, high + room)
    return Frame((min(begin, -1e-3), 0.0), ends, (axis, name), lambda value: short(abs(value)))


def _since(minutes: Mapping[int, int], since: float) -> dict[int, int]:
    return {minute: rows for minute, rows in minutes.items() if minute >= since}


def _bucket(given: Records) -> int:
    first = min((m for ms in given.minutes.values() for m in ms if m >= given.since),
                default=given.now)  # fmt: skip
    grain = given.subject.spec.watch.grain
    known = [size for size in BUCKETS if size >= grain and size % grain == 0] or [grain]
    return next((s for s in known if (given.now - first) / s <= MOST_BUCKETS), known[-1])


def _summed(minutes: Mapping[int, int], size: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for minute, rows in minutes.items():
        found[minute // size * size] = found.get(minute // size * size, 0) + rows
    return found


def _traffic(given: Records, minutes: Mapping[int, int], size: int, of: str) -> Curve:
    """Answers a bucket, those without any as zero; the last is not whole yet and left out."""
    found = _summed(minutes, size)
    last = int(given.subject.settled) // size * size
    begins = range(min(found), max(min(last, max(found) + 2 * size), min(found) + size), size)
    xs = tuple(_before(given, begin + size) for begin in begins)
    return Curve("traffic", xs, tuple(float(found.get(begin, 0)) for begin in begins), of=of)


def _share(
    given: Records, version: str, wanted: Callable[[float], float], until: float
) -> str:  # fmt: skip
    """The share that the canary really got, beside the one that it was to get."""
    own = {at: rows for at, rows in _since(given.minutes.get(version, {}), given.since).items()
           if at < until}  # fmt: skip
    if not own:
        return nothing("no answer of the canary is counted")
    size = _bucket(given)
    both = {v: _summed(_since(minutes, min(own)), size) for v, minutes in given.minutes.items()}
    begins = sorted({begin for found in both.values() for begin in found if begin < until})
    real = []
    for begin in begins:
        whole = sum(found.get(begin, 0) for found in both.values())
        real.append(both[version].get(begin, 0) / whole)
    xs = tuple(_before(given, begin + size / 2) for begin in begins)
    ys = tuple(wanted(begin + size / 2) for begin in begins)
    curves = [Curve("share", xs, tuple(real), of="answered"), Curve("share", xs, ys, of="wanted")]
    frame = _frame(given, curves, "share of 1", floor=True)
    drawn = plot(curves, frame, "Share of the canary over time").figure()
    return f"<div class='figures'>{drawn}</div>"


def _windows(given: Records) -> str:
    """The windows in which drift was judged."""
    rows = given.series.get("rows", ())
    if not rows:
        return f"<h3>Windows</h3>{nothing('no window is closed')}"
    alarms = {point.at: point.value for point in given.series.get("drift alarms", ())}
    lines = [
        f"<tr><th scope='row'>{minute_of(p.at)}</th><td>{p.value:,.0f}</td>"
        f"<td>{escape(p.version)}</td><td>{alarms.get(p.at, 0.0):g}</td></tr>"
        for p in reversed(rows[-MOST_LISTED:])
    ]
    body = table(("until", "answers", "version", "drift alarms"), lines)
    title = f"Windows: {len(rows)} closed"
    return f"<h3>{title}</h3>" + (
        f"<p class='key'>The last {MOST_LISTED}.</p>{body}" if len(rows) > MOST_LISTED else body
    )


def _span(seconds: int) -> str:
    """Example:
    >>> _span(60), _span(3600), _span(14400), _span(86400)
    ('minute', 'hour', '4 hours', 'day')
    """
    for size, name in ((DAY, "day"), (3600, "hour"), (60, "minute")):
        if seconds % size == 0:
            return name if seconds == size else f"{seconds // size} {name}s"
    return f"{seconds} seconds"
