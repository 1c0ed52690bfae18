"""A table of labels into the journal's labels: what is new is written at once, or nothing is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from modelwright.core.errors import DataError, UsageError, did_you_mean
from modelwright.core.intake import TOLD_BRIEFLY
from modelwright.core.schema import Target
from modelwright.data.sources import Source, open_file
from modelwright.serve.journal_store import place_of
from modelwright.serve.label_bodies import NAMES, Checker, given_of
from modelwright.serve.labels import Labels, Sender
from modelwright.watch.labels import held


class Sent(msgspec.Struct, frozen=True):
    """What became of the rows of a file.

    Attributes:
        new: of answers that had no label.
        changed: of answers that had another, older one.
        older: of answers that have a later label, which goes on to hold.
        repeated: what was known already; written again only where it is said of a later time.
        refused: what is no label of this model; not written.
        problems: why, with the number of the row from 0; the first 20.
    """

    new: int = 0
    changed: int = 0
    older: int = 0
    repeated: int = 0
    refused: int = 0
    problems: tuple[str, ...] = ()


def send_labels_file(
    path: str | Path,
    to: str | Path,
    model: str,
    target: Target,
    *,
    names: Mapping[str, str] | None = None,
    now: float | None = None,
) -> Sent:
    """Read labels out of CSV, Parquet, JSON Lines or any other table that a source may be.

    The good rows are written as one file, so a kill leaves all of them or none; sending a file
    again changes nothing. It is read into memory whole.

    Args:
        path: a table with the columns request_id and label; row (default 0) and time (default now)
            may be there.
        to: the journal's folder or URL, `serve.journal.to`.
        model: what it is served under.
        target: of the model; what it does not know is refused.
        names: other names of these columns, such as `{"label": "outcome"}`.
        now: Unix time.

    Raises:
        DataError: no such file, no such column, or not a table.
        UsageError: `names` has a name that is none.
        OSError: the journal cannot be written.

    Example:
        send_labels_file("truth.csv", "journal", "shop", manifest.schema.target).new
    """
    wanted = {name: name for name in NAMES} | dict(names or {})
    for name in wanted.keys() - set(NAMES):
        raise UsageError(
            f"Labels have no {name!r}: {', '.join(NAMES)}.", hint=did_you_mean(name, NAMES)
        )
    moment = int((time.time() if now is None else now) * 1e6)
    source = open_file(Path(path))
    labels, problems, refused = _checked(source, wanted, set(names or ()), target, moment)
    place = place_of(str(to))
    counts, chosen = _compared(labels, held(place, model, labels.ids), moment)
    if len(chosen):
        Sender(place).send(model, chosen)
    if refused > len(problems):
        problems.append(f"... and {refused - len(problems)} more rows")
    return Sent(**counts, refused=refused, problems=tuple(problems))


def _checked(
    source: Source, wanted: Mapping[str, str], named: set[str], target: Target, moment: int
) -> tuple[Labels, list[str], int]:
    labels, problems, refused, start = Labels(), [], 0, 0
    for frame in source.batches():
        for name in ("request_id", "label", *sorted(named)):
            if wanted[name] not in frame.columns:
                raise DataError(
                    f"{source.name} has no column {wanted[name]!r}; it has "
                    f"{', '.join(frame.columns[:20])}.",
                    hint="Wanted request_id and label; row and time may be there. Rename its "
                    "columns so.",
                )  # fmt: skip
        given = {name: column for name, column in wanted.items() if column in frame.columns}
        is_text = frame[wanted["label"]].dtype == pl.String
        checker = Checker(target, moment, is_text=is_text)
        for place, row in enumerate(_rows(frame, given), start):
            checker.take(place, given_of(row))
        labels.extend(checker.labels)
        refused += len({place for place, _ in checker.problems})
        problems += [f"row {place}, {problem}" for place, problem in checker.problems]
        problems = problems[:TOLD_BRIEFLY]
        start += frame.height
    return labels, problems, refused


def _rows(frame: pl.DataFrame, given: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    columns = {name: frame[column].to_list() for name, column in given.items()}
    for values in zip(*columns.values(), strict=True):
        row = {
            name: None if value == "" else value
            for name, value in zip(columns, values, strict=True)
        }
        if type(row["request_id"]) is int:
            row["request_id"] = str(row["request_id"])
        row["label"] = _plain(row["label"])
        number = row.get("row")
        if isinstance(number, float) and number.is_integer():
            row["row"] = int(number)
        yield row


def _plain(value: Any) -> Any:
    """Tables know numbers that JSON does not."""
    return float(value) if isinstance(value, Decimal) else value


def _compared(
    labels: Labels, known: dict[tuple[str, int], tuple[str, int]], now: int
) -> tuple[dict[str, int], Labels]:
    """How each label stands to what is known, and those that are to be written.

    A known label with a later time is written too, since it holds against what was said between;
    where the file tells no time, that is `now`, and sending it again changes nothing.
    """
    counts, chosen = {"new": 0, "changed": 0, "older": 0, "repeated": 0}, Labels()
    for at in sorted(range(len(labels)), key=labels.times.__getitem__):
        key = (labels.ids[at], labels.rows[at])
        label, moment = labels.labels[at], labels.times[at]
        before = known.get(key)
        same = before is not None and before[0] == label
        if before is not None and same and (moment <= before[1] or moment == now):
            counts["repeated"] += 1
            continue
        held_on = before is None or moment >= before[1]
        sort = "new" if before is None else "changed" if held_on else "older"
        counts["repeated" if same else sort] += 1
        if held_on:
            known[key] = (label, moment)
        chosen.extend(labels.at(at))
    return counts, chosen
