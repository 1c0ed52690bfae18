"""The spec's table and the answered rows, as one table that keeps the old sealed rows sealed.

Three kinds of rows never meet: those that an earlier run sealed, the newest labelled ones, which
only judge, and those that are learned from. A copy of a row counts as the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from modelwright.core.errors import DataError
from modelwright.core.intake import Array, Feeds
from modelwright.core.schema import Column, Schema
from modelwright.core.spec import Spec
from modelwright.core.spec_data import DataSpec, ReadSpec
from modelwright.core.spec_file import SpecFile
from modelwright.core.spec_retrain import RetrainSpec
from modelwright.data.answered import Labelled, as_source
from modelwright.data.dataset import COPIES_IN_MEMORY
from modelwright.data.fingerprint import Hashes, row_hashes
from modelwright.data.interpret import Parsed, parse
from modelwright.data.memory import refuse_if_too_large
from modelwright.data.sources import Source, open_source
from modelwright.data.split import COMMON

SEALED_COLUMN = "sealed_by_champion"
MOST_COPIES = 10
"""Equal rows that may still be copies of one, however small the table is."""
MOST_JUDGING = 0.5
"""Share of the labelled rows that only judge, at most, where a number of rows is asked for."""
EQUAL_SEALED = "equal to a sealed row"
EQUAL_JUDGING = "equal to a row that judges"
EQUAL_SOURCE = "in the source already"
SAME_GROUP = "of a group that is sealed"


@dataclass(frozen=True)
class Grown:
    """A table to train anew on.

    Attributes:
        table: rows of the source, then answered ones; one more column says which are sealed.
        spec: the spec with all that reads this table like the source; its `data.source` is still
            the old one.
        judging: labelled rows that nothing learns from.
        source_rows, sealed_rows, learned: of the table: rows of the source, those of them that are
            sealed, and answered rows.
        left_out: why rows are not in it -> how many.
        until: of the newest answered row that is learned from, microseconds; 0 for none.
    """

    table: pl.DataFrame
    spec: Spec
    judging: Labelled
    source_rows: int
    sealed_rows: int
    learned: int
    left_out: Mapping[str, int]
    until: int = 0


def labelled_hashes(feeds: Feeds, target: Array, names: Sequence[str]) -> Hashes:
    """A hash a row, of some columns and the target; the same in every table that has the row."""
    columns = {name: feeds[name] for name in sorted(names)}
    return row_hashes({**columns, "": np.asarray(target, np.float64)}, salt="labelled")


def feature_hashes(feeds: Feeds, names: Sequence[str]) -> Hashes:
    """A hash a row, of some columns without the target."""
    return row_hashes({name: feeds[name] for name in sorted(names)}, salt="features")


def matched(hashes: Hashes, wanted: Hashes) -> Array:
    """Mask of the rows that are wanted, each as often as it is wanted; of equal rows the last.

    Example:
        >>> matched(np.array([7, 5, 7, 7], np.uint64), np.array([7, 7, 9], np.uint64)).tolist()
        [False, False, True, True]
    """
    values, counts = np.unique(wanted, return_counts=True)
    backwards = hashes[::-1]
    order = np.argsort(backwards, kind="stable")
    ordered = backwards[order]
    rank = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    place = np.minimum(np.searchsorted(values, ordered), max(0, len(values) - 1))
    hit = np.zeros(len(ordered), bool)
    if len(values):
        hit = (values[place] == ordered) & (rank < counts[place])
    mask = np.zeros(len(ordered), bool)
    mask[order] = hit
    return mask[::-1]


def known_in(hashes: Hashes, known: Hashes, all_rows: Hashes) -> Array:
    """Mask of the rows that are among the known ones, but for rows so common that they are a small
    domain and no copies.

    Args:
        hashes: of the rows that are asked about.
        known: of the others.
        all_rows: of all rows together; more than 1 % of them are common.
    """
    values, counts = np.unique(all_rows, return_counts=True)
    common = values[counts > max(COMMON * len(all_rows), MOST_COPIES)]
    return np.asarray(np.isin(hashes, known) & ~np.isin(hashes, common))


def judging(times: Array, spec: RetrainSpec, now: float, after: int = 0) -> Array:
    """Mask of the labelled rows that only judge: the newest, equal moments on one side.

    Args:
        times: of the rows, ascending, in microseconds.
        spec: how many or how long.
        now: Unix time.
        after: rows up to this moment were learned from by the champion, so they judge nothing.

    Example:
        >>> times = np.array([1, 2, 3, 3, 4]) * 1_000_000
        >>> judging(times, RetrainSpec(recent="2 rows"), 5.0).tolist()
        [False, False, True, True, True]
        >>> judging(times, RetrainSpec(recent="2 s"), 5.0).tolist()
        [False, False, True, True, True]
    """
    if not len(times):
        return np.zeros(0, bool)
    if spec.recent_seconds is not None:
        cut = (now - spec.recent_seconds) * 1e6
    else:
        count = min(spec.recent_rows or 0, max(1, int(len(times) * MOST_JUDGING)))
        cut = float(times[-count])
    return np.asarray((times >= cut) & (times > after))


def grow(
    spec_file: SpecFile,
    schema: Schema,
    sealed: Hashes,
    labelled: Labelled,
    judges: Array,
) -> Grown:
    """Put the table together.

    Args:
        spec_file: the project's own spec.
        schema: of the champion.
        sealed: see `labelled_hashes`: the rows that its run sealed.
        labelled: answered rows with their truth.
        judges: mask of those that only judge.

    Raises:
        DataError: the source does not hold the sealed rows any more, or what the champion read.
    """
    spec = _as_champion(spec_file.spec, schema)
    source = open_source(spec.data.source, spec_file.folder, spec.data.read)
    frame = source.frame()
    refuse_if_too_large(
        frame.estimated_size() * COPIES_IN_MEMORY, "The table needs about {} to learn from"
    )
    parsed, spec = _read_alike(frame, spec, schema, source)
    names = [column.name for column in schema.features]
    is_sealed = matched(labelled_hashes(parsed.values, parsed.target.values, names), sealed)
    gone = len(sealed) - int(is_sealed.sum())
    if gone:
        raise DataError(
            f"{source.name} does not hold {gone:,} of the {len(sealed):,} rows any more that the "
            "champion's run sealed.",
            hint="Put them back; or begin with other sealed rows: modelwright run.",
        )
    parts = _Parts(parsed, is_sealed, labelled, judges, names, spec)
    learns = parts.learns()
    keeps = parts.keeps()
    new = labelled.take(learns)
    name = SEALED_COLUMN
    while name in frame.columns:
        name += "_"
    table = _together(frame, parsed, new, spec.data, (name, is_sealed, keeps))
    unread = _unread(parsed, schema, spec.data.target) if learns.any() else []
    spec = _with_data(spec, _reading(spec.data, parsed, name, unread))
    _, spec = _read_alike(
        table, spec, schema, Source("the table", None, {}, lambda: iter(()), tuple)
    )
    return Grown(
        table=table,
        spec=spec,
        judging=labelled.take(judges),
        source_rows=table.height - int(learns.sum()),
        sealed_rows=int(is_sealed.sum()),
        learned=int(learns.sum()),
        left_out=parts.left_out,
        until=int(new.times[-1]) if len(new.times) else 0,
    )


def _together(
    frame: pl.DataFrame,
    parsed: Parsed,
    new: Labelled,
    data: DataSpec,
    sealed: tuple[str, Array, Array],
) -> pl.DataFrame:
    """Rows of the source that are kept, with a column that marks the sealed ones, and new rows."""
    name, is_sealed, keeps = sealed
    columns = {c.name: c for c in parsed.columns} | {data.target: _target_column(parsed)}
    feeds = _with_target_and_time(new, parsed, data)
    old_rows, new_rows = as_source(frame, columns, feeds, parsed.style, len(new.target))
    kept, marks = np.ones(frame.height, bool), np.zeros(frame.height, bool)
    kept[parsed.file_rows], marks[parsed.file_rows] = keeps, is_sealed
    old_rows = old_rows.with_columns(pl.Series(name, marks)).filter(pl.Series(kept))
    new_rows = new_rows.with_columns(pl.lit(False).alias(name))
    return pl.concat([old_rows, new_rows], how="vertical_relaxed")


class _Parts:
    """Which rows are whose; whoever is left out is counted."""

    def __init__(
        self, parsed: Parsed, sealed: Array, labelled: Labelled, judges: Array,
        names: list[str], spec: Spec,
    ) -> None:  # fmt: skip
        self.left_out: dict[str, int] = dict(labelled.left_out)
        self._sealed, self._judges = sealed, judges
        self._learn = spec.watch.retrain.data == "journal"
        self._source = row_hashes({name: parsed.values[name] for name in names})
        self._answered = row_hashes({name: labelled.feeds[name] for name in names})
        self._all = np.concatenate([self._source, self._answered])
        truth, said = parsed.target.values, labelled.target
        self._known = known_in(
            labelled_hashes(labelled.feeds, said, names),
            labelled_hashes(parsed.values, truth, names),
            labelled_hashes(parsed.values, truth, names),
        )
        self._groups: tuple[Array, Array] | None = None
        how = spec.data.split
        if how.method == "group" and how.by is not None:
            if self._learn and how.by not in names:
                raise DataError(
                    f"The journal has no {how.by}, which split.by keeps together.",
                    hint="Retrain on the source alone: watch.retrain.data: source.",
                )
            groups = parsed.values[how.by]
            answered = labelled.feeds.get(how.by, np.empty(0, groups.dtype))
            known = list(set(groups[sealed].tolist()))
            self._groups = np.isin(groups, known) & ~sealed, np.isin(answered, known)

    def learns(self) -> Array:
        """Mask of the answered rows that are learned from."""
        mask = ~self._judges & self._learn
        mask = self._without(mask, self._copies(self._answered, self._source[self._sealed]),
                             EQUAL_SEALED)  # fmt: skip
        judging = self._answered[self._judges]
        mask = self._without(mask, self._copies(self._answered, judging), EQUAL_JUDGING)
        mask = self._without(mask, self._known, EQUAL_SOURCE)
        if self._groups is not None and self._learn:
            mask = self._without(mask, self._groups[1], SAME_GROUP)
        return mask

    def keeps(self) -> Array:
        """Mask of the source's rows that stay in the table; the sealed ones always do."""
        mask = np.ones(len(self._source), bool)
        copies = self._copies(self._source, self._answered[self._judges]) & ~self._sealed
        mask = self._without(mask, copies, f"of the source, {EQUAL_JUDGING}")
        if self._groups is not None:
            mask = self._without(mask, self._groups[0], f"of the source, {SAME_GROUP}")
        return mask

    def _copies(self, hashes: Hashes, known: Hashes) -> Array:
        return known_in(hashes, known, self._all)

    def _without(self, mask: Array, out: Array, why: str) -> Array:
        count = int((mask & out).sum())
        if count:
            self.left_out[why] = count
        return mask & ~out


def _as_champion(spec: Spec, schema: Schema) -> Spec:
    """The spec with the champion's task and classes, which more rows must not change."""
    target = schema.target
    given: dict[str, Any] = {"task": target.task}
    if target.task == "binary":
        given["positive"] = target.label(target.positive)
    return _with_data(spec, spec.data.model_copy(update=given))


def _read_alike(
    frame: pl.DataFrame, spec: Spec, schema: Schema, source: Source
) -> tuple[Parsed, Spec]:
    """The source typed as the champion's was, and the spec that types it so."""
    parsed = parse(frame, spec, source)
    found = {column.name: column for column in parsed.columns}
    absent = [c.name for c in schema.features if c.name not in found]
    if absent:
        raise DataError(
            f"{source.name} has no {', '.join(absent[:5])}, which the champion reads.",
            hint="Begin anew on this table: modelwright run.",
        )
    other = {
        c.name: c.kind
        for c in schema.features
        if found[c.name].kind != c.kind and not found[c.name].unused.startswith("data.drop")
    }
    if other:
        spec = _with_data(spec, spec.data.model_copy(update={"kinds": spec.data.kinds | other}))
        parsed = parse(frame, spec, source)
    if parsed.target.target.levels != schema.target.levels:
        raise DataError(
            f"{source.name} has other classes than the champion: "
            f"{', '.join(parsed.target.target.levels[:5])}.",
            hint="Begin anew on this table: modelwright run.",
        )
    return parsed, spec


def _target_column(parsed: Parsed) -> Column:
    target = parsed.target.target
    kinds: dict[str, Any] = {"string": "category", "boolean": "boolean"}
    return Column(target.name, kinds.get(target.label_type, "number"))


def _with_target_and_time(new: Labelled, parsed: Parsed, data: DataSpec) -> Feeds:
    """What the new rows have, under the source's names."""
    target, feeds = parsed.target.target, dict(new.feeds)
    codes = new.target.astype(np.int64) if target.levels else new.target
    if target.label_type == "boolean":
        feeds[target.name] = codes.astype(np.float64)
    elif target.levels:
        levels = [target.label(level) for level in target.levels]
        kind: Any = np.float64 if target.label_type == "integer" else object
        feeds[target.name] = np.array([levels[code] for code in codes.tolist()], dtype=kind)
    else:
        feeds[target.name] = codes
    how = data.split
    if how.method == "time" and how.by is not None and how.by not in feeds:
        kind = next(column.kind for column in parsed.columns if column.name == how.by)
        if kind != "datetime" and len(new.times):
            raise DataError(
                f"The journal has no {how.by}, which split.by orders rows by, and it is {kind}, "
                "so the time of the answer cannot stand for it.",
                hint="Retrain on the source alone: watch.retrain.data: source.",
            )
        feeds[how.by] = new.times
    return feeds


def _unread(parsed: Parsed, schema: Schema, target: str) -> list[str]:
    """Columns that the champion does not read. The journal has none of them, so in the new rows
    they are missing: whoever read them would learn which rows are new, and nothing else."""
    read = {column.name for column in schema.features} | {target}
    return [column.name for column in parsed.columns if column.name not in read]


def _reading(data: DataSpec, parsed: Parsed, sealed: str, unread: list[str]) -> DataSpec:
    """The spec's `data` for the table: what was detected in the source holds on."""
    detected = {
        key: parsed.detected[key] for key in ("thousands", "decimal") if key in parsed.detected
    }
    read: dict[str, Any] = data.read.model_dump() | detected
    read["missing"] = {**data.read.missing, **_mapping(parsed.detected.get("missing"))}
    read["dates"] = {**data.read.dates, **_mapping(parsed.detected.get("dates"))}
    split = data.split.model_copy(update={"sealed": sealed})
    drop = list(dict.fromkeys([*data.drop, *unread]))
    given = {"read": ReadSpec.model_validate(read), "split": split, "drop": drop}
    return data.model_copy(update=given)


def _mapping(found: object) -> dict[str, Any]:
    return dict(found) if isinstance(found, dict) else {}


def _with_data(spec: Spec, data: DataSpec) -> Spec:
    return spec.model_copy(update={"data": data})
