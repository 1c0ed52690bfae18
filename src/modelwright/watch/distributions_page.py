"""The report's parts on what the model is asked and what it says: now against training."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Sequence
from html import escape

import msgspec

from modelwright.core.schema import Column
from modelwright.release.drawing import Frame, overlaid, short
from modelwright.release.html import table
from modelwright.serve.journal_segment import FEATURE
from modelwright.watch.counted import Counts
from modelwright.watch.ranking import Ranked
from modelwright.watch.report_records import Lately, Records
from modelwright.watch.summaries import PREDICTION, SCORE, Bins
from modelwright.watch.times import minute_of

STEPS = 32
FEW_VALUES = 12
"""A number of so few different values is shown value by value."""
MOST_LEVELS = 10
MOST_DRAWN = 12
MOST_RANKED = 200
DAY_MICROSECONDS = 86_400e6
NO_ANSWER = "<p>Nothing yet: no answer of the champion is counted.</p>"
KEY = (
    "<p class='key'>Line and upper bar: now. Shaded and lower bar: training. The outer steps hold "
    "all that is beyond.</p>"
)


class Cell(msgspec.Struct, frozen=True):
    """A level or a step of a range: its share of the values that are there, 0 to 1."""

    name: str
    now: float
    then: float


def scores_page(given: Records) -> str:
    """Scores and predicted classes."""
    lately = given.lately
    if lately is None:
        return NO_ANSWER
    drawn = "".join(_figure(given, lately, name) for name in (SCORE, PREDICTION)
                    if name in lately.columns)  # fmt: skip
    return f"{_when(given, lately)}{KEY}<div class='figures'>{drawn}</div>"


def changed_page(given: Records) -> str:
    """The columns that changed most, each with both distributions."""
    lately = given.lately
    if lately is None:
        return NO_ANSWER
    if not lately.ranking:
        return _without_reference(given)
    alarms = _alarms(given)
    names = [one.name for one in lately.ranking
             if one.name not in (SCORE, PREDICTION) and not one.ignored]  # fmt: skip
    names.sort(key=lambda name: name not in alarms)
    drawn = "".join(_figure(given, lately, name) for name in names[:MOST_DRAWN])
    left = len(names) - MOST_DRAWN
    more = f"<p class='key'>{left} that changed less are in the next table.</p>" if left > 0 else ""
    return f"{_when(given, lately)}{KEY}<div class='figures'>{drawn}</div>{more}"


def ranking_page(given: Records) -> str:
    """One row a column, those that changed most first."""
    lately = given.lately
    if lately is None:
        return NO_ANSWER
    if not lately.ranking:
        return _without_reference(given)
    alarms = _alarms(given)
    rows = [_ranked(given, one, one.name in alarms) for one in lately.ranking[:MOST_RANKED]]
    note = (
        f"{_when(given, lately)}<p>Distance is the largest difference of the distribution "
        "functions of a number, or the total variation of a category: 0 for none, 1 for all. "
        "Chance alone gives a small one; p says how easily. An alarm takes more: see "
        "<code>watch.drift</code>.</p>"
    )
    head = ("column", "alarm in the last window", "distance", "p", "missing now", "then",
            "unseen or far out now", "then")  # fmt: skip
    left = len(lately.ranking) - MOST_RANKED
    more = f"<p class='key'>{left} more are not shown.</p>" if left > 0 else ""
    return note + table(head, rows) + more


def _ranked(given: Records, one: Ranked, alarm: bool) -> str:
    sign = "<td class='sign fail'>&#10007; yes</td>" if alarm else "<td class='sign'>no</td>"
    if one.ignored:
        sign = "<td class='sign info'>ignored</td>"
    cells = (f"{one.distance:.3f}", f"{one.p:.1g}", *map(_percent, (*one.missing, *one.strange)))
    others = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr><th scope='row'>{escape(given.names.shown(one.name))}</th>{sign}{others}</tr>"


def _alarms(given: Records) -> set[str]:
    failed = [f for f in given.findings("drift") if f.verdict == "fail"]
    return {name for f in failed for name in (f.columns or (f.subject,))}


def _when(given: Records, lately: Lately) -> str:
    span = f"{minute_of(lately.begin)} to {minute_of(lately.end)}"
    then = f"{lately.then_rows:,} of training" if lately.then_rows else "no reference"
    version = escape(given.subject.champion.version.number)
    return f"<p>{lately.rows:,} answers of version {version}, {span}, against {then}.</p>"


def _without_reference(given: Records) -> str:
    number = escape(given.subject.champion.version.number)
    return (f"<p>Nothing yet: version {number} was released without a reference. Run again, and "
            "promote the new version.</p>")  # fmt: skip


def _figure(given: Records, lately: Lately, name: str) -> str:
    """One column: a plot of a number, or bars of its levels."""
    bins = next(one for one in given.subject.champion.plan.bins if one.name == name)
    now, then = lately.columns[name], lately.then.get(name)
    column = next((c for c in given.subject.champion.manifest.schema.columns
                   if FEATURE + c.name == name), None)  # fmt: skip
    shown = given.names.shown(name)
    ranked = next((one for one in lately.ranking if one.name == name), None)
    caption = f"<figcaption><b>{escape(shown)}</b>{_noted(ranked)}</figcaption>"
    if bins.kind == "text":
        return f"<figure>{caption}{_bars(levels(bins, now, then), shown)}</figure>"
    if not bins.edges:
        return f"<figure>{caption}<p>Training had no value of it.</p></figure>"
    if len(set(bins.edges)) <= FEW_VALUES:
        return f"<figure>{caption}{_bars(values(bins, now, then, column), shown)}</figure>"
    return f"<figure>{caption}{_plot(bins, now, then, column, shown)}</figure>"


def _noted(ranked: Ranked | None) -> str:
    if ranked is None:
        return ""
    missing = f"missing {_percent(ranked.missing[0])}, was {_percent(ranked.missing[1])}"
    what = "far out" if ranked.kind == "number" else "unseen"
    strange = f", {what} {_percent(ranked.strange[0])}" if ranked.strange[0] else ""
    return f": distance {ranked.distance:.3f}, {missing}{strange}"


def levels(bins: Bins, now: Counts, then: Counts | None) -> list[Cell]:
    """Levels of a category, the most frequent of either time; others together."""
    shares = _shares(now, now), _shares(then, now)
    cells = [Cell(*one) for one in zip(bins.levels, *shares, strict=False)]
    place = len(bins.levels)
    rest = Cell("(rarer)", sum(shares[0][place:]), sum(shares[1][place:]))
    cells.sort(key=lambda cell: -max(cell.now, cell.then))
    for cell in cells[MOST_LEVELS:]:
        rest = Cell("(others)", rest.now + cell.now, rest.then + cell.then)
    kept = cells[:MOST_LEVELS]
    if rest.now or rest.then:
        kept.append(rest)
    if now.unseen:
        kept.append(Cell("(never seen in training)", now.unseen / _present(now), 0.0))
    return kept


def values(bins: Bins, now: Counts, then: Counts | None, column: Column | None) -> list[Cell]:
    """A number of few values: a cell for each stretch between two of them."""
    shares = list(zip(_shares(now, now), _shares(then, now), strict=True))
    write = _written(column)
    cells = [Cell(f"under {write(bins.edges[0])}", *shares[0])]
    stretches = list(itertools.pairwise(bins.edges))
    for place, (low, high) in enumerate(stretches, start=1):
        name = _between(low, high, column, last=place == len(stretches))
        cells.append(Cell(name, *shares[place]))
    cells.append(Cell(f"over {write(bins.edges[-1])}", *shares[-1]))
    return [cell for cell in cells if cell.now or cell.then]


def _between(low: float, high: float, column: Column | None, *, last: bool) -> str:
    """A stretch by name: it holds its lower end, and the last one both."""
    write = _written(column)
    if column is not None and column.kind == "boolean":
        if low < high:
            return "false or true" if last else "false"
        return "true" if low >= 0.5 else "false"
    whole = column is not None and column.integer and high - low == 1 and not last
    if low == high or whole:
        return write(low)
    return f"{write(low)} to {write(high)}" if last else f"{write(low)} to under {write(high)}"


def _bars(cells: Sequence[Cell], name: str) -> str:
    most = max([1e-12, *(max(cell.now, cell.then) for cell in cells)])
    rows = []
    for cell in cells:
        label = escape(f"{cell.name}: {_percent(cell.now)} now, {_percent(cell.then)} in training")
        wide = [108 * share / most for share in (cell.now, cell.then)]
        rows.append(
            f"<tr><th scope='row'>{escape(cell.name)}</th><td><svg viewBox='0 0 110 16' role='img' "
            f"aria-label='{label}'><rect class='line' y='1' width='{wide[0]:.1f}' height='6'/>"
            f"<rect class='then' y='8' width='{wide[1]:.1f}' height='7'/></svg></td>"
            f"<td>{_percent(cell.now)}</td><td>{_percent(cell.then)}</td></tr>"
        )
    body = table((name, "", "now", "training"), rows)
    return f"<div class='levels'>{body}</div>"


def _plot(
    bins: Bins, now: Counts, then: Counts | None, column: Column | None, shown: str
) -> str:  # fmt: skip
    edges, heights, before = steps(bins, now, then)
    write = _written(column)
    scale = DAY_MICROSECONDS if column is not None and column.kind == "datetime" else 1.0
    places = [edge / scale for edge in edges]
    top = 1.05 * max([*heights, *before, 1e-9])
    names = ("value", "% of answers")
    frame = Frame((places[0], places[-1]), (0.0, 100 * top), names, _axis(column))
    title = f"{shown}: distribution now and in training, {write(edges[0])} to {write(edges[-1])}"
    drawn = overlaid(places, [100 * h for h in heights], [100 * h for h in before], frame, title)
    rows = [
        f"<tr><th scope='row'>{escape(f'{write(low)} to {write(high)}')}</th>"
        f"<td>{_percent(one)}</td><td>{_percent(other)}</td></tr>"
        for (low, high), one, other in zip(itertools.pairwise(edges), heights, before, strict=True)
        if one or other
    ]
    numbers = table(("from, to", "now", "training"), rows)
    return f"{drawn}<details><summary>Numbers of {escape(shown)}</summary>{numbers}</details>"


def steps(
    bins: Bins, now: Counts, then: Counts | None, many: int = STEPS
) -> tuple[list[float], list[float], list[float]]:
    """Shares in equal steps, out of bins that are not equally wide.

    The steps run from the first to the last inner edge of the bins, so that a few large values do
    not press all others together; the outer steps hold what is beyond.

    Returns:
        (ends of the steps, shares now, shares then).
    """
    low, high = bins.edges[1], bins.edges[-2]
    if not high > low or bins.name == SCORE:
        low, high = bins.edges[0], bins.edges[-1]
    width = (high - low) / many
    ends = [low + width * step for step in range(many)] + [high]
    heights = _spread(bins, _shares(now, now), low, width, many)
    return ends, heights, _spread(bins, _shares(then, now), low, width, many)


def _spread(
    bins: Bins, shares: Sequence[float], low: float, width: float, many: int
) -> list[float]:  # fmt: skip
    found = [0.0] * many

    def step_of(value: float) -> int:
        return min(many - 1, max(0, int((value - low) / width)))

    found[0] += shares[0]
    found[-1] += shares[-1]
    for (left, right), share in zip(itertools.pairwise(bins.edges), shares[1:-1], strict=True):
        first, last = step_of(left), step_of(right)
        if first == last or right <= left:
            found[first] += share
            continue
        for step in range(first, last + 1):
            start = left if step == first else low + step * width
            stop = right if step == last else low + (step + 1) * width
            found[step] += share * max(0.0, stop - start) / (right - left)
    return found


def _shares(counts: Counts | None, like: Counts) -> list[float]:
    if counts is None:
        return [0.0] * len(like.bins)
    present = _present(counts)
    return [float(count) / present for count in counts.bins]


def _present(counts: Counts) -> int:
    return max(1, int(counts.bins.sum()) + counts.unseen)


def _axis(column: Column | None) -> Callable[[float], str] | None:
    if column is None or column.kind != "datetime":
        return None
    return lambda days: _date(days * DAY_MICROSECONDS)


def _written(column: Column | None) -> Callable[[float], str]:
    return _date if column is not None and column.kind == "datetime" else short


def _date(microseconds: float) -> str:
    """A date, also of times that a calendar does not have."""
    try:
        moment = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=microseconds)
    except OverflowError:
        return short(microseconds)
    return moment.date().isoformat()


def _percent(share: float) -> str:
    """A share of 1 as people read it, never broken over two lines.

    Example:
        >>> [_percent(share).replace("\u00a0", " ") for share in (0.5, 0.0004, 0.0)]
        ['50.0 %', '0.04 %', '0 %']
    """
    number = f"{100 * share:.1f}" if share >= 0.00995 else f"{100 * share:.2g}"
    return f"{number}\u00a0%"
