"""ONE schema checks training data, shapes the ONNX inputs and validates requests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Literal

import msgspec

from modelwright.core.limits import Task

Kind = Literal["number", "category", "boolean", "datetime", "list", "id", "constant", "text"]
FEATURE_KINDS = ("number", "category", "boolean", "datetime", "list")
LabelType = Literal["string", "integer", "boolean", "number"]

BOOLEAN_PAIRS = (
    ("true", "false"), ("t", "f"), ("yes", "no"), ("y", "n"), ("1", "0"), ("on", "off"),
    ("1.0", "0.0"), ("ja", "nein"), ("j", "n"), ("oui", "non"), ("si", "no"), ("s\u00ed", "no"),
    ("sim", "n\u00e3o"), ("wahr", "falsch"), ("vrai", "faux"),
    ("\u0434\u0430", "\u043d\u0435\u0442"),
)  # fmt: skip
"""Spellings of true and false that belong together."""
TRUE_WORDS = frozenset(true for true, _ in BOOLEAN_PAIRS)
FALSE_WORDS = frozenset(false for _, false in BOOLEAN_PAIRS)
EPOCH = dt.datetime(1970, 1, 1)
MISSING_TIME = -(2**63)
"""The int64 that stands for a missing date-time in graph inputs."""


class Expect(msgspec.Struct, frozen=True):
    """What a value must be: the spec's `expect:`, part of the schema wherever it goes.

    `minimum` / `maximum` are in the column's own unit; date-times in microseconds since 1970.
    `unique` and `max_missing` (a share) are judged over a table, the rest over each row.
    """

    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    levels: tuple[str, ...] = ()
    regex: str | None = None
    unique: bool = False
    max_missing: float | None = None


class Column(msgspec.Struct, frozen=True):
    """One column of the caller's table, under the caller's name.

    `nullable`: missing values were seen in training. `minimum` / `maximum`: numbers and
    date-times (as microseconds since 1970). `levels`: categories, most frequent first.
    `format`: how its text is written: a date-time format (None means ISO 8601), a number such as
    '1.234,5' (None means 1234.5), or the separator of a list. `missing`: values that mean missing.
    `spellings`: variant -> level. `unused`: why the model does not read it, or an empty string.
    """

    name: str
    kind: Kind
    nullable: bool = False
    integer: bool = False
    minimum: float | None = None
    maximum: float | None = None
    levels: tuple[str, ...] = ()
    format: str | None = None
    missing: tuple[str, ...] = ()
    spellings: dict[str, str] = {}
    expect: Expect | None = None
    unused: str = ""
    private: bool = False
    protected: bool = False

    @property
    def is_feature(self) -> bool:
        """Whether the model reads this column."""
        return not self.unused and self.kind in FEATURE_KINDS


class Target(msgspec.Struct, frozen=True):
    """What is predicted. `levels`: class labels as text; for binary the positive one is last.
    `interval`: share of true values between `low` and `high`; None for a model without them."""

    name: str
    task: Task
    label_type: LabelType = "number"
    levels: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    interval: float | None = None

    @property
    def positive(self) -> str:
        """The positive class of a binary target."""
        return self.levels[-1]

    def label(self, level: str) -> str | int | bool:
        """A class label in the type that the caller's data has.

        Example:
            >>> Target("t", "binary", "integer", ("0", "1")).label("1")
            1
        """
        if self.label_type == "integer":
            return int(level)
        return level.lower() in TRUE_WORDS if self.label_type == "boolean" else level


class Schema(msgspec.Struct, frozen=True):
    """The columns of the training table, in its order, and the target.

    Example:
        >>> schema = Schema((Column("age", "number"), Column("id", "id", unused="id-like")),
        ...                 Target("y", "regression"))
        >>> [column.name for column in schema.features]
        ['age']
    """

    columns: tuple[Column, ...]
    target: Target

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that the model reads."""
        return tuple(column for column in self.columns if column.is_feature)

    @property
    def tolerated(self) -> frozenset[str]:
        """Names that a request may carry although the model does not read them."""
        unread = (column.name for column in self.columns if not column.is_feature)
        return frozenset([*unread, self.target.name])

    def without(self, names: Collection[str], why: str) -> Schema:
        """The same with these columns not used, and why."""
        columns = tuple(
            msgspec.structs.replace(c, unused=why) if c.is_feature and c.name in names else c
            for c in self.columns
        )
        return msgspec.structs.replace(self, columns=columns)

    def column(self, name: str) -> Column:
        """The column of that name; KeyError when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


def parse_time(text: str, format: str | None) -> int:
    """Date-time text to microseconds since 1970; a zone is converted to UTC, none means as is.

    Raises:
        ValueError: the text does not have the format.

    Example:
        >>> parse_time("1970-01-01T00:00:01", None)
        1000000
        >>> parse_time("2/1/1970 0:00:00", "%d/%m/%Y %H:%M:%S")
        86400000000
    """
    if format is not None:
        try:
            return _microseconds(dt.datetime.strptime(text, format))
        except ValueError:
            pass  # callers may always send ISO 8601, whatever the training file had
    return _microseconds(dt.datetime.fromisoformat(text))


def _microseconds(moment: dt.datetime) -> int:
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return (moment - EPOCH) // dt.timedelta(microseconds=1)


def moment_text(microseconds: float) -> str:
    """A date-time of a feed, for people.

    Example:
        >>> moment_text(0), moment_text(2.0**63)
        ('1970-01-01 00:00:00', 'a date after the year 9999')
    """
    try:
        return (EPOCH + dt.timedelta(microseconds=int(microseconds))).isoformat(" ")
    except OverflowError:
        return "a date " + ("before the year 1" if microseconds < 0 else "after the year 9999")


def time_from(value: object, format: str | None) -> int:
    """Any date-time value (datetime, date, ISO text, text in `format`) to microseconds.

    Raises:
        ValueError: not a date-time.
    """
    if isinstance(value, dt.datetime):
        return _microseconds(value)
    if isinstance(value, dt.date):
        return _microseconds(dt.datetime(value.year, value.month, value.day))
    if isinstance(value, str):
        return parse_time(value, format)
    raise ValueError(f"{value!r} is not a date-time")
