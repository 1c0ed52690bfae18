"""Raw columns to the matrix a family learns from; `pack.convert` repeats it inside the graph.

Numbers stay as they are for trees and are filled, standardised and clipped for linear models.
A category becomes one row of a table: one-hot columns, and the mean of the target and the share
of rows of its level. While fitting, a row's target means come from the other folds (cross-fitting;
Micci-Barreca 2001 for the smoothed mean), so that no row sees its own target.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from modelwright.core.errors import UsageError, did_you_mean
from modelwright.core.intake import Array, Feeds
from modelwright.core.schema import Column, Schema
from modelwright.core.table import Table
from modelwright.data.means import cross_fitted, level_means
from modelwright.fit.calendar import CYCLES, PARTS, Part, calendar

NOT_READ = "the model leaves it out (encoding.without)"


@dataclass(frozen=True)
class Encoding:
    """How columns become features; every field can be set as `encoding.<field>` in the spec.

    Attributes:
        numbers: raw leaves NaN in place (trees); standard fills, centres, scales and clips.
        onehot_levels: a category with at most this many levels gets a column for each.
        target_means: add the level's smoothed target mean and its share of the rows.
        smoothing: rows of the overall mean that are mixed into a level's mean.
        clip: standard deviations beyond which standardised numbers are cut off.
        least_rows: levels seen less often get no column of their own.
        fold_count: folds of the cross-fitting.
        age: days since 1970 as a feature of each date-time. Off: a model that knows the day learns
            the past by heart (default LightGBM on Beijing's newest fifth: RMSE 79.7 with, 74.0
            without).
        native_levels: a category with at most this many levels is handed to the library as one,
            for families that split on sets of levels (LightGBM); 0: none is.
        list_items: items of a list column that get a column each, the most frequent first.
        without: columns that are not read at all.
    """

    numbers: Literal["raw", "standard"] = "raw"
    onehot_levels: int = 16
    target_means: bool = True
    smoothing: float = 10.0
    clip: float = 20.0
    least_rows: int = 1
    fold_count: int = 5
    age: bool = False
    list_items: int = 40
    native_levels: int = 0
    without: tuple[str, ...] = ()

    def changed(self, settings: dict[str, Any]) -> Encoding:
        """The encoding with some fields set.

        Raises:
            UsageError: a field that does not exist, or columns to leave out that are no list.
        """
        for name in settings:
            if name not in self.__dataclass_fields__:
                hint = did_you_mean(name, self.__dataclass_fields__)
                raise UsageError(f"Unknown parameter 'encoding.{name}'.", hint=hint)
        left_out = settings.get("without", self.without)
        named = isinstance(left_out, (list, tuple)) and all(isinstance(n, str) for n in left_out)
        if not named:
            raise UsageError(
                f"encoding.without wants a list of columns, found {left_out!r}.",
                hint="Write it as [age, city].",
            )
        return replace(self, **{**settings, "without": tuple(left_out)})


@dataclass(frozen=True)
class NumberSource:
    """One numeric feature before scaling: a column, or a part of a date-time column."""

    column: str
    part: Part | None = None


@dataclass(frozen=True)
class Scaling:
    """``clip((fill(x) - center) / scale)``, and which columns get a was-missing feature."""

    fill: Array
    center: Array
    scale: Array
    clip: float
    indicators: Array


@dataclass(frozen=True)
class CategoryTable:
    """``table[row of the level]``: the last two rows are for missing and for unseen values.

    `native`: its first feature is the number of the row itself, for a library that knows
    categories.
    """

    column: str
    levels: tuple[str, ...]
    table: Array
    native: bool = False

    def codes(self, values: Array) -> Array:
        """Row number in `table` for each value."""
        index = {level: code for code, level in enumerate(self.levels)}
        index[""] = len(self.levels)
        unseen = len(self.levels) + 1
        return np.fromiter((index.get(v, unseen) for v in values), np.int64, len(values))


@dataclass(frozen=True)
class ListTable:
    """A list column: one feature an item, 1.0 where the list has it."""

    column: str
    separator: str
    items: tuple[str, ...]

    def rows(self, values: Array) -> Array:
        """float64 [rows, items]; each different text is looked at once."""
        names, code = np.unique(values.astype(str), return_inverse=True)
        held = [set(name.split(self.separator)) for name in names.tolist()]
        known = np.array([[item in own for item in self.items] for own in held], np.float64)
        return np.asarray(known.reshape(len(names), len(self.items))[code])


@dataclass(frozen=True)
class Encoder:
    """A fitted encoding: raw feeds in, float64 [rows, width] out."""

    sources: tuple[NumberSource, ...]
    scaling: Scaling | None
    tables: tuple[CategoryTable, ...]
    lists: tuple[ListTable, ...] = ()

    @property
    def width(self) -> int:
        """How many features come out."""
        extra = len(self.scaling.indicators) if self.scaling else 0
        encoded = sum(int(t.table.shape[1]) for t in self.tables)
        return len(self.sources) + int(extra) + encoded + sum(len(t.items) for t in self.lists)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column that each feature is made of."""
        own = [source.column for source in self.sources]
        flags = [own[at] for at in self.scaling.indicators] if self.scaling else []
        tables = [t.column for t in self.tables for _ in range(t.table.shape[1])]
        return (*own, *flags, *tables, *(t.column for t in self.lists for _ in t.items))

    @property
    def categories(self) -> tuple[int, ...]:
        """Numbers of the features that are categories, for a library that knows them."""
        widths = [int(t.table.shape[1]) for t in self.tables]
        starts = self.width - sum(widths) - sum(len(t.items) for t in self.lists)
        places = starts + np.cumsum([0, *widths])
        return tuple(int(at) for at, t in zip(places[:-1], self.tables, strict=True) if t.native)

    def transform(self, feeds: Feeds) -> Array:
        """Encode rows that were not fitted on."""
        numbers = self._numbers(feeds)
        parts = [numbers] + [t.table[t.codes(feeds[t.column])] for t in self.tables]
        parts += [t.rows(feeds[t.column]) for t in self.lists]
        return np.concatenate(parts, axis=1)

    def _numbers(self, feeds: Feeds) -> Array:
        raw = raw_numbers(self.sources, feeds)
        if self.scaling is None:
            return raw
        s = self.scaling
        filled = np.where(np.isnan(raw), s.fill, raw)
        with np.errstate(over="ignore"):
            scaled = np.clip((filled - s.center) / s.scale, -s.clip, s.clip)
        flags = np.isnan(raw[:, s.indicators]).astype(np.float64)
        return np.concatenate([scaled, flags], axis=1)


def raw_numbers(sources: Sequence[NumberSource], feeds: Feeds) -> Array:
    """Numbers, booleans and date parts side by side, float64 [rows, sources]."""
    parts = {s.column: calendar(feeds[s.column]) for s in sources if s.part}
    columns = [parts[s.column][s.part] if s.part else feeds[s.column] for s in sources]
    rows = len(next(iter(feeds.values())))
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0))


def monotone_of(encoder: Encoder, signs: Mapping[str, int]) -> tuple[int, ...]:
    """-1, 0 or 1 a feature, from the signs of the columns; empty where none has one."""
    if not signs:
        return ()
    own = [signs.get(s.column, 0) if s.part is None else 0 for s in encoder.sources]
    return (*own, *[0] * (encoder.width - len(own)))


def fit_encoder(
    schema: Schema, table: Table, encoding: Encoding, seed: int
) -> tuple[Encoder, Array]:
    """Fit an encoding.

    Args:
        schema: says what each column is.
        table: the rows to learn from, with their target.
        encoding: the settings.
        seed: of the cross-fitting folds.

    Returns:
        (the encoder, the matrix to train on, in which target means are cross-fitted).
    """
    schema = read_by(schema, encoding.without)
    sources = _sources(schema, table.feeds, encoding)
    raw = raw_numbers(sources, table.feeds)
    scaling = _scaling(raw, encoding) if encoding.numbers == "standard" else None
    targets = _mean_targets(schema, table.target) if encoding.target_means else None
    categories = [c for c in schema.features if c.kind == "category"]
    parts, tables = [], []
    for column in categories:
        fitted, matrix = _category(column, table.feeds[column.name], targets, encoding, seed)
        tables.append(fitted)
        parts.append(matrix)
    lists = [_items(c, encoding) for c in schema.features if c.kind == "list"]
    parts += [t.rows(table.feeds[t.column]) for t in lists]
    encoder = Encoder(tuple(sources), scaling, tuple(tables), tuple(lists))
    numbers = Encoder(tuple(sources), scaling, ())._numbers(table.feeds)
    return encoder, np.concatenate([numbers, *parts], axis=1)


def read_by(schema: Schema, left_out: Collection[str]) -> Schema:
    """The schema of a model that leaves these columns out.

    Raises:
        UsageError: a column that there is not, or none would be left.
    """
    if not left_out:
        return schema
    names = [column.name for column in schema.columns]
    for name in left_out:
        if name not in names:
            hint = did_you_mean(name, names) or f"Columns: {', '.join(names[:20])}."
            raise UsageError(f"encoding.without names {name!r}.", hint=hint)
    found = schema.without(left_out, NOT_READ)
    if not found.features:
        raise UsageError("encoding.without leaves no column.", hint="Name fewer.")
    return found


def _items(column: Column, encoding: Encoding) -> ListTable:
    """The most frequent items of a list column; the schema has them in that order."""
    return ListTable(column.name, column.format or "|", column.levels[: encoding.list_items])


def _sources(schema: Schema, feeds: Feeds, encoding: Encoding) -> list[NumberSource]:
    """Numeric features; date parts that never change in training are left out.

    Places on a circle are for models that add up their inputs: December is next to January.
    """
    found: list[NumberSource] = []
    wanted = (*PARTS, *CYCLES) if encoding.numbers == "standard" else PARTS
    wanted = wanted if encoding.age else tuple(part for part in wanted if part != "days")
    for column in schema.features:
        if column.kind in ("number", "boolean"):
            found.append(NumberSource(column.name))
        elif column.kind == "datetime":
            parts = calendar(feeds[column.name])
            varied = [p for p in wanted if len(np.unique(parts[p][~np.isnan(parts[p])])) > 1]
            found += [NumberSource(column.name, part) for part in varied or ["year"]]
    return found


LARGEST = 1e140
"""Numbers beyond it count as it where they are scaled: the sum of squares has to be finite."""


def _scaling(raw: Array, encoding: Encoding) -> Scaling:
    finite = np.where(np.isfinite(raw), np.clip(raw, -LARGEST, LARGEST), np.nan)
    count = raw.shape[1]
    fill, center, scale = np.zeros(count), np.zeros(count), np.ones(count)
    for index in range(count):
        present = finite[~np.isnan(finite[:, index]), index]
        if len(present):
            fill[index], center[index] = np.median(present), present.mean()
            scale[index] = present.std() or 1.0
    indicators = np.flatnonzero(np.isnan(raw).any(axis=0))
    return Scaling(fill, center, scale, encoding.clip, indicators)


MOST_MEAN_TARGETS = 30


def _mean_targets(schema: Schema, y: Array) -> Array | None:
    """What to average over a level, float64 [rows, k]: the value, or one 0/1 column a class."""
    levels = len(schema.target.levels)
    if levels == 0:
        return y.astype(np.float64)[:, None]
    if levels > MOST_MEAN_TARGETS:
        return None
    wanted = [1] if levels == 2 else range(levels)
    return np.stack([(y == code).astype(np.float64) for code in wanted], axis=1)


def _category(
    column: Column, values: Array, targets: Array | None, encoding: Encoding, seed: int
) -> tuple[CategoryTable, Array]:
    """A category's table, and the matrix of the rows it was fitted on."""
    names, counts = np.unique(values[values != ""].astype(str), return_counts=True)
    order = np.lexsort((names, -counts))
    kept = [i for i in order if counts[i] >= encoding.least_rows]
    levels = tuple(str(names[i]) for i in kept)
    lookup = CategoryTable(column.name, levels, np.empty((len(levels) + 2, 0)))
    codes = lookup.codes(values)
    size = len(levels) + 2
    if len(levels) <= encoding.native_levels:
        numbers = np.arange(size, dtype=np.float64)[:, None]
        return replace(lookup, table=numbers, native=True), numbers[codes]
    onehot = np.eye(size, min(len(levels), encoding.onehot_levels) + 1)
    if targets is None:
        if len(levels) > encoding.onehot_levels:
            onehot = np.eye(size, encoding.onehot_levels)
        return replace(lookup, table=onehot), onehot[codes]
    blocks = [onehot] if len(levels) <= encoding.onehot_levels else []
    shares = np.bincount(codes, minlength=size) / max(1, len(codes))
    means = level_means(codes, targets, size, encoding.smoothing)
    table = np.concatenate([*blocks, shares[:, None], means], axis=1)
    matrix = table[codes]
    matrix[:, -targets.shape[1] :] = cross_fitted(
        codes,
        targets,
        size,
        smoothing=encoding.smoothing,
        folds=encoding.fold_count,
        seed=seed,
    )
    return replace(lookup, table=table), matrix
