"""What is worth knowing about a table before a model learns from it."""

from __future__ import annotations

import numpy as np

from modelwright.core.contract import missing_in
from modelwright.core.intake import Array, Feeds
from modelwright.core.records import Finding
from modelwright.core.schema import Column, Schema
from modelwright.core.table import Table
from modelwright.data.fingerprint import row_hashes
from modelwright.data.interpret import Parsed
from modelwright.data.target import ReadTarget

NEAR_EMPTY = 0.95
RARE_CLASS = 20
STRONG_IMBALANCE = 0.01


def of_columns(parsed: Parsed, rows: int) -> list[Finding]:
    """Findings about the whole table: the target, columns left out, gaps, duplicates, classes."""
    values = parsed.values
    return [
        *_of_target(rows, parsed.target),
        *(note for column in parsed.columns for note in _of_column(column, values[column.name])),
        *_duplicates(values),
        *_of_classes(parsed.target),
    ]


def _of_target(rows: int, read: ReadTarget) -> list[Finding]:
    name, notes = read.target.name, []
    if read.guessed:
        advice = "set data.task and data.positive if it is wrong"
        notes.append(_note("target", name, read.guessed, "inferred from its values", advice))
    lost = int((~read.kept).sum())
    if lost:
        measured, advice = f"{lost:,} of {rows:,}", "check that they are missing at random"
        notes.append(_warning("rows without target", name, measured, "they are left out", advice))
    return notes


def _of_column(column: Column, values: Array) -> list[Finding]:
    if column.unused:
        advice = f"data.kinds: {{{column.name}: number|category}} to use it"
        return [_note(column.kind, column.name, "not used", column.unused, advice)]
    share = float(missing_in(values).mean())
    if share <= NEAR_EMPTY:
        return []
    advice = "drop it, or find out why it is empty"
    return [
        _warning("near-empty column", column.name, f"{share:.1%} missing", "it says little", advice)
    ]


def of_split(schema: Schema, holdout: Table, method: str) -> list[Finding]:
    """Findings about the two sides of the split."""
    notes = []
    dates = [c.name for c in schema.features if c.kind == "datetime"]
    if dates and method in ("auto", "random", "stratified"):
        why = "a random split judges on moments that training has seen around"
        advice = f"data.split: {{method: time, by: {dates[0]}}} if new rows come later in time"
        notes.append(_warning("time order", dates[0], "rows have a date", why, advice))
    if holdout.rows < 200:
        notes.append(
            _warning(
                "small holdout",
                "split",
                f"{holdout.rows} rows",
                "intervals will be wide and gates may stay undecided",
                "more data, or a larger data.split.holdout",
            )
        )
    for column in schema.features:
        if column.kind == "category":
            known = {*column.levels, ""}
            share = np.mean([value not in known for value in holdout.feeds[column.name].tolist()])
            if share > 0.05:
                notes.append(
                    _warning(
                        "unseen categories",
                        column.name,
                        f"{share:.1%} of the holdout",
                        "the holdout has levels that training never saw",
                        "is it an id, or does it change with time?",
                    )
                )
    return notes


def _duplicates(values: Feeds) -> list[Finding]:
    hashes = row_hashes(values)
    copies = len(hashes) - len(np.unique(hashes))
    if not copies:
        return []
    measured = f"{copies:,} of {len(hashes):,}"
    why = "equal rows share a side of the split, unless over 1 % of all are alike"
    return [_note("duplicate rows", "table", measured, why, "make sure that they are real")]


def _of_classes(read: ReadTarget) -> list[Finding]:
    levels = read.target.levels
    if not levels:
        return []
    counts: Array = np.bincount(read.values, minlength=len(levels))
    notes = [
        _warning(
            "rare class",
            levels[code],
            f"{count} rows",
            "too few to learn or judge it well",
            "collect more, or merge it with another class",
        )
        for code, count in enumerate(counts.tolist())
        if count < RARE_CLASS
    ]
    share = float(counts.min() / counts.sum())
    if len(levels) == 2 and share < STRONG_IMBALANCE:
        notes.append(
            _warning(
                "imbalance",
                read.target.name,
                f"{share:.2%} of the rare class",
                "accuracy says nothing here",
                "use pr_auc or log_loss as goal",
            )
        )
    return notes


def _note(check: str, subject: str, measured: str, why: str, advice: str) -> Finding:
    return Finding(check, subject, "pass", measured, "", why, advice, "info")


def _warning(check: str, subject: str, measured: str, why: str, advice: str) -> Finding:
    return Finding(check, subject, "fail", measured, "", why, advice, "warning")
