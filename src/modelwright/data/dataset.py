"""Spec to Dataset: the one entry to this room."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from modelwright.core.contract import missing_in
from modelwright.core.errors import DataError, RowsError, first_rows
from modelwright.core.intake import Array, Feeds
from modelwright.core.records import ColumnBaseline, DatasetRecord
from modelwright.core.schema import Column, Schema
from modelwright.core.spec_data import DataSpec, SplitSpec
from modelwright.core.spec_file import SpecFile
from modelwright.core.table import Table, take_feeds
from modelwright.data import findings, kinds, split, target
from modelwright.data.cells import KIND_SHARE
from modelwright.data.fingerprint import Digest, fingerprint, row_hashes
from modelwright.data.holdout import SealedHoldout
from modelwright.data.interpret import Parsed, parse
from modelwright.data.memory import refuse_if_too_large
from modelwright.data.origin import origin_of
from modelwright.data.sources import Source, open_source
from modelwright.data.streams import without_password

MOST_WITHOUT_TIME = 1 - KIND_SHARE
LEDGER = Path(".modelwright") / "holdout-uses.jsonl"
SEALED_GIVEN = "sealed rows given"
COPIES_IN_MEMORY = 6
"""How many times the raw table is held at once, at most, while fitting (measured on Adult)."""


@dataclass(frozen=True)
class Dataset:
    """A validated, fingerprinted and split table.

    Attributes:
        record: the frozen description, as kept in `runs/<id>/dataset.json`.
        train: the rows to learn from; in time order when the split is by time.
        holdout: the sealed rows; in time order too.
        ordered: whether folds must respect time.
    """

    record: DatasetRecord
    train: Table
    holdout: SealedHoldout
    ordered: bool

    @property
    def schema(self) -> Schema:
        """The one schema, from the training data."""
        return self.record.schema

    def must_be_learnable(self) -> None:
        """Refuse to go on to a search with a table that cannot or must not be learned from.

        Raises:
            DataError: no column is left.
            RowsError: the table breaks the spec's `expect:`.
        """
        if not self.schema.features:
            raise DataError(
                "No column is left to learn from.",
                hint="All are dropped, constant, id-like or text; see modelwright check.",
            )
        broken = [f for f in self.record.findings if f.check == "expect" and f.blocks]
        if broken:
            lines = [line for finding in broken for line in finding.measured.split("; ")]
            raise RowsError(f"{self.record.source} breaks what the spec expects:", lines)


def load(spec_file: SpecFile, source: Source | None = None, *, thorough: bool = True) -> Dataset:
    """Read, check and split the table that the spec names.

    Args:
        spec_file: the spec.
        source: its table, where it was opened already.
        thorough: also run the checks that cost seconds (label noise).

    Raises:
        DataError: the file, the target or a named column does not fit; or too little memory.
    """
    data = spec_file.spec.data
    source = source or open_source(data.source, spec_file.folder, data.read)
    frame = source.frame()
    refuse_if_too_large(
        frame.estimated_size() * COPIES_IN_MEMORY, "The table needs about {} to learn from"
    )
    parsed = parse(frame, spec_file.spec, source)
    rows = frame.height
    del frame
    return divided(spec_file, source, parsed, rows, thorough=thorough)


def divided(
    spec_file: SpecFile, source: Source, parsed: Parsed, rows: int, *, thorough: bool
) -> Dataset:
    """Split a typed table, and look at it.

    Args:
        spec_file: the spec.
        source: that was read to its end.
        parsed: its typed rows.
        rows: of the file, those without a target included.
        thorough: also run the checks that cost seconds.

    Raises:
        DataError: nothing is left on one side of the split.
    """
    data = spec_file.spec.data
    parsed = _with_a_place_in_time(parsed, data.split)
    values, y = parsed.values, parsed.target.values
    mask, order, groups = _split(values, parsed, data)
    features = {c.name: values[c.name] for c in parsed.columns if c.is_feature}
    everything = Table(features, y, groups, parsed.file_rows)
    train_rows, holdout_rows = _rows_of(mask, order)
    train, sealed = everything.take(train_rows), everything.take(holdout_rows)
    _check_classes(train, parsed.target)
    schema = Schema(_from_training(parsed.columns, values, train_rows), parsed.target.target)
    labelled = values | {data.target: label_texts(parsed.target)}
    digest = Digest()
    digest.add(labelled)
    holdout_print = fingerprint(take_feeds(_unmarked(labelled, data), holdout_rows))
    seen, look = findings.examine(
        parsed, schema, findings.Sides(mask, train_rows), data, rows, thorough=thorough
    )
    noted = [*source.findings(), *parsed.notes, *seen, *findings.of_split(schema, sealed)]
    record = DatasetRecord(
        source=without_password(data.source),
        rows=len(y),
        train_rows=len(train_rows),
        holdout_rows=len(holdout_rows),
        fingerprint=digest.whole(),
        holdout_fingerprint=holdout_print,
        split=_split_name(data, schema),
        seed=data.seed,
        schema=schema,
        baseline={
            c.name: baseline_of(train.feeds[c.name]) for c in schema.features if not c.private
        },
        findings=findings.accepted(findings.worst_first(noted), data),
        read=parsed.detected,
        column_fingerprints=digest.columns(),
        relations={c.name: round(look.alone(c.name), 4) for c in schema.features},
        origin=origin_of(data.source, spec_file.folder),
        sampled=0 if look.whole else len(look.y),
    )
    holdout = SealedHoldout(sealed, holdout_print, spec_file.folder / LEDGER)
    return Dataset(record, train, holdout, ordered=order is not None)


def _with_a_place_in_time(parsed: Parsed, how: SplitSpec) -> Parsed:
    """Without the few rows that a split by time finds no place for; they are named.

    Raises:
        DataError: they are too many to be slips; or the column holds no moments.
    """
    if how.method != "time" or not how.by:
        return parsed
    if parsed.values[how.by].dtype == object:
        found = next(c.kind for c in parsed.columns if c.name == how.by)
        raise DataError(
            f"data.split.by: {how.by!r} is {found}, wanted a date-time or a number.",
            hint="Does data.kinds help?",
        )
    absent = missing_in(parsed.values[how.by])
    rows = parsed.file_rows[absent].tolist()
    if not rows:
        return parsed
    if len(rows) > MOST_WITHOUT_TIME * len(absent):
        raise DataError(
            f"data.split.by: {how.by!r} has no value in {first_rows(rows)}: {len(rows):,} of "
            f"{len(absent):,} rows have no place in time.",
            hint="Mend the values, or leave those rows out of the table; up to "
            f"{MOST_WITHOUT_TIME:.0%} of all are left out without asking.",
        )
    values = take_feeds(parsed.values, ~absent)
    return replace(
        parsed,
        columns=[
            msgspec.structs.replace(c, nullable=bool(missing_in(values[c.name]).any()))
            for c in parsed.columns
        ],
        values=values,
        target=replace(parsed.target, values=parsed.target.values[~absent]),
        file_rows=parsed.file_rows[~absent],
        notes=[*parsed.notes, findings.of_no_time(how.by, rows, len(absent))],
    )


def _split(
    values: Feeds, parsed: Parsed, data: DataSpec
) -> tuple[Array, Array | None, Array | None]:
    """(mask of the holdout, time order or None, group number a row or None)."""
    how, y = data.split, parsed.target.values
    salt = f"split {data.seed}"
    if how.method == "time":
        moments = values[how.by] if how.by else np.arange(len(y))
        order = np.argsort(moments, kind="stable")
        if how.sealed:
            return _given(values, how), order, None
        return split.time_holdout(moments, how.holdout), order, None
    if how.method == "group":
        assert how.by is not None
        _, groups = np.unique(values[how.by], return_inverse=True)
        if how.sealed:
            return _given(values, how), None, groups
        hashes = row_hashes({how.by: values[how.by]}, salt=salt)
        return split.group_holdout(groups, hashes, how.holdout), None, groups
    if how.sealed:
        return _given(values, how), None, None
    hashes = split.parted(row_hashes(values, salt=salt), y)
    classes = parsed.target.target.task != "regression" and how.method != "random"
    if classes:
        return split.stratified_holdout(hashes, y, how.holdout), None, None
    if how.method == "stratified":
        raise DataError("split.method stratified needs classes.", hint="Use random, or task:.")
    return split.random_holdout(hashes, how.holdout), None, None


def _rows_of(mask: Array, order: Array | None) -> tuple[Array, Array]:
    """Numbers of the rows to learn from and of the holdout, each in order of time if there is one.

    Raises:
        DataError: nothing is left on one side.
    """
    train = np.flatnonzero(~mask) if order is None else order[~mask[order]]
    holdout = np.flatnonzero(mask) if order is None else order[mask[order]]
    if not len(train) or not len(holdout):
        raise DataError(
            f"The split leaves {len(train)} rows to learn from and {len(holdout)} to judge by.",
            hint="Choose another data.split, or a larger table.",
        )
    return train, holdout


def _unmarked(values: Feeds, data: DataSpec) -> Feeds:
    """Without the column that says which rows are sealed, so that the same rows are the same."""
    return {name: column for name, column in values.items() if name != data.split.sealed}


def _given(values: Feeds, how: SplitSpec) -> Array:
    """Mask of the holdout where a column says which rows are sealed."""
    assert how.sealed is not None
    given = values[how.sealed]
    if given.dtype != np.float64 or not np.isin(given, (0.0, 1.0)).all():
        raise DataError(
            f"split.sealed: {how.sealed!r} does not say true or false in every row.",
            hint="Wanted a column of true and false.",
        )
    return np.asarray(given == 1.0)


def _split_name(data: DataSpec, schema: Schema) -> str:
    method = data.split.method
    if method == "auto":
        method = "random" if schema.target.task == "regression" else "stratified"
    by = f" by {data.split.by}" if data.split.by else ""
    by = " by row order" if method == "time" and not by else by
    if data.split.sealed:
        return f"{method}{by}, {SEALED_GIVEN}"
    return f"{method}{by}, {data.split.holdout:.0%} sealed"


def label_texts(read: target.ReadTarget) -> Array:
    """The target as the file has it, so that the choice of a positive class changes no digest."""
    levels = read.target.levels
    return np.array(levels, dtype=object)[read.values] if levels else read.values


def _check_classes(train: Table, read: target.ReadTarget) -> None:
    levels = read.target.levels
    absent = sorted(set(range(len(levels))) - set(np.unique(train.target).tolist()))
    if levels and absent:
        raise DataError(
            f"The class {levels[absent[0]]!r} has no row to learn from after the split.",
            hint="Drop its rows, or choose another data.split.",
        )


def _from_training(columns: list[Column], values: Feeds, train_rows: Array) -> tuple[Column, ...]:
    """Ranges, levels and missingness as the training part alone shows them."""
    described = []
    for column in columns:
        if column.is_feature:
            found = kinds.describe(column, values[column.name][train_rows])
            column = msgspec.structs.replace(found, nullable=column.nullable)
        described.append(column)
    return tuple(described)


def baseline_of(values: Array) -> ColumnBaseline:
    """A column's distribution, the reference that drift is measured against."""
    missing = missing_in(values)
    present = values[~missing]
    share = float(missing.mean()) if len(values) else 0.0
    if values.dtype == object:
        counted = kinds.counted(pl.Series(present, dtype=pl.String))[:64]
        shares = tuple(count / max(1, len(values)) for _, count in counted)
        return ColumnBaseline(share, levels=tuple(name for name, _ in counted), shares=shares)
    if not len(present):
        return ColumnBaseline(share)
    numbers = present.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return ColumnBaseline(share)
    edges = tuple(np.quantile(finite, np.linspace(0, 1, 65)).tolist())
    mean, std = float(finite.mean()), float(finite.std())
    return ColumnBaseline(share, edges=edges, mean=mean, std=std)
