"""Plots as SVG inside the page: no script, no image, sharp on paper, told to screen readers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from modelwright.core.evaluation import Confusion, Curve
from modelwright.core.limits import METRICS, Limit
from modelwright.core.records import Finding

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 420, 260, 66, 42, 12
TICKS = 4
DASHES = ("solid", "dashed", "dotted", "dashed and dotted")
"""How the lines of a plot are told apart, in their order."""


@dataclass(frozen=True)
class Frame:
    """Where data lies on the drawing.

    Attributes:
        x, y: lowest and highest value of each axis.
        names: what the axes show.
        written: how a number of the lower axis is written; None for `short`.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    names: tuple[str, str]
    written: Callable[[float], str] | None = None

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place of a point."""
        across, up = _share(x, self.x), _share(y, self.y)
        return (
            LEFT + across * (WIDTH - LEFT - 12),
            TOP + (1 - up) * (HEIGHT - TOP - BOTTOM),
        )


def _share(value: float, ends: tuple[float, float]) -> float:
    low, high = ends
    return 0.5 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))


def frame_of(
    curves: Sequence[Curve], names: tuple[str, str], ends: tuple[float, float] | None = None
) -> Frame:
    """A frame that holds all curves with their bands; `ends` sets both axes."""
    if ends is not None:
        return Frame(ends, ends, names)
    xs = [x for curve in curves for x in curve.x] or [0.0]
    ys = [y for curve in curves for y in (*curve.y, *curve.low, *curve.high)] or [0.0]
    room = 0.05 * (max(ys) - min(ys)) or 1.0
    return Frame((min(xs), max(xs)), (min(ys) - room, max(ys) + room), names)


@dataclass(frozen=True)
class Drawing:
    """A plot as it stands on a page, or in a file of its own.

    Attributes:
        name: of what is drawn, such as roc.
        title: for people and screen readers.
        shapes: the inside of an SVG of `WIDTH` by `HEIGHT`.
        key: which line is which, where there are several.
    """

    name: str
    title: str
    shapes: str
    key: str = ""

    def figure(self) -> str:
        """For a page."""
        key = f" <span class='key'>{escape(self.key)}</span>" if self.key else ""
        return (
            f"<figure><svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' "
            f"aria-label='{escape(self.title)}'>{self.shapes}</svg>"
            f"<figcaption>{escape(self.title)}{key}</figcaption></figure>"
        )


def plot(
    curves: Sequence[Curve], frame: Frame, title: str, *, diagonal: bool = False,
    level: float | None = None, points: bool = False,
) -> Drawing:  # fmt: skip
    """A figure of lines with their bands.

    Args:
        curves: one to four of the same name; each gets its own dash.
        frame: see `frame_of`.
        title: for people and screen readers.
        diagonal: draw what no skill, or perfect calibration, looks like.
        level: draw a horizontal line there.
        points: mark each point.
    """
    shapes = [_axes(frame)]
    if diagonal:
        shapes.append(_line([frame.at(frame.x[0], frame.y[0]), frame.at(frame.x[1], frame.y[1])],
                            "limit"))  # fmt: skip
    if level is not None:
        shapes.append(_line([frame.at(frame.x[0], level), frame.at(frame.x[1], level)], "limit"))
    for number, curve in enumerate(curves):
        if curve.low:
            there = [frame.at(x, y) for x, y in zip(curve.x, curve.high, strict=True)]
            back = [frame.at(x, y) for x, y in zip(curve.x, curve.low, strict=True)][::-1]
            shapes.append(f"<polygon points='{_path([*there, *back])}' class='band'/>")
        line = [frame.at(x, y) for x, y in zip(curve.x, curve.y, strict=True)]
        shapes.append(_line(line, f"front dash{number}"))
        if points:
            shapes += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' class='dot'/>" for x, y in line]
    named = [
        f"{curve.of} ({DASHES[n % len(DASHES)]})" for n, curve in enumerate(curves) if curve.of
    ]
    key = ", ".join(named) if len(named) > 1 else ""
    return Drawing(curves[0].name, title, "".join(shapes), key)


def overlaid(
    edges: Sequence[float], now: Sequence[float], then: Sequence[float], frame: Frame, title: str
) -> str:
    """Two distributions over the same steps: a line before a shaded area; the SVG alone.

    Args:
        edges: ends of the steps, one more than there are steps.
        now: height of each step of the line.
        then: of the area.
        frame: holds both.
        title: for screen readers.
    """
    floor = frame.at(frame.x[0], 0.0)[1]
    shapes = [_axes(frame)]
    for step, height in enumerate(then):
        left, top = frame.at(edges[step], height)
        right, _ = frame.at(edges[step + 1], height)
        if floor - top >= 0.05:
            shapes.append(f"<path d='M{left:.1f} {floor:.1f}V{top:.1f}H{right:.1f}V{floor:.1f}z' "
                          "class='then'/>")  # fmt: skip
    line = [frame.at(edges[0], 0.0)]
    for step, height in enumerate(now):
        line += [frame.at(edges[step], height), frame.at(edges[step + 1], height)]
    shapes.append(_line([*line, frame.at(edges[-1], 0.0)], "now"))
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{escape(title)}'>"
        f"{''.join(shapes)}</svg>"
    )


def _axes(frame: Frame) -> str:
    floor = HEIGHT - BOTTOM
    parts = [f"<path d='M{LEFT} {TOP}V{floor}H{WIDTH - 12}' class='axis'/>"]
    for value in ticks(*frame.x):
        x, _ = frame.at(value, frame.y[0])
        parts.append(_text(x, floor + 15, "middle", (frame.written or short)(value)))
    for value in ticks(*frame.y):
        _, y = frame.at(frame.x[0], value)
        parts.append(_text(LEFT - 6, y + 4, "end", short(value)))
        parts.append(f"<path d='M{LEFT} {y:.1f}H{WIDTH - 12}' class='grid'/>")
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 8, "middle", frame.names[0]))
    middle = (TOP + floor) / 2
    parts.append(
        f"<text x='12' y='{middle:.0f}' text-anchor='middle' "
        f"transform='rotate(-90 12 {middle:.0f})'>{escape(frame.names[1])}</text>"
    )
    return "".join(parts)


def ticks(low: float, high: float) -> list[float]:
    """A few round numbers between two ends.

    Example:
        >>> ticks(0, 1)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    raw = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.7)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(step * n, 12) for n in range(first, last + 1)]


def short(value: float) -> str:
    """A number for an axis.

    Example:
        >>> short(12000.0), short(0.25)
        ('12,000', '0.25')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _line(points: Sequence[tuple[float, float]], name: str) -> str:
    return f"<polyline points='{_path(points)}' class='{name}'/>"


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f"<text x='{x:.0f}' y='{y:.0f}' text-anchor='{anchor}'>{escape(text)}</text>"


def span(value: float, low: float, high: float, ends: tuple[float, float], label: str) -> str:
    """A value with its interval on a small rail, and zero marked."""

    def place(number: float) -> float:
        return 200 * _share(number, ends)

    left, right = place(low), place(high)
    return (
        f"<svg class='rail-svg' viewBox='0 0 200 18' role='img' aria-label='{escape(label)}'>"
        "<rect x='0' y='8' width='200' height='2' class='rail'/>"
        f"<rect x='{left:.1f}' y='6' width='{max(1.5, right - left):.1f}' height='6' class='bar'/>"
        f"<circle cx='{place(value):.1f}' cy='9' r='4' class='dot'/>"
        f"<rect x='{place(0.0) - 0.5:.1f}' y='0' width='1' height='18' class='line'/></svg>"
    )


def confusion_table(found: Confusion) -> str:
    """True classes down, predicted across; the shade is the share of the true class."""
    head = "".join(f"<th scope='col'>{escape(label)}</th>" for label in found.labels)
    rows = []
    for label, counts in zip(found.labels, found.counts, strict=True):
        total = max(1, sum(counts))
        cells = "".join(
            f"<td class='cell' style='--share:{count / total:.3f}'>{count:,}"
            f"<small> {count / total:.0%}</small></td>"
            for count in counts
        )
        rows.append(f"<tr><th scope='row'>{escape(label)}</th>{cells}</tr>")
    return (
        "<div class='scroll' tabindex='0'><table class='confusion'><caption>Rows are true classes, "
        "columns what the model says; percent of the true class</caption>"
        f"<thead><tr><th scope='col'>true \\ predicted</th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def limit_bar(finding: Finding, limit: Limit) -> str:
    """The interval as a bar and the limit as a line, on a scale that holds both."""
    if finding.interval is None:
        return ""
    found = finding.interval
    unit = METRICS[limit.metric].unit
    top = max(found.high, limit.bound) * 1.15 or 1.0
    bottom = 0.0
    if unit == "score":
        span = max(abs(found.value - limit.bound), found.high - found.low, 0.005)
        bottom = min(found.low, limit.bound) - span
        top = max(found.high, limit.bound) + span

    def place(value: float) -> float:
        return max(0.0, min(220.0, 220 * (value - bottom) / (top - bottom)))

    low, high = place(found.low), place(found.high)
    label = escape(f"{finding.measured}; {finding.wanted}")
    return (
        f"<svg width='220' height='18' role='img' aria-label='{label}'>"
        "<rect x='0' y='8' width='220' height='2' class='rail'/>"
        f"<rect x='{low:.1f}' y='5' width='{max(2.0, high - low):.1f}' height='8' "
        f"class='span {finding.verdict}'/>"
        f"<circle cx='{place(found.value):.1f}' cy='9' r='4' class='dot {finding.verdict}'/>"
        f"<rect x='{place(limit.bound) - 1:.1f}' y='0' width='2' height='18' class='line'/></svg>"
    )
