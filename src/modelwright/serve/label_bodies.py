"""Labels from outside to checked ones: one way for bodies of requests and for files.

Every problem is told with its row; one wrong label refuses a whole body, as with `/predict`.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from modelwright.core.errors import RowsError, did_you_mean
from modelwright.core.intake import level_text, refuse
from modelwright.core.schema import Target, time_from
from modelwright.core.texts import in_json, kind_of
from modelwright.serve.bodies import CSV, DELIMITERS, media_type, text_of
from modelwright.serve.faults import not_json
from modelwright.serve.labels import Labels
from modelwright.serve.messages import ProtocolError
from modelwright.serve.protocol import parse_json

NAMES = ("request_id", "row", "label", "time")
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
LONGEST_ID = 1024
AHEAD = 86_400 * 10**6
"""Microseconds by which a label's time may be ahead of the server's clock: a label of next year
would hold until then, whatever came after it."""
_MOST_ROWS = 2**31
_WORD = 60


class Given(NamedTuple):
    """A label as it came; `row` and `time` are None where nothing was said."""

    id: Any
    row: Any
    label: Any
    time: Any


class Checker:
    """Checks labels against what a model predicts, and keeps the good ones.

    Args:
        target: of the model.
        arrived: microseconds since 1970; the time of labels that say none.
        is_text: whether values come as text, out of CSV: then text that reads as a number is one.

    Attributes:
        labels: the good ones.
        problems: of the others: (place, what is wrong).

    Example:
        >>> checker = Checker(Target("t", "binary", "string", ("no", "yes")), 5)
        >>> checker.take(0, Given("a-1", None, "yes", None))
        >>> checker.take(1, Given("a-2", -1, "perhaps", None))
        >>> checker.labels.labels, checker.labels.times
        (['yes'], [5])
        >>> for place, problem in checker.problems:
        ...     print(place, problem)
        1 row: wanted a whole number from 0, found -1 (number)
        1 label: wanted 'no' or 'yes', found 'perhaps' (text)
    """

    def __init__(self, target: Target, arrived: int, *, is_text: bool = False) -> None:
        self.labels = Labels()
        self.problems: list[tuple[int, str]] = []
        self._target, self._arrived, self._is_text = target, arrived, is_text
        self._levels = {level: level for level in target.levels}
        self._said: dict[tuple[str, int, int], tuple[int, str]] = {}
        self._moments: dict[str, int] = {}

    def take(self, place: int, given: Given) -> None:
        """Check one, `place` being its row for whoever reads of a problem."""
        before = len(self.problems)
        id = self._id(place, given.id)
        row = 0 if given.row is None else self._row(place, given.row)
        label, value = self._label(place, given.label)
        moment = self._arrived if given.time is None else self._moment(place, given.time)
        if len(self.problems) > before:
            return
        first, said = self._said.setdefault((id, row, moment), (place, label))
        if first == place:
            self._add(id, row, label, value, moment)
        elif said != label:
            self._say(place, f"label: another than in row {first}, of the same answer and time")

    def _add(self, id: str, row: int, label: str, value: float | None, moment: int) -> None:
        found = self.labels
        found.ids.append(id)
        found.rows.append(row)
        found.labels.append(label)
        found.values.append(value)
        found.times.append(moment)
        found.arrived.append(self._arrived)

    def _say(self, place: int, problem: str) -> None:
        self.problems.append((place, problem))

    def _id(self, place: int, given: Any) -> str:
        if type(given) is str and 0 < len(given) <= LONGEST_ID:
            return given
        found = f"{len(given):,} letters" if isinstance(given, str) else _shown(given)
        self._say(place, f"request_id: wanted text of 1 to {LONGEST_ID:,} letters, found {found}")
        return ""

    def _row(self, place: int, given: Any) -> int:
        if self._is_text and isinstance(given, str) and given.isascii() and given.isdigit():
            given = int(given[:20])
        if type(given) is int and 0 <= given < _MOST_ROWS:
            return given
        self._say(place, f"row: wanted a whole number from 0, found {_shown(given)}")
        return 0

    def _label(self, place: int, given: Any) -> tuple[str, float | None]:
        if self._levels:
            text = self._levels.get(given) if type(given) is str else None
            text = text if text is not None else self._levels.get(_level(self._target, given))
            if text is not None:
                return text, None
        else:
            number = self._number(given)
            if number is not None:
                return repr(number), number
        self._say(place, f"label: wanted {_wanted(self._target)}, found {_shown(given)}"
                  f"{self._hint(given)}")  # fmt: skip
        return "", None

    def _number(self, given: Any) -> float | None:
        if self._is_text and isinstance(given, str):
            try:
                given = float(given)
            except ValueError:
                return None
        if isinstance(given, bool) or not isinstance(given, (int, float, np.number)):
            return None
        try:
            number = float(given)
        except OverflowError:
            return None
        return number + 0.0 if math.isfinite(number) else None  # -0.0 is 0.0

    def _moment(self, place: int, given: Any) -> int:
        try:
            known = self._moments.get(given) if type(given) is str else None
            found = known if known is not None else _microseconds(given)
        except (ValueError, OverflowError):
            self._say(place, f"time: wanted a date-time in ISO 8601, found {_shown(given)}")
            return 0
        if found > self._arrived + AHEAD:
            self._say(place, f"time: {_shown(given)} is more than a day ahead of now")
        elif type(given) is str:
            self._moments[given] = found
        return found

    def _hint(self, given: Any) -> str:
        hint = did_you_mean(given[:_WORD], self._levels) if isinstance(given, str) else ""
        return f": {hint}" if hint else ""


def read_labels(
    target: Target, content_type: str, body: bytes, max_rows: int, arrived: int
) -> Labels:
    """Read a body: JSON, JSON Lines or CSV.

    Args:
        target: what the model predicts.
        content_type: the header, with its parameters.
        max_rows: most labels.
        arrived: microseconds since 1970.

    Raises:
        ProtocolError: 400 no such body, 413 too many labels, 415 another content type, 422 with a
            line a wrong label.
    """
    kind, parameters = media_type(content_type)
    problems: list[str] = []
    if kind in ("application/json", ""):
        given = _objects(_listed(parse_json(body)), problems, max_rows)
    elif kind in NDJSON:
        given = _objects(_lines(body), problems, max_rows)
    elif kind == CSV:
        given = _cells(body, parameters.get("charset", "utf-8"), max_rows)
    else:
        raise ProtocolError(
            415, f"Content type {kind[:60]!r} is not taken; known: application/json, {NDJSON[0]}, "
            f"{CSV}."
        )  # fmt: skip
    checker = Checker(target, arrived, is_text=kind == CSV)
    for place, one in given:
        checker.take(place, one)
    try:
        refuse([*problems, *(f"row {place}, {problem}" for place, problem in checker.problems)])
    except RowsError as error:
        raise ProtocolError(422, error.message, error.problems) from error
    return checker.labels


def _listed(content: Any) -> list[Any]:
    """`{"labels": [...]}`, a list, or one label alone."""
    if isinstance(content, dict):
        bare = not (len(content) == 1 and isinstance(content.get("labels"), list))
        content = [content] if bare else content["labels"]
    if not isinstance(content, list):
        raise ProtocolError(400, 'Wanted {"labels": [...]}, a list of labels or one label.')
    return content


def _lines(body: bytes) -> list[Any]:
    found = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if line.strip():
            try:
                found.append(msgspec.json.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                wrong = not_json(line, error)
                raise ProtocolError(400, f"Line {number}: {wrong.message}") from error
    return found


def _objects(
    given: Sequence[Any], problems: list[str], max_rows: int
) -> Iterable[tuple[int, Given]]:
    _check_count(len(given), max_rows)
    found = []
    for place, one in enumerate(given):
        if not isinstance(one, dict):
            problems.append(f"row {place}: wanted an object, found {kind_of(one)}")
            continue
        problems += [f"row {place}: {_unknown(name)}" for name in one if name not in NAMES]
        found.append((place, given_of(one)))
    return found


def given_of(values: Mapping[str, Any]) -> Given:
    """A label out of named values."""
    return Given(*[values.get(name) for name in NAMES])


def _cells(body: bytes, charset: str, max_rows: int) -> Iterable[tuple[int, Given]]:
    text = text_of(body, charset)
    head = text[: text.find("\n") if "\n" in text else None]
    delimiter = max(DELIMITERS, key=head.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(reader, [])]
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise ProtocolError(400, f"The body is not CSV: {error}.") from error
    wrong = [_unknown(name) for name in names if name not in NAMES]
    wrong += [f"no column {name!r}" for name in ("request_id", "label") if name not in names]
    if wrong or len(set(names)) < len(names):
        raise ProtocolError(
            400, f"The CSV must begin with a header of {', '.join(NAMES)} (row and time may be "
            "left out).", tuple(wrong or ["a column is there twice"])
        )  # fmt: skip
    _check_count(len(rows), max_rows)
    ragged = next((n for n, row in enumerate(rows) if len(row) != len(names)), None)
    if ragged is not None:
        raise ProtocolError(
            400, f"Row {ragged} has {len(rows[ragged])} cells, but the header has {len(names)}."
        )
    found = []
    for place, row in enumerate(rows):
        cells = {name: cell or None for name, cell in zip(names, row, strict=True)}
        found.append((place, given_of(cells)))
    return found


def _check_count(count: int, max_rows: int) -> None:
    if count > max_rows:
        raise ProtocolError(
            413, f"{count:,} labels in one request, at most {max_rows:,} are taken."
        )
    if count == 0:
        raise ProtocolError(400, "The request has no labels.")


def _unknown(name: str) -> str:
    hint = did_you_mean(name[:_WORD], NAMES)
    return f"unknown name {name[:_WORD]!r}" + (f": {hint}" if hint else "")


def _level(target: Target, given: Any) -> str:
    """A class as the levels have it; an empty text where it can be none."""
    if isinstance(given, str):
        text = given.strip()
        if target.label_type != "integer":
            return text.lower() if target.label_type == "boolean" else text
        try:
            given = float(text)
        except ValueError:
            return ""
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, float):
        return level_text(given) if math.isfinite(given) else ""
    if isinstance(given, int):
        return str(given) if -(10**_WORD) < given < 10**_WORD else ""
    return ""


def _microseconds(given: Any) -> int:
    if isinstance(given, dt.datetime) and given.tzinfo is None:
        given = given.replace(tzinfo=dt.UTC)
    return time_from(given, None)


def _wanted(target: Target) -> str:
    if not target.levels:
        return "a number"
    labels = [repr(target.label(level)) for level in target.levels]
    if len(labels) > 8:
        return f"one of {', '.join(labels[:8])}, ... ({len(labels):,} classes)"
    return f"{', '.join(labels[:-1])} or {labels[-1]}" if len(labels) > 1 else labels[0]


def _shown(given: Any) -> str:
    return "nothing" if given is None else in_json(given)
