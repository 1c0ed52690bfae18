"""The `data` and `expect` parts of modelwright.yaml."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from modelwright.core.limits import Task, parse_quantity
from modelwright.core.schema import Kind


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")


def _share(given: object) -> object:
    """'5 %' is 0.05; anything else is left to be judged as it is."""
    found = _PERCENT.fullmatch(given) if isinstance(given, str) else None
    return float(found[1]) / 100 if found else given


_Part = BeforeValidator(_share, json_schema_input_type=float | str)
Share = Annotated[float, Field(gt=0.0, lt=1.0), _Part]
"""A share of 1, or a text such as '5 %'."""
MissingShare = Annotated[float, Field(ge=0.0, lt=1.0), _Part]


class Strict(BaseModel):
    """Base of every part of the spec: nothing unknown gets through, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)


Method = Literal["auto", "random", "stratified", "group", "time"]


class SplitSpec(Strict):
    """How the sealed holdout is set apart."""

    method: Method = Field(
        "auto",
        description="auto: stratified for classes, random for numbers. group: rows that share "
        "`by` stay on one side. time: the newest rows by `by` are the holdout.",
    )
    by: str | None = Field(
        None,
        description="The group or date-time column of that method; time without it takes the "
        "order of the rows.",
    )
    holdout: Share = Field(0.2, description="Share of the rows that is sealed for the release.")
    sealed: str | None = Field(
        None,
        description="Column of true and false that says which rows are sealed; the model does not "
        "read it, and `method` then only says what stays together while fitting.",
    )

    @model_validator(mode="after")
    def _by_is_given(self) -> SplitSpec:
        if self.method == "group" and not self.by:
            raise ValueError("split.method group needs split.by: the column to split on")
        if self.method not in ("group", "time") and self.by:
            raise ValueError(f"split.by has no use with split.method {self.method}")
        return self


def _short_split(value: object) -> object:
    return {"method": value} if isinstance(value, str) else value


def _words(value: object) -> object:
    """Markers given as one word, a list, or column: list; numbers become their text."""
    if isinstance(value, dict):
        return {str(name): _texts(words) for name, words in value.items()}
    return {"*": _texts(value)}


def _texts(value: object) -> object:
    listed = value if isinstance(value, list) else [value]
    if any(isinstance(word, (list, dict)) for word in listed):
        raise ValueError(f"wanted a word, a number or a list of them, found {value!r}")
    return ["" if word is None else str(word) for word in listed]


def _ends(value: object) -> object:
    """YAML reads 2023-01-31 as a date; the contract keeps its text."""
    if not isinstance(value, (list, tuple)):
        return value
    return [end.isoformat() if isinstance(end, dt.date) else end for end in value]


Mark = Annotated[str, Field(min_length=1, max_length=1)]


class ReadSpec(Strict):
    """How the file is read. What is given here is not guessed; `init` writes what it detected."""

    encoding: str | None = Field(None, description="utf-8, cp1252, latin-1, utf-16, ...")
    delimiter: Mark | None = Field(None, description="The character between two fields.")
    quote: Annotated[str, Field(max_length=1)] | None = Field(
        None, description="The character around fields; '' for none."
    )
    header: bool | None = Field(None, description="Whether the first row holds the names.")
    skip_rows: int | None = Field(None, ge=0, description="Lines before the header.")
    skip_footer: int | None = Field(None, ge=0, description="Rows to leave out at the end.")
    comment: str | None = Field(None, description="Lines that begin with it are left out.")
    decimal: Literal[".", ","] | None = Field(None, description="Decimal mark of numbers.")
    thousands: Literal["", ",", ".", " ", "'"] | None = Field(
        None, description="Mark between thousands."
    )
    missing: Annotated[
        dict[str, list[str]],
        BeforeValidator(_words, json_schema_input_type=str | list[str] | dict[str, list[str]]),
    ] = Field(
        {},
        description="Values that mean missing: a list for all columns, or column: list "
        "('*' for all columns).",
    )
    dates: dict[str, str] = Field(
        {}, description="column: format of its date-times, such as '%d/%m/%Y'."
    )
    sheet: str | None = Field(None, description="Sheet of a workbook; default the first.")
    member: str | None = Field(None, description="File inside a zip archive.")
    query: str | None = Field(None, description="SQL, when the source is a database URL.")


class ExpectSpec(Strict):
    """What the values of a column must be, in training, scoring and serving."""

    kind: Kind | None = Field(None, description="The kind that the column must have.")
    required: bool = Field(False, description="No row may lack it.")
    range: Annotated[
        tuple[float | str | None, float | str | None] | None, BeforeValidator(_ends)
    ] = Field(None, description="[lowest, highest]; null for open; dates in ISO 8601.")
    levels: Annotated[
        list[str], BeforeValidator(_texts, json_schema_input_type=list[str | float])
    ] = Field([], description="The only values allowed.")
    regex: str | None = Field(None, description="A pattern that each whole text must match.")
    unique: bool = Field(False, description="No value may occur twice in a table.")
    max_missing: MissingShare | str | None = Field(
        None, description="Largest share of missing values in a table, such as '5 %'."
    )

    @field_validator("regex")
    @classmethod
    def _regex_compiles(cls, regex: str | None) -> str | None:
        try:
            re.compile(regex or "")
        except re.error as error:
            raise ValueError(f"{regex!r} is no regular expression: {error}") from error
        return regex

    @field_validator("range")
    @classmethod
    def _range_is_finite(
        cls, ends: tuple[float | str | None, float | str | None] | None
    ) -> tuple[float | str | None, float | str | None] | None:
        for end in ends or ():
            if isinstance(end, float) and not math.isfinite(end):
                raise ValueError(f"wanted [lowest, highest], found {end}; null is open")
        return ends

    @field_validator("max_missing")
    @classmethod
    def _share(cls, value: float | str | None) -> float | None:
        if isinstance(value, str):
            value, _ = parse_quantity(value, "score")
        if value is not None and not 0 <= value < 1:
            raise ValueError(f"wanted a share such as '5 %', found {value!r}")
        return value


def _accepted(value: object) -> object:
    """`accept:` as a list of checks, or check: columns; 'all' for every column."""
    if isinstance(value, list):
        return {str(check): ["all"] for check in value}
    if isinstance(value, dict):
        return {str(c): _texts(names) for c, names in value.items()}
    return value


def _no_password(source: str) -> str:
    found = re.match(r"^[\w+]+://[^/@:]*:([^/@]+)@", source)
    if found and not re.fullmatch(r"\$\{\w+\}", found[1]):
        raise ValueError(
            "a password stands in the address; write ${NAME} there and set that environment "
            "variable, since the spec is kept with every run"
        )
    return source


class DataSpec(Strict):
    """What to learn from."""

    source: Annotated[str, AfterValidator(_no_password)] = Field(
        description="File, folder, glob or URL (CSV and the like, also compressed; Parquet, Arrow, "
        "JSON Lines, Excel; http, s3, gs, abfs), a database URL, or 'package.module:Name'. "
        "Paths are relative to the spec file."
    )
    read: ReadSpec = Field(ReadSpec(), description="How it is read; what is absent is detected.")
    target: str = Field(description="The column to predict.")
    task: Task | None = Field(None, description="Taken from the target when not given.")
    positive: str | int | bool | None = Field(
        None,
        description="Binary: the class to find. Default: the one that a word such as yes, true or "
        "fraud gives away, else the rarer one.",
    )
    drop: Names = Field([], description="Columns that the model must not read.")
    private: Names = Field([], description="Columns never written to journals or reports.")
    protected: Names = Field(
        [],
        description="Columns to watch for unequal treatment: the gate "
        "`fairness` and the search for proxies look at them.",
    )
    kinds: dict[str, Kind] = Field(
        {}, description="column: kind, where the kind was guessed wrong (see `modelwright check`)."
    )
    spellings: dict[str, dict[str, Names]] = Field(
        {}, description="column: {level: [other spellings of it]}."
    )
    accept: Annotated[
        dict[str, list[str]],
        BeforeValidator(_accepted, json_schema_input_type=list[str] | dict[str, list[str] | str]),
    ] = Field(
        {},
        description="Findings that you know about: check: columns (or all). They become notes.",
    )
    split: Annotated[
        SplitSpec, BeforeValidator(_short_split, json_schema_input_type=Method | SplitSpec)
    ] = Field(
        SplitSpec(), description="A method by name, or a mapping with method, by and holdout."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the split and of everything after.")
