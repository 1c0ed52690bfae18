"""The report's parts on one model: its curves, what it uses, where it is weak, where it fails."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from modelwright.core.evaluation import Evaluation, Failure, Importance
from modelwright.core.limits import METRICS, show
from modelwright.release.curves import steepness
from modelwright.release.drawing import Drawing, confusion_table, frame_of, plot, short, span
from modelwright.release.html import table

MOST_COLUMNS = 20
SHOWN_VALUES = 8


def curves_page(found: Evaluation) -> str:
    """ROC, precision-recall and calibration, or residuals; confusion; learning; age."""
    figures = "".join(one.figure() for one in drawings(found))
    confused = confusion_table(found.confusion) if found.confusion is not None else ""
    return f"<div class='figures'>{figures}</div>{_said(found)}{confused}"


def drawings(found: Evaluation) -> list[Drawing]:
    """Every curve that there is."""
    drawn = []
    unit = (0.0, 1.0)
    for name, title, axes in (
        ("roc", "ROC curve, 95 % at each point", ("false positive rate", "true positive rate")),
        ("pr", "Precision by recall, 95 % at each point", ("recall", "precision")),
        (
            "calibration",
            "What is stated, and what comes true, 95 % at each point",
            ("stated", "came true"),
        ),
    ):
        lines = [curve for curve in found.curves if curve.name == name]
        if lines:
            drawn.append(plot(
                lines, frame_of(lines, axes, unit), title, diagonal=name != "pr",
                points=name == "calibration",
            ))  # fmt: skip
    for name, title, axes in (
        ("residuals", "Truth minus answer: mean and middle 90 %", ("answer", "residual")),
        ("learning", "More rows to learn from, 95 % at each point", ("training rows", found.goal)),
        (
            "age",
            "Age of the model within the holdout, 95 % at each point",
            (_age_axis(found), found.goal),
        ),
    ):
        lines = [curve for curve in found.curves if curve.name == name]
        if lines:
            level = 0.0 if name == "residuals" else None
            frame = frame_of(lines, axes)
            drawn.append(plot(lines, frame, title, level=level, points=True))
    return drawn


def _age_axis(found: Evaluation) -> str:
    curve = found.curve("age")
    in_days = curve is not None and curve.unit == "days"
    return "days after training ends" if in_days else "share of the holdout's time"


def _said(found: Evaluation) -> str:
    """In words what the learning and the age curve say."""
    words = [learning_in_words(found), ageing_in_words(found)]
    return "".join(f"<p>{escape(text)}</p>" for text in words if text)


def learning_in_words(found: Evaluation) -> str:
    """Whether more rows would help."""
    curve = found.curve("learning")
    if curve is None:
        return (
            "Whether more rows would help was not measured: the search left no time for it (a "
            "larger fit.budget does), or the rows are too few, or the model was taught by another."
        )
    half, whole = curve.y[-2], curve.y[-1]
    better = (whole - half) * (1 if METRICS[found.goal].better == "higher" else -1)
    noise = (curve.high[-1] - curve.low[-1]) / 2
    way, name = "improved" if better > 0 else "worsened", curve.of or "the model"
    gained = (
        f"From {curve.x[-2]:,.0f} to {curve.x[-1]:,.0f} rows to learn from, {name} {way} "
        f"{found.goal} by {show(found.goal, abs(better))} (each known to {show(found.goal, noise)})"
    )
    if better > noise:
        return f"{gained}: more rows would help further."
    if better > 0.1 * noise:
        return f"{gained}: more rows may help a little."
    return f"{gained}, which is next to nothing: more rows of this kind would hardly help."


def ageing_in_words(found: Evaluation) -> str:
    """Whether the model gets worse with time."""
    curve = found.curve("age")
    if curve is None:
        return ""
    slope, p = steepness(curve)
    worse = slope * (-1 if METRICS[found.goal].better == "higher" else 1)
    first, last = show(found.goal, curve.y[0]), show(found.goal, curve.y[-1])
    when = f", {short(curve.x[-1])} days later" if curve.unit == "days" else ""
    told = f"{found.goal} is {first} right after training ends and {last} at the end of the holdout"
    told = f"{told}{when}"
    if worse > 0 and p < 0.1:
        return f"{told}: the model ages, so retrain often."
    return f"{told}: no clear sign of ageing within that time."


def uses_page(found: Evaluation) -> str:
    """Importance of columns and of groups."""
    if not found.importance:
        return "<p>Not measured.</p>"
    note = (
        f"<p>How much worse {escape(found.goal)} gets when a column is shuffled among the holdout "
        "rows, with 95 % intervals; the contribution is the mean absolute Shapley value, on the "
        "scale of the answer. Both are of the packed model.</p>"
    )
    rows = _importance_rows(found, found.importance[:MOST_COLUMNS])
    body = table(("column", f"{found.goal} worse by", "", "contribution"), rows)
    left = len(found.importance) - MOST_COLUMNS
    more = f"<p class='key'>{left} less important columns are not shown.</p>" if left > 0 else ""
    if found.ablation:
        more += (
            "<h3>Left out, and trained again</h3><p>What is lost on the validation rows of the "
            "first fold when the chosen model, of a blend its heaviest member, is trained without "
            "these columns: what other columns tell as well is not lost.</p>"
        ) + table(
            ("columns", f"{found.goal} worse by", "", ""), _importance_rows(found, found.ablation)
        )
    if found.groups:
        more += "<h3>Columns that tell the same story, shuffled together</h3>" + table(
            ("columns", f"{found.goal} worse by", "", ""), _importance_rows(found, found.groups)
        )
    notes = "".join(f"<p class='key'>{escape(text)}</p>" for text in found.notes)
    return note + body + more + notes


def _importance_rows(found: Evaluation, listed: Sequence[Importance]) -> list[str]:
    low = min([0.0, *(one.loss.low for one in listed)])
    high = max([1e-12, *(one.loss.high for one in listed)])
    rows = []
    for one in listed:
        loss = show(found.goal, one.loss.value)
        label = f"{one.subject}: {loss}"
        bar = span(one.loss.value, one.loss.low, one.loss.high, (low, high), label)
        added = "" if one.contribution is None else f"{one.contribution:.4g}"
        rows.append(
            f"<tr><th scope='row'>{escape(one.subject)}</th><td>{loss}</td><td>{bar}</td>"
            f"<td>{added}</td></tr>"
        )
    return rows


def weak_page(found: Evaluation) -> str:
    """Searched slices, and fairness, robustness and calibration in words."""
    if not found.slices:
        gate = next((f for f in found.findings if f.check == "weak slice"), None)
        if gate is not None and gate.verdict == "undecided":
            return f"<p>{escape(gate.measured.capitalize())}: {escape(gate.why)}.</p>"
        return "<p>No slice of the holdout is worse than the rest beyond chance.</p>"
    rows = [
        f"<tr><th scope='row'>{escape(one.where)}</th><td>{one.rows:,}</td>"
        f"<td>{'' if one.value is None else show(one.metric or found.goal, one.value)}</td>"
        f"<td>{one.excess.value:+.3g} ({one.excess.low:+.3g} to {one.excess.high:+.3g})</td>"
        f"<td>{_chance(one.p)}</td></tr>"
        for one in found.slices
    ]
    first = found.slices[0]
    note = (
        "<p>Groups of rows on which the model does worse than on the others. Intervals of "
        f"{first.excess.confidence:.0%} and p are corrected for all slices that were looked at. "
        "A slice may be harder by nature.</p>"
    )
    head = ("where", "rows", first.metric or found.goal, f"{first.cost} above the rest", "p")
    return note + table(head, rows)


def _chance(p: float) -> str:
    """A chance; how far below one in ten thousand it is says nothing any more."""
    return f"{p:.1g}" if p >= 1e-4 else "&lt; 0.0001"


def failures_page(found: Evaluation) -> str:
    """The classes that are confused most, and the worst rows, each beside the training row that is
    most like it."""
    if not found.failures and not found.confused:
        return "<p>None.</p>"
    first = [one.subject for one in found.importance]
    counted = ""
    if any(one.file_row is not None for one in found.failures):
        counted = "<p>Rows are those of the table, counted from 0, below the header.</p>"
    shown = "".join(_failure(one, first) for one in found.failures)
    return _confused(found) + counted + shown


def _confused(found: Evaluation) -> str:
    if not found.confused:
        return ""
    rows = [
        f"<tr><th scope='row'>{escape(one.truth)}</th><td>{escape(one.answer)}</td>"
        f"<td>{one.rows:,}</td><td>{one.share:.1%}</td></tr>"
        for one in found.confused
    ]
    head = ("true class", "taken for", "rows", "of the true class")
    return f"<h3>Confused most</h3>{table(head, rows)}<h3>Worst rows</h3>"


def _failure(one: Failure, order: Sequence[str]) -> str:
    where = f"Holdout row {one.row}" if one.file_row is None else f"Row {one.file_row:,}"
    chance = "" if one.chance is None else f", to which it gave {one.chance:.1%}"
    head = (
        f"{where}: {one.answer} instead of {one.truth}{chance}. "
        f"The most similar training row has {one.nearest_truth}."
    )
    names = sorted(one.values, key=lambda name: order.index(name) if name in order else 999)
    rows = [
        f"<tr><th scope='row'>{escape(name)}</th><td>{escape(_shown(one.values[name]))}</td>"
        f"<td>{escape(_shown(one.nearest.get(name)))}</td></tr>"
        for name in names[:SHOWN_VALUES]
    ]
    inside = table(("column", "this row", "nearest training row"), rows)
    return f"<details><summary>{escape(head)}</summary>{inside}</details>"


def _shown(value: Any) -> str:
    if value is None:
        return "(missing)"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
