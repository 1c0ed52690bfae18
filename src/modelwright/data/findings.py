"""What is worth knowing about a table before a model learns from it: every check, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from modelwright.core.contract import missing_in
from modelwright.core.errors import DataError, did_you_mean, first_rows
from modelwright.core.intake import Array
from modelwright.core.records import ACCEPTED, Finding
from modelwright.core.schema import Column, Schema
from modelwright.core.spec_data import DataSpec
from modelwright.core.table import Table, take_feeds
from modelwright.data.checks import fairness, leakage, sides, values
from modelwright.data.checks.probe import Look
from modelwright.data.fingerprint import row_hashes
from modelwright.data.interpret import Parsed, renumbered
from modelwright.data.target import ReadTarget
from modelwright.data.typed import MOST_SHOWN

NEAR_EMPTY = 0.95
NEAR_CONSTANT = 0.999
RARE_CLASS = 20
STRONG_IMBALANCE = 0.01
SAMPLE = 20_000
"""Training rows that the costly checks look at."""
CHECKS = frozenset({
    "bad values", "broken rows", "column without a name", "constant", "doubtful values",
    "duplicate rows", "duplicates across the split", "equal columns", "expect", "footer",
    "groups across the split", "id", "id orders the target", "imbalance", "impossible value",
    "known in time?", "label noise", "leakage", "missing in step", "missing marker", "mixed types",
    "name given twice", "near-constant column", "near-empty column", "no features", "no header",
    "personal data", "protected columns", "proxy", "rare class", "rows without target",
    "rows without time", "sentinel", "shift", "short rows", "small holdout", "spellings",
    "strong column", "text", "time order", "unit", "unit error", "unseen categories",
})  # fmt: skip
"""Names that `data.accept` may give."""


@dataclass(frozen=True)
class Sides:
    """The split as the checks need it.

    Attributes:
        holdout: mask over the rows with a target.
        train_rows: numbers of the training rows, in time order where there is one.
    """

    holdout: Array
    train_rows: Array


def examine(
    parsed: Parsed, schema: Schema, split: Sides, data: DataSpec, rows: int, *, thorough: bool
) -> tuple[list[Finding], Look]:
    """Every finding about a table whose kinds and split are known.

    Args:
        parsed: the typed table.
        schema: as training shows it.
        split: who is on which side.
        data: the spec's part.
        rows: of the file, those without a target included.
        thorough: also what costs seconds (label noise).

    Returns:
        (findings, the training rows that the costly checks looked at).
    """
    look = look_at(parsed, schema, split, data.seed)
    by_split = data.split.method
    used = {c.name: parsed.values[c.name] for c in schema.features}
    found = of_columns(parsed, rows)
    found += renumbered(values.odd_values(schema.columns, parsed.values), parsed.file_rows)
    found += leakage.leaks(look)
    found += leakage.equal_columns(look)
    found += sides.shared_rows(used, split.holdout) if by_split in ("time", "group") else []
    found += sides.shift(schema.columns, used, split.holdout)
    if by_split != "group":
        found += sides.groups(schema.columns, parsed.values, split.holdout, look)
    if by_split in ("auto", "random", "stratified"):
        neighbours = parsed.target.values[np.sort(split.train_rows)]
        found += sides.time_order(schema.columns, look, neighbours, data.source)
    found += fairness.protected(look)
    if thorough:
        from modelwright.data.checks.labels import suspects

        found += suspects(look)
    return found, look


def look_at(parsed: Parsed, schema: Schema, split: Sides, seed: int) -> Look:
    """The training rows that the checks look at: all, or a sample."""
    train = split.train_rows
    whole = len(train) <= SAMPLE
    if not whole:
        chosen = np.random.default_rng(seed).choice(len(train), SAMPLE, replace=False)
        train = train[np.sort(chosen)]
    return Look(
        columns=schema.columns,
        values=take_feeds(parsed.values, train),
        y=parsed.target.values[train],
        task=schema.target.task,
        rows=parsed.file_rows[train],
        whole=whole,
        seed=seed,
    )


def accepted(found: Iterable[Finding], data: DataSpec) -> tuple[Finding, ...]:
    """Findings with those that `data.accept` names turned into notes.

    Raises:
        DataError: a check that does not exist.
    """
    for check in data.accept:
        if check not in CHECKS:
            hint = did_you_mean(check, CHECKS) or f"Known: {', '.join(sorted(CHECKS))}."
            raise DataError(f"data.accept names {check!r}, which is no check.", hint=hint)
    return tuple(_accept(finding, data) for finding in found)


def _accept(finding: Finding, data: DataSpec) -> Finding:
    known = data.accept.get(finding.check, [])
    if finding.severity == "info" or not ({finding.subject, "all"} & set(known)):
        return finding
    return msgspec.structs.replace(
        finding, verdict="pass", severity="info", why=f"{ACCEPTED}: {finding.why}", advice=""
    )


def of_columns(parsed: Parsed, rows: int) -> list[Finding]:
    """Findings about the whole table: the target, columns left out, gaps, duplicates, classes."""
    held = parsed.values
    return [
        *_of_target(rows, parsed.target),
        *(note for column in parsed.columns for note in _of_column(column, held[column.name])),
        *_duplicates(parsed),
        *_of_classes(parsed.target),
    ]


def of_no_time(name: str, lost: list[int], rows: int) -> Finding:
    """Rows that a split by time finds no place for.

    Args:
        name: the column that it goes by.
        lost: their numbers in the file.
        rows: of the table, those without a target left out.
    """
    return _left_out("rows without time", name, lost, rows)


def _left_out(check: str, subject: str, lost: list[int], rows: int) -> Finding:
    found = _warning(check, subject, f"{len(lost):,} of {rows:,}: {first_rows(lost)}",
                     "they are left out", "check that they are missing at random")  # fmt: skip
    return msgspec.structs.replace(found, rows=tuple(lost[:MOST_SHOWN]))


def _of_target(rows: int, read: ReadTarget) -> list[Finding]:
    name, notes = read.target.name, []
    if read.guessed:
        advice = "set data.task and data.positive if it is wrong"
        notes.append(_note("target", name, read.guessed, "inferred from its values", advice))
    lost = np.flatnonzero(~read.kept).tolist()
    if lost:
        notes.append(_left_out("rows without target", name, lost, rows))
    spelled: dict[str, list[str]] = {}
    for level in read.target.levels:
        spelled.setdefault(values.folded(level), []).append(level)
    for alike in (found for found in spelled.values() if len(found) > 1):
        advice = f"data.spellings: {{{name}: {{{alike[0]!r}: {alike[1:]!r}}}}}"
        why = "classes that differ in case, blanks or signs only"
        notes.append(_warning("spellings", name, ", ".join(map(repr, alike)), why, advice))
    return notes


def _of_column(column: Column, held: Array) -> list[Finding]:
    if column.unused:
        advice = f"data.kinds: {{{column.name}: number|category}} to use it"
        if column.unused.startswith("data."):  # somebody wanted it so
            advice = f"take it out of {column.unused.split()[0]} to use it"
        return [_note(column.kind, column.name, "not used", column.unused, advice)]
    missing = missing_in(held)
    share = float(missing.mean())
    if share > NEAR_EMPTY:
        measured, advice = f"{share:.1%} missing", "drop it, or find out why it is empty"
        return [_warning("near-empty column", column.name, measured, "it says little", advice)]
    present = held[~missing]
    if len(present) >= 1000 and held.dtype != object:
        first, count = np.unique(present, return_counts=True)
        top = float(count.max() / len(present))
        if top >= NEAR_CONSTANT and len(first) > 1:
            measured = f"{top:.2%} have {first[count.argmax()]:g}"
            return [_note("near-constant column", column.name, measured, "it says little",
                          "is it still filled in?")]  # fmt: skip
    return []


def of_split(schema: Schema, holdout: Table) -> list[Finding]:
    """Findings about the size of the holdout, and what is new in it."""
    notes = []
    if not schema.features:
        why = "all columns are dropped, constant, id-like or text"
        advice = "data.kinds: {column: category} to use one after all"
        notes.append(
            Finding("no features", "table", "fail", "0 columns", "", why, advice, "warning")
        )
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


def _duplicates(parsed: Parsed) -> list[Finding]:
    hashes = row_hashes(parsed.values)
    _, group, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    copies = len(hashes) - len(counts)
    if not copies:
        return []
    measured = f"{copies:,} of {len(hashes):,}"
    if parsed.target.target.levels:
        sums = np.bincount(group, parsed.target.values)
        squares = np.bincount(group, parsed.target.values.astype(np.float64) ** 2)
        mixed = int((squares * counts - sums**2 > 0.5).sum())
        measured += f", {mixed:,} groups with different targets" if mixed else ""
    why = "equal rows share a side of the split, unless over 1 % of all are alike"
    rows = tuple(int(i) for i in np.flatnonzero(counts[group] > 1)[:10])
    note = _note("duplicate rows", "table", measured, why, "make sure that they are real")
    return [msgspec.structs.replace(note, rows=rows)]


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


def worst_first(found: Sequence[Finding]) -> list[Finding]:
    """Errors, then warnings, then notes; otherwise in the order in which they were found."""
    place = {"error": 0, "warning": 1, "info": 2}
    return sorted(found, key=lambda f: place[f.severity])


def _note(check: str, subject: str, measured: str, why: str, advice: str) -> Finding:
    return Finding(check, subject, "pass", measured, "", why, advice, "info")


def _warning(check: str, subject: str, measured: str, why: str, advice: str) -> Finding:
    return Finding(check, subject, "fail", measured, "", why, advice, "warning")
