"""The target column: which task it asks for, its classes, and the rows that lack it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from modelwright.core.errors import DataError, did_you_mean
from modelwright.core.intake import Array, level_text
from modelwright.core.limits import Task
from modelwright.core.schema import FALSE_WORDS, TRUE_WORDS, LabelType, Target
from modelwright.core.spec_data import DataSpec
from modelwright.data import cells
from modelwright.data.hints import Hints
from modelwright.data.kinds import plain, without_marks

MOST_INTEGER_CLASSES = 20
MOST_CLASSES = 1000
POSITIVE_WORDS = TRUE_WORDS | {"positive", "pos", "bad", "fraud", "churn", "default"}


@dataclass(frozen=True)
class ReadTarget:
    """The target of every row that has one.

    Attributes:
        target: its description.
        values: class index (int64) or value (float64) a kept row.
        kept: mask over the file's rows.
        guessed: how the task and the positive class were found, or empty when given.
    """

    target: Target
    values: Array
    kept: Array
    guessed: str


def read_target(frame: pl.DataFrame, spec: DataSpec, hints: Hints | None = None) -> ReadTarget:
    """Find the task and code the target's values.

    Raises:
        DataError: no such column, no values, one value only, or values that fit no task.
    """
    if spec.target not in frame.columns:
        hint = did_you_mean(spec.target, frame.columns)
        raise DataError(
            f"The target column {spec.target!r} is not in {spec.source}.",
            hint=hint or f"Its columns: {', '.join(frame.columns[:30])}.",
        )
    series = typed(frame[spec.target], hints or Hints())
    kept = series.is_not_null().to_numpy()
    present = series.drop_nulls()
    if present.len() == 0:
        raise DataError(f"The target column {spec.target!r} has no values.")
    if present.n_unique() == 1:
        raise DataError(
            f"The target column {spec.target!r} has one value ({present[0]!r}), "
            "so there is nothing to predict.",
            hint="Was the file filtered by it?",
        )
    task = spec.task or _task(present)
    guessed = "" if spec.task else f"{task}: {present.n_unique()} distinct values"
    if task == "regression":
        return ReadTarget(*_numbers(present, spec), kept, guessed)
    target, values, how = _classes(present, task, spec)
    return ReadTarget(target, values, kept, "; ".join(filter(None, (guessed, how))))


def typed(series: pl.Series, known: Hints) -> pl.Series:
    """A target column as numbers, booleans or text, missing values as null."""
    series, _ = without_marks(plain(series), known.missing_of(series.name))
    if series.dtype != pl.String:
        return series
    words = {text.lower() for text in series.drop_nulls().unique().head(5).to_list()}
    if words == {"true", "false"}:
        return (series.str.to_lowercase() == "true").alias(series.name)
    found = cells.numbers_in(series, known.style)
    if found is not None and not found.wrong_count:
        whole = found.whole and cells.are_exact(found.values)
        return found.values.cast(pl.Int64) if whole else found.values
    if found is not None and found.values.n_unique() > MOST_INTEGER_CLASSES:
        row = found.wrong[0]
        raise DataError(
            f"The target column {series.name!r} holds numbers but for {found.wrong_count:,} "
            f"value(s), the first in row {row}: {str(series[row])[:60]!r}.",
            hint="Mend them, or leave these rows out: data.read.missing: "
            f"{{{series.name}: [{str(series[row])[:60]!r}]}}.",
        )
    spellings = known.spellings.get(series.name, {})
    return series.replace(dict(spellings)) if spellings else series


def _task(present: pl.Series) -> Task:
    unique = present.n_unique()
    if unique == 2:
        return "binary"
    if present.dtype.is_float():
        whole = bool((present == present.round(0)).all())
        return "multiclass" if whole and unique <= MOST_INTEGER_CLASSES else "regression"
    if present.dtype.is_integer() or isinstance(present.dtype, pl.Decimal):
        return "multiclass" if unique <= MOST_INTEGER_CLASSES else "regression"
    return "multiclass"


def _numbers(present: pl.Series, spec: DataSpec) -> tuple[Target, Array]:
    try:
        values = present.cast(pl.Float64).to_numpy().copy()
    except pl.exceptions.PolarsError as error:
        bad = present.filter(present.cast(pl.String).cast(pl.Float64, strict=False).is_null())
        found = repr(bad[0]) if len(bad) else f"type {present.dtype}"
        raise DataError(
            f"Task regression wants numbers, but the target {spec.target!r} holds {found}.",
            hint="Mend the values, or leave data.task out.",
        ) from error
    if not np.isfinite(values).all():
        raise DataError(f"The target {spec.target!r} holds infinite values.")
    low, high = float(values.min()), float(values.max())
    return Target(spec.target, "regression", "number", (), low, high), values


def _classes(present: pl.Series, task: Task, spec: DataSpec) -> tuple[Target, Array, str]:
    label_type, texts = _label_texts(present, spec)
    names, codes, counts = np.unique(np.array(texts), return_inverse=True, return_counts=True)
    levels = [str(name) for name in names]
    if task == "binary" and len(levels) != 2:
        raise DataError(
            f"Task binary wants two values, but {spec.target!r} has {len(levels)}.",
            hint="Use data.task: multiclass.",
        )
    if len(levels) > MOST_CLASSES or len(levels) > 0.5 * len(texts):
        raise DataError(
            f"The target {spec.target!r} has {len(levels):,} distinct values over "
            f"{len(texts):,} rows: these are not classes.",
            hint="Choose another target, or data.task: regression if they are numbers.",
        )
    if label_type == "integer":
        levels.sort(key=int)
    how = ""
    if task == "binary":
        levels, how = _positive_last(levels, dict(zip(map(str, names), counts, strict=True)), spec)
    elif spec.positive is not None:
        raise DataError("data.positive is for binary targets.", hint="Remove it.")
    place = np.array([levels.index(str(name)) for name in names])
    target = Target(spec.target, task, label_type, tuple(levels))
    return target, place[codes].astype(np.int64), how


def label_texts_of(present: pl.Series, target: Target, dtype: Any) -> Array:
    """The targets of more rows as a whole table's fingerprint has them."""
    if not target.levels:
        return present.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    texts = present.cast(pl.String)
    if present.dtype.is_float():
        texts = pl.Series([level_text(float(v)) for v in present.to_list()], dtype=pl.String)
    return np.array(texts.to_list(), dtype)


def _label_texts(present: pl.Series, spec: DataSpec) -> tuple[LabelType, list[str]]:
    if present.dtype == pl.Boolean:
        return "boolean", ["true" if value else "false" for value in present.to_list()]
    if present.dtype.is_integer():
        return "integer", [str(value) for value in present.to_list()]
    if present.dtype.is_numeric():
        texts = [level_text(float(value)) for value in present.cast(pl.Float64).to_list()]
        whole = all(text.lstrip("-").isdigit() for text in set(texts))
        return ("integer" if whole else "string"), texts
    if present.dtype in (pl.String, pl.Categorical, pl.Enum):
        return "string", [str(value) for value in present.to_list()]
    raise DataError(
        f"The target {spec.target!r} has type {present.dtype}.",
        hint="Wanted numbers, text or booleans.",
    )


def _positive_last(
    levels: list[str], counts: dict[str, int], spec: DataSpec
) -> tuple[list[str], str]:
    if spec.positive is not None:
        given = spec.positive
        text = ("true" if given else "false") if isinstance(given, bool) else str(given)
        if text not in levels:
            raise DataError(
                f"data.positive is {given!r}, but {spec.target!r} holds {levels[0]!r} and "
                f"{levels[1]!r}.",
                hint=did_you_mean(text, levels),
            )
        return sorted(levels, key=lambda level: level == text), ""
    words = [level for level in levels if level.lower() in POSITIVE_WORDS]
    negative = [level for level in levels if level.lower() in FALSE_WORDS]
    if len(words) == 1:
        positive = words[0]
    elif len(negative) == 1:
        positive = next(level for level in levels if level not in negative)
    else:
        positive = min(levels, key=lambda level: (counts[level], level))
    return sorted(levels, key=lambda level: level == positive), f"positive class {positive!r}"
