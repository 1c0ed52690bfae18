"""The report's part on candidates: the leaderboard, and quality against latency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from modelwright.core.limits import METRICS, Limit, show
from modelwright.core.records import NOT_LOOKED_AT, Finding, FitRecord, Trial
from modelwright.release.html import table

MOST_TRIALS, OPEN_TRIALS = 40, 10
WIDTH, HEIGHT, LEFT, BOTTOM = 640, 300, 70, 36
FAR = 3.0
"""How many times as far behind the best as the middle candidate a drawn one may be."""
IN_PROCESS = "in_process"
AXES = {
    "latency_p95": "p95 of the HTTP server",
    "size": "size of the model folder",
    "memory": "memory of the server",
    "throughput": "throughput",
}
"""Costs that can be drawn, in the order of preference."""
REMARKS = (
    "choice", "columns", "calibration", "label", "interval", "selection", "relax", "estimate",
    NOT_LOOKED_AT,
)  # fmt: skip


def candidates_page(fit: FitRecord, limits: Sequence[Limit], evidence: Sequence[Finding]) -> str:
    """Why this candidate, what the others would have been, and what each limit costs."""
    first = fit.first_feasible
    found = "" if first is None else f", first feasible candidate after {first:.1f} s"
    note = (
        f"<p>{escape(fit.folds)}; budget {escape(fit.budget)}, used {fit.seconds:.1f} s{found}.</p>"
    )
    return note + _remarks(evidence) + _plot(fit, limits) + _leaderboard(fit)


def _remarks(evidence: Sequence[Finding]) -> str:
    rows = [
        f"<tr><th scope='row'>{escape(f.check)}</th><td>{escape(f.subject)}</td>"
        f"<td>{escape(f.measured)}</td><td>{escape(f.why)}</td></tr>"
        for f in evidence
        if f.check in REMARKS and f.severity == "info"
    ]
    return table(("about", "of", "found", "why"), rows, stacked=True) if rows else ""


def _leaderboard(fit: FitRecord) -> str:
    rows = []
    for trial in fit.leaderboard()[:MOST_TRIALS]:
        mark = "chosen" if trial.number == fit.best else ""
        params = ", ".join(f"{k} {parameter_text(v)}" for k, v in trial.params.items())
        if trial.members:
            params = ", ".join(f"{weight:.0%} of {number}" for number, weight in trial.members)
        score = "" if trial.score is None else show(fit.goal, trial.score)
        error = "" if trial.error is None else f" ± {show(fit.goal, trial.error)}"
        cells = [
            str(trial.number), escape(trial.family), trial.origin, score + error,
            *map(escape, _costs(trial)), f"{trial.seconds:.1f}",
            escape(f"over {', '.join(trial.broken)}") if trial.broken else "kept",
        ]  # fmt: skip
        about = escape("; ".join(filter(None, (_came_of(trial), params, trial.note))))
        rows.append(
            f"<tr class='headed {mark}'>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
            f"<tr class='about {mark}'><td></td><td colspan='{len(cells) - 1}'>{about}</td></tr>"
        )
    head = ("#", "family", "origin", fit.goal, "one row", "p95", "throughput", "memory", "size",
            "fit s", "limits")  # fmt: skip
    rest = rows[OPEN_TRIALS:]
    more = f"<details><summary>{len(rest)} more</summary>{table(head, rest)}</details>"
    return table(head, rows[:OPEN_TRIALS]) + (more if rest else "")


def _came_of(trial: Trial) -> str:
    """How far it got, and whether any candidate is both better and faster."""
    found = [
        f"{len(trial.scores)} folds" + ("" if trial.outcome == "complete" else f", {trial.outcome}")
    ]
    found += [f"{trial.rounds:,} rounds"] if trial.rounds else []
    found += ["nothing is better and faster (one row)"] if trial.pareto else []
    return "; ".join(found)


def _costs(trial: Trial) -> list[str]:
    """One row, p95, throughput, memory, size: measured, else estimated and marked so."""
    cells = []
    for name in (IN_PROCESS, "latency_p95", "throughput", "memory", "size"):
        value, sign = _cost(trial, name)
        metric = "latency_p95" if name == IN_PROCESS else name
        cells.append("" if value is None else f"{sign}{show(metric, value)}")
    return cells


def _cost(trial: Trial, name: str) -> tuple[float | None, str]:
    """A figure of a candidate, and a mark where it is an estimate."""
    if trial.measured is not None:
        found = getattr(trial.measured, "in_process_p50" if name == IN_PROCESS else name)
        if found is not None:
            return float(getattr(found, "value", found)), ""
    estimate = getattr(trial.price, name, None)
    return (None, "") if estimate is None else (float(estimate), "~")


@dataclass(frozen=True)
class _Axis:
    """What the score is drawn against: a figure, its name in words, and a limit on it."""

    name: str
    words: str
    bound: float | None = None

    @property
    def metric(self) -> str:
        """How its values are written."""
        return "latency_p95" if self.name == IN_PROCESS else self.name

    def of(self, trial: Trial) -> float | None:
        """The candidate's place on it; there is none for 0, on a scale of powers of ten."""
        return _cost(trial, self.name)[0] or None


def _axis(known: Sequence[Trial], limits: Sequence[Limit]) -> _Axis:
    """The limit on cost that a candidate breaks, of several the first; else latency, of the server
    where it is known or foretold for all."""
    bounds = {limit.metric: limit.bound for limit in limits if not limit.relative}
    broken = {name for trial in known for name in trial.broken}
    for name, words in AXES.items():
        axis = _Axis(name, words, bounds.get(name))
        if name in broken and all(axis.of(trial) is not None for trial in known):
            return axis
    served = _Axis("latency_p95", AXES["latency_p95"], bounds.get("latency_p95"))
    if all(served.of(trial) is not None for trial in known):
        return served
    return _Axis(IN_PROCESS, "one row in process")


def _plot(fit: FitRecord, limits: Sequence[Limit]) -> str:
    """Score against latency, or against the cost whose limit shuts candidates out."""
    known = [t for t in fit.leaderboard() if t.score is not None and (t.price or t.measured)]
    if len(known) < 2:
        return ""
    axis = _axis(known, limits)
    places = [(trial, axis.of(trial)) for trial in known]
    drawn = _near_enough(fit)
    points = [(t, x, drawn[t.number]) for t, x in places if x is not None and t.number in drawn]
    if len(points) < 2:
        return ""
    xs, ys = [math.log10(x) for _, x, _ in points], [y for _, _, y in points]
    line = axis.bound if axis.bound and _is_near(math.log10(axis.bound), xs) else None
    xs += [math.log10(line)] if line else []
    better_up = METRICS[fit.goal].better == "higher"

    def at(x: float, y: float) -> tuple[float, float]:
        across = _share(math.log10(x), min(xs), max(xs))
        up = _share(y, min(ys), max(ys))
        up = up if better_up else 1 - up
        return LEFT + across * (WIDTH - LEFT - 20), 14 + (1 - up) * (HEIGHT - BOTTOM - 28)

    shapes = [_axes(fit.goal, axis, (min(xs), max(xs)), (min(ys), max(ys)), better_up)]
    front = _front(
        [(x, y) for _, x, y in points], METRICS[axis.metric].better == "higher", better_up
    )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*place) for place in front))
    shapes.append(f"<polyline points='{path}' class='front'/>")
    shapes += [_dot(fit, trial, axis, at(x, y)) for trial, x, y in points]
    if line:
        px, _ = at(line, ys[0])
        shapes.append(f"<line x1='{px:.1f}' y1='8' x2='{px:.1f}' y2='{HEIGHT - BOTTOM}' "
                      "class='limit'/>")  # fmt: skip
    label = f"{fit.goal} against {axis.words}: {len(front)} candidates on the Pareto line"
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' class='plot' role='img' "
        f"aria-label='{escape(label)}'>{''.join(shapes)}</svg>"
        f"<p class='key'>{escape(_key(axis, line, len(known) - len(points)))}</p>"
    )


def _is_near(line: float, xs: Sequence[float]) -> bool:
    """Whether a limit may stand in the plot without pressing all points together."""
    apart = max(line - max(xs), min(xs) - line)
    return apart <= max(xs) - min(xs)


def _front(
    places: Sequence[tuple[float, float]], more_is_better: bool, higher_is_better: bool
) -> list[tuple[float, float]]:
    """Those than which nothing is both better and cheaper, on the axes that are drawn.

    Example:
        >>> _front([(1.0, 0.8), (2.0, 0.7), (3.0, 0.9)], False, True)
        [(1.0, 0.8), (3.0, 0.9)]
    """
    found: list[tuple[float, float]] = []
    sign = 1 if higher_is_better else -1
    for x, y in sorted(places, key=lambda p: (-p[0] if more_is_better else p[0], -sign * p[1])):
        if not found or sign * y > sign * found[-1][1]:
            found.append((x, y))
    return found


def _dot(fit: FitRecord, trial: Trial, axis: _Axis, place: tuple[float, float]) -> str:
    kind = "chosen" if trial.number == fit.best else "fail" if trial.broken else "pass"
    value, sign = _cost(trial, axis.name)
    title = f"{trial.number} {trial.family}: {fit.goal} {show(fit.goal, trial.score or 0.0)}"
    if value is not None:
        title += f", {sign}{show(axis.metric, value)}"
    return (
        f"<circle cx='{place[0]:.1f}' cy='{place[1]:.1f}' r='{7 if kind == 'chosen' else 4}' "
        f"class='dot {kind}{' guess' if sign else ''}'><title>{escape(title)}</title></circle>"
    )


def _key(axis: _Axis, line: float | None, left_out: int) -> str:
    """What the signs of the plot mean."""
    limit = (
        "" if axis.bound is None else f"The limit, {show(axis.metric, axis.bound)}, is far off. "
    )
    if line:
        limit = "Dashed: the limit. "
    far = f" {left_out} far behind are not drawn." if left_out else ""
    return (
        f"Large: chosen. Line: nothing is both better and cheaper. {limit}Hollow: estimated. "
        f"Red: over a limit on cost.{far}"
    )


def _near_enough(fit: FitRecord) -> dict[int, float]:
    """Scores worth drawing: none so far behind that it would press all others together."""
    scores = {t.number: t.score for t in fit.leaderboard() if t.score is not None}
    complete = [scores[t.number] for t in fit.leaderboard() if t.outcome == "complete"]
    if not complete:
        return scores
    best = complete[0]
    behind = sorted(abs(score - best) for score in complete)
    most = max(FAR * behind[len(behind) // 2], abs(scores.get(fit.best, best) - best))
    return {number: score for number, score in scores.items() if abs(score - best) <= most}


def _axes(
    goal: str, axis: _Axis, xs: tuple[float, float], ys: tuple[float, float], up: bool
) -> str:
    floor = HEIGHT - BOTTOM
    low, high = (show(axis.metric, 10**x) for x in xs)
    top, bottom = (show(goal, y) for y in ((ys[1], ys[0]) if up else ys))
    texts = [
        (LEFT, floor + 16, "start", low), (WIDTH - 20, floor + 16, "end", high),
        ((LEFT + WIDTH) / 2, floor + 30, "middle", axis.words),
        (LEFT - 8, 18, "end", top), (LEFT - 8, floor - 10, "end", bottom),
        (LEFT - 8, floor / 2, "end", goal),
    ]  # fmt: skip
    words = "".join(
        f"<text x='{x:.0f}' y='{y:.0f}' text-anchor='{anchor}'>{escape(text)}</text>"
        for x, y, anchor, text in texts
    )
    return f"<path d='M{LEFT} 8V{floor}H{WIDTH - 10}' class='axis'/>{words}"


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if high <= low else (value - low) / (high - low)


def parameter_text(value: object) -> str:
    """A value of a parameter, to four digits.

    Example:
        >>> parameter_text(0.07243519834), parameter_text(31), parameter_text("log2")
        ('0.07244', '31', 'log2')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)
