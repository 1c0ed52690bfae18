"""The data page of a report: findings first, then one row a column."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from modelwright.core.records import ColumnBaseline, DatasetRecord, Finding
from modelwright.core.schema import Column
from modelwright.release.html import reasons, table

MOST_COLUMNS = 200
MOST_FINDINGS = 200
BARS = 24
WIDTH, HEIGHT = 144, 28
_SIGN = {"error": "&#10007; error", "warning": "! warning", "info": "&middot; note"}


def data_page(dataset: DatasetRecord) -> str:
    """The sections on what the model was made from."""
    target = dataset.schema.target
    kind = ", ".join(target.levels[:20]) or f"{target.minimum:g} to {target.maximum:g}"
    sampled = ""
    if dataset.sampled:
        sampled = f" Costly checks looked at {dataset.sampled:,} sampled rows."
    intro = (
        f"<p>{escape(dataset.source)}: {dataset.rows:,} rows; "
        f"{dataset.train_rows:,} to learn from, {dataset.holdout_rows:,} sealed "
        f"({escape(dataset.split)}). Fingerprint <code>{dataset.fingerprint}</code>.{sampled}</p>"
        f"<p>Target <b>{escape(target.name)}</b> ({target.task}): {escape(kind)}.</p>"
    )
    return (
        f"{intro}<h3>Findings</h3>{_findings(dataset.findings)}"
        f"<h3>Columns</h3>{_columns(dataset)}"
        f"<h3>How the file was read</h3>{_read({**dataset.read, **dataset.origin})}"
    )


def _findings(found: Sequence[Finding]) -> str:
    if not found:
        return "<p>Nothing to report.</p>"
    rows = [
        f"<tr><td class='sign {f.severity}'>{_SIGN[f.severity]}</td>"
        f"<th scope='row'>{escape(f.check)}</th><td>{escape(f.subject)}</td>"
        f"<td>{escape(f.measured)}</td>"
        f"<td class='why'>{reasons(f.why, f.advice)}</td></tr>"
        for f in found[:MOST_FINDINGS]
    ]
    return table(("", "finding", "of", "measured", "why, and what to do"), rows, stacked=True)


def _columns(dataset: DatasetRecord) -> str:
    rows = []
    for column in dataset.schema.columns[:MOST_COLUMNS]:
        base = dataset.baseline.get(column.name)
        told = dataset.relations.get(column.name)
        marks = ("protected" if column.protected else "", "private" if column.private else "",
                 column.unused)  # fmt: skip
        rows.append(
            f"<tr><th scope='row'>{escape(column.name)}</th><td>{column.kind}</td>"
            f"<td>{f'{base.missing:.1%}' if base else ''}</td>"
            f"<td>{_drawn(column, base)}</td><td>{_share(told)}</td>"
            f"<td>{escape(_seen(column))}</td>"
            f"<td>{escape(', '.join(filter(None, marks)))}</td></tr>"
        )
    head = ("column", "kind", "missing", "distribution", "tells of the target", "values", "note")
    more = len(dataset.schema.columns) - MOST_COLUMNS
    rest = f"<p>... and {more} more columns.</p>" if more > 0 else ""
    return table(head, rows) + rest


def _seen(column: Column) -> str:
    if column.private:
        return "(private)"
    if column.kind == "number" and column.minimum is not None:
        return f"{column.minimum:,.10g} to {column.maximum:,.10g}"
    if column.kind == "datetime":
        return f"written as {column.format or 'ISO 8601'}"
    return ", ".join(column.levels[:5])


def _drawn(column: Column, base: ColumnBaseline | None) -> str:
    """The distribution in training as bars: shares of levels, or of equal steps of the range."""
    if base is None:
        return ""
    heights = list(base.shares[:BARS]) if base.levels else histogram(base.edges)
    if not heights or max(heights) <= 0:
        return ""
    step = WIDTH / max(len(heights), 4)
    bars = "".join(
        f"<rect class='bar' x='{i * step:.1f}' y='{HEIGHT * (1 - h / max(heights)):.1f}' "
        f"width='{max(1.0, step - 1):.1f}' height='{HEIGHT * h / max(heights):.1f}'/>"
        for i, h in enumerate(heights)
    )
    label = escape(f"distribution of {column.name}: {_seen(column)}", quote=True)
    return f"<svg width='{WIDTH}' height='{HEIGHT}' role='img' aria-label='{label}'>{bars}</svg>"


def histogram(edges: Sequence[float]) -> list[float]:
    """Shares of the rows in equal steps of the range, out of quantiles that are equally apart.

    Example:
        >>> [round(share, 2) for share in histogram([0.0, 1.0, 2.0, 24.0])[:3]]
        [0.33, 0.33, 0.02]
    """
    if len(edges) < 2 or not edges[-1] > edges[0]:
        return [1.0] if edges else []
    low, width = edges[0], (edges[-1] - edges[0]) / BARS
    found = [0.0] * BARS
    each = 1 / (len(edges) - 1)
    for start, stop in itertools.pairwise(edges):
        if stop <= start:
            found[min(BARS - 1, int((start - low) / width))] += each
            continue
        first = max(0, int((start - low) / width))
        last = min(BARS - 1, int((stop - low) / width))
        for place in range(first, last + 1):
            inside = min(stop, low + (place + 1) * width) - max(start, low + place * width)
            found[place] += each * max(0.0, inside) / (stop - start)
    return found


def _share(told: float | None) -> str:
    if told is None:
        return ""
    label = f"{told:.2f} of 0 to 1"
    return (
        f"<svg width='72' height='12' role='img' aria-label='{label}'>"
        "<rect class='rail' x='0' y='5' width='72' height='2'/>"
        f"<rect class='bar' x='0' y='2' width='{72 * told:.1f}' height='8'/></svg> {told:.2f}"
    )


def _listed(found: object) -> str:
    if isinstance(found, dict):
        return "; ".join(f"{name}: {_listed(value)}" for name, value in found.items())
    if isinstance(found, list):
        return ", ".join(map(str, found))
    return {"\t": "tab", " ": "blank", "": "none"}.get(str(found), str(found))


def _read(known: Mapping[str, Any]) -> str:
    if not known:
        return "<p>Typed columns, nothing was guessed.</p>"
    rows = [
        f"<tr><th scope='row'>{escape(what)}</th>"
        f"<td><code>{escape(_listed(found))}</code></td></tr>"
        for what, found in known.items()
    ]
    return table(("what", "found"), rows)
