"""Raw columns to typed ones: target, kinds, private marks, the contract of `expect:`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import polars as pl

from modelwright.core.constant import check_constant
from modelwright.core.contract import row_breaches, table_breaches
from modelwright.core.errors import DataError, RowsError, did_you_mean
from modelwright.core.intake import Array, Feeds
from modelwright.core.records import Finding
from modelwright.core.schema import Column, Expect, Kind, parse_time
from modelwright.core.spec import Spec
from modelwright.core.spec_data import DataSpec, ExpectSpec
from modelwright.data import cells, kinds, target
from modelwright.data.checks.privacy import personal
from modelwright.data.hints import Hints, style_of
from modelwright.data.plain import plain_numbers
from modelwright.data.sources import Source

FEWEST_ROWS = 20
STYLE_ROWS = 5_000
_FITTING: dict[str, tuple[Kind, ...]] = {
    "range": ("number", "datetime"),
    "levels": ("category", "list"),
    "regex": ("category", "list", "text", "id"),
}
"""Rules of `expect:` and the kinds that they can be judged on."""


@dataclass(frozen=True)
class Parsed:
    """A table after its kinds are known, before the split.

    Attributes:
        columns: of the table, the target left out.
        values: name -> values of the rows with a target, as in `core.intake.Feeds`.
        target: of those rows.
        notes: what was found on the way.
        detected: how the file is written, as `data.read` would pin it.
        file_rows: number in the file of each row with a target.
        style: how its numbers are written.
    """

    columns: list[Column]
    values: Feeds
    target: target.ReadTarget
    notes: list[Finding]
    detected: dict[str, object]
    file_rows: Array
    style: str


def parse(frame: pl.DataFrame, spec: Spec, source: Source, numbers: Array | None = None) -> Parsed:
    """Type a table's columns.

    Args:
        frame: the rows.
        spec: with `data` and `expect`.
        source: where the rows came from.
        numbers: each row's number in the file, where the frame is a sample of it.

    Raises:
        DataError: the target or a named column does not fit.
    """
    data = spec.data
    _check_named_columns(frame, spec)
    plain = plain_numbers(frame)
    hints, notes, detected = hints_for(frame, data, source, plain)
    read = target.read_target(frame, data, hints)
    rows = int(read.kept.sum())
    if rows < FEWEST_ROWS:
        raise DataError(
            f"{data.source} has {rows} rows with a target.",
            hint=f"Wanted at least {FEWEST_ROWS}, to learn from some and judge by others.",
        )
    kept = None if read.kept.all() else pl.Series(read.kept)
    columns: list[Column] = []
    values: Feeds = {}
    dates: dict[str, str] = {}
    missing: dict[str, list[str]] = {}
    for name in frame.columns:
        if name == data.target:
            continue
        series = frame[name] if kept is None else frame[name].filter(kept)
        found = _inferred(_typed(series, plain, kept, data, hints), data, hints)
        column, private = _marked(found.column, series, data)
        if column.is_feature or column.format:
            notes += found.notes
        notes += private
        columns.append(with_contract(column, spec.expect.get(name)))
        values[name] = found.values
        if column.kind == "datetime" and column.format:
            dates[name] = column.format
        words = tuple(w for w in column.missing if w not in hints.missing.get("*", ()))
        if words:
            missing[name] = list(words)
    _check_canary_key(columns, spec)
    check_constant(read.target, spec.serve.constant)
    detected |= {key: found for key, found in (("dates", dates), ("missing", missing)) if found}
    for column in columns:
        notes += broken_contract(column, values[column.name])
    file_rows = np.flatnonzero(read.kept) if numbers is None else numbers[read.kept]
    notes = renumbered(notes, file_rows)
    return Parsed(columns, values, read, notes, detected, file_rows, hints.style)


def _typed(
    series: pl.Series,
    plain: Mapping[str, pl.Series],
    kept: pl.Series | None,
    data: DataSpec,
    hints: Hints,
) -> pl.Series:
    """A column of plain numbers as such, where neither the spec nor its style says otherwise."""
    name = series.name
    asked = name in data.kinds or hints.missing_of(name) or hints.style != cells.PLAIN
    if asked or name not in plain:
        return series
    typed = plain[name] if kept is None else plain[name].filter(kept)
    return typed if typed.null_count() < typed.len() else series


def renumbered(found: Iterable[Finding], file_rows: Array) -> list[Finding]:
    """Findings whose rows count the rows with a target, with their numbers in the file."""

    def number(row: int) -> int:
        return int(file_rows[row])

    return [
        msgspec.structs.replace(
            f,
            rows=tuple(map(number, f.rows)),
            measured=re.sub(r"\brow (\d+)", lambda m: f"row {number(int(m[1]))}", f.measured),
        )
        if f.rows
        else f
        for f in found
    ]


def _inferred(series: pl.Series, data: DataSpec, hints: Hints) -> kinds.Inferred:
    """A column under the spec's hints, which must fit it."""
    name = series.name
    try:
        found = kinds.infer(series, data.kinds.get(name), hints)
    except RowsError as error:
        raise RowsError(f"data.kinds.{name} is {data.kinds.get(name)}, but:", error.problems) from (
            error
        )
    kind = found.column.kind
    if name in data.spellings and kind not in ("category", "list"):
        raise DataError(f"data.spellings.{name} is for categories and lists, but it is {kind}.")
    if name in data.read.dates and kind not in ("datetime", "constant"):
        raise DataError(
            f"data.read.dates.{name}: the column is {kind}.",
            hint=f"Remove it, or set data.kinds: {{{name}: datetime}}.",
        )
    return found


def _variants(spellings: Mapping[str, Mapping[str, list[str]]]) -> dict[str, dict[str, str]]:
    """Column -> variant -> level, each variant of one level only."""
    found: dict[str, dict[str, str]] = {}
    for name, levels in spellings.items():
        known = found.setdefault(name, {})
        for level, listed in levels.items():
            for variant in listed:
                if variant in levels or known.get(variant, level) != level:
                    raise DataError(
                        f"data.spellings.{name}: {variant!r} is a level, or a spelling of two.",
                        hint="Name each spelling once, under the level that it means.",
                    )
                known[variant] = level
    return found


def hints_for(
    frame: pl.DataFrame,
    data: DataSpec,
    source: Source,
    plain: Mapping[str, pl.Series] | None = None,
) -> tuple[Hints, list[Finding], dict[str, object]]:
    """What is known about the table's text: given by `data.read`, or detected.

    Args:
        plain: see `plain_numbers`; whole numbers are written alike in every style.
    """
    whole = {name for name, column in (plain or {}).items() if column.dtype == pl.Int64}
    read, detected, notes = data.read, dict(source.detected), []
    style = style_of(read)
    if style is None:
        texts = [
            cells.stripped(frame[name].head(STYLE_ROWS))
            for name, dtype in frame.schema.items()
            if dtype == pl.String and name not in whole
        ]
        style, doubt = cells.number_style(texts, str(source.detected.get("delimiter", ",")))
        if doubt:
            notes.append(
                Finding("doubtful values", source.name, "fail", doubt, "",
                        "the data do not prove it", "pin data.read.decimal", "warning")
            )  # fmt: skip
    if style != cells.PLAIN:
        detected["thousands"], detected["decimal"] = cells.STYLES[style]
        notes.append(
            Finding("number style", source.name, "pass", f"written as {style}",
                    why="detected in the file", severity="info")
        )  # fmt: skip
    others: tuple[str, ...] = ()
    if style_of(read) is None and source.detected.get("delimiter", ",") != ",":
        others = tuple(other for other in cells.STYLES if other != style)
    variants = _variants(data.spellings)
    return Hints(style, others, read.missing, read.dates, variants), notes, detected


def _marked(column: Column, series: pl.Series, data: DataSpec) -> tuple[Column, list[Finding]]:
    """A column with what the spec says of it, and private when it looks personal."""
    name = column.name
    why = personal(series, column)
    accepted = data.accept.get("personal data", [])
    known = name in data.private or name in accepted or "all" in accepted
    notes = []
    if why and not known:
        notes.append(
            Finding("personal data", name, "fail", why, "",
                    "its values are kept out of reports and journals",
                    f"data.private: [{name}], or data.drop; not so? data.accept", "warning")
        )  # fmt: skip
    private = name in data.private or bool(why and not known)
    column = msgspec.structs.replace(column, private=private, protected=name in data.protected)
    if name in data.drop:
        column = msgspec.structs.replace(column, unused="data.drop names it")
    if name == data.split.sealed:
        column = msgspec.structs.replace(column, unused="data.split.sealed names it")
    return column, notes


def with_contract(column: Column, wanted: ExpectSpec | None) -> Column:
    """A column that carries its `expect:`.

    Raises:
        DataError: a bound or kind that does not fit the column.
    """
    if wanted is None:
        return column
    where = f"expect.{column.name}"
    if wanted.kind and wanted.kind != column.kind:
        raise DataError(
            f"{where}.kind is {wanted.kind}, but the column is {column.kind}"
            f"{': ' + column.unused if column.unused else ''}.",
            hint=f"Mend the file, or say so: data.kinds: {{{column.name}: {wanted.kind}}}.",
        )
    for key, kinds_of in _FITTING.items():
        if getattr(wanted, key) and column.kind not in kinds_of:
            raise DataError(
                f"{where}.{key} is for {' and '.join(kinds_of)} columns, but this one is "
                f"{column.kind}.",
                hint=f"Remove it, or set data.kinds: {{{column.name}: {kinds_of[0]}}}.",
            )
    low, high = (_bound(column, bound, where) for bound in wanted.range or (None, None))
    if low is not None and high is not None and low > high:
        raise DataError(f"{where}.range begins above its end.", hint="Wanted [lowest, highest].")
    expect = Expect(
        required=wanted.required,
        minimum=low,
        maximum=high,
        levels=tuple(wanted.levels),
        regex=wanted.regex,
        unique=wanted.unique,
        max_missing=wanted.max_missing if isinstance(wanted.max_missing, float) else None,
    )
    return msgspec.structs.replace(column, expect=expect)


def _bound(column: Column, bound: float | str | None, where: str) -> float | None:
    if bound is None or (isinstance(bound, float) and column.kind == "number"):
        return bound
    if column.kind == "datetime":
        if not isinstance(bound, str):
            raise DataError(f"{where}.range: wanted a date-time in ISO 8601, found {bound:g}.")
        try:
            return float(parse_time(bound, None))
        except ValueError as error:
            raise DataError(f"{where}.range: {bound!r} is no date-time in ISO 8601.") from error
    try:
        return float(bound)
    except ValueError as error:
        raise DataError(f"{where}.range: {bound!r} is no number.") from error


def broken_contract(column: Column, values: Array) -> list[Finding]:
    """A finding of severity error for a column that breaks its `expect:`.

    Args:
        column: with its contract.
        values: as in `core.intake.Feeds`.
    """
    lines = [*row_breaches(column, values), *table_breaches(column, values)]
    if not lines:
        return []
    rows = tuple(int(x.split(",")[0][4:]) for x in lines[:20] if x.startswith("row "))
    shown = "; ".join(lines[:3]) + ("; and more" if len(lines) > 3 else "")
    return [
        Finding("expect", column.name, "fail", shown, "", "the spec's expect: says otherwise",
                "mend the data, or change expect:", "error", rows=rows)
    ]  # fmt: skip


_ANSWERS = ("score", "prediction")
"""Columns of the journal that no table has."""


def _is_column(subject: str) -> bool:
    """Whether what `data.accept` names is a column rather than the table, target or split."""
    return subject not in ("all", "table", "target", "split", "train and holdout") and (
        "." not in subject and ", " not in subject
    )


def _check_canary_key(columns: list[Column], spec: Spec) -> None:
    """Whether the journal of a model of these columns has it."""
    key = spec.watch.canary.key
    if key is None:
        return
    by_name = {column.name: column for column in columns}
    column = by_name.get(key)
    if column is not None and column.private:
        raise DataError(
            f"watch.canary.key names {key!r}, which is private and so in no journal.",
            hint="Name another one, or take it out of data.private.",
        )
    if key != spec.serve.key and column is not None and not column.is_feature:
        raise DataError(
            f"watch.canary.key names {key!r}, which the model does not read ({column.unused}), so "
            "that it is in no journal.",
            hint=f"With serve.key: {key} the journal tells its callers apart, by a hash.",
        )


def _check_named_columns(frame: pl.DataFrame, spec: Spec) -> None:
    data, watch = spec.data, spec.watch
    given = {
        "data.drop": data.drop,
        "data.private": data.private,
        "data.protected": data.protected,
        "data.kinds": list(data.kinds),
        "data.spellings": list(data.spellings),
        "data.read.dates": list(data.read.dates),
        "data.read.missing": [name for name in data.read.missing if name != "*"],
        "expect": list(spec.expect),
        "watch.drift.columns": [n for n in watch.drift.columns if n not in _ANSWERS],
        "watch.canary.key": [watch.canary.key]
        if watch.canary.key and watch.canary.key != spec.serve.key
        else [],
        "data.accept": [n for names in data.accept.values() for n in names if _is_column(n)],
        "data.split.by": [data.split.by] if data.split.by else [],
        "data.split.sealed": [data.split.sealed] if data.split.sealed else [],
    }
    for key, names in given.items():
        for name in names:
            if name not in frame.columns:
                hint = did_you_mean(name, frame.columns)
                raise DataError(f"{key} names {name!r}, which is not in {data.source}.", hint=hint)
            allowed = ("data.private", "data.spellings", "data.read.missing", "data.accept")
            if name == data.target and key not in allowed:
                raise DataError(f"{key} names the target {name!r}.", hint="Take it out there.")
