"""Candidates on disk while a search runs, so that one that was killed goes on where it was.

Each candidate is one file of the run folder, written whole or not at all: its record as JSON and
its out-of-fold answers as arrays, in NumPy's own format, which runs no code.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from modelwright.core.records import Origin, Price
from modelwright.core.store import write_atomic
from modelwright.fit.family import Family
from modelwright.fit.trials import Candidate, Outcome

FOLDER = "trials"
STUDIES = "search.sqlite"


class _Saved(msgspec.Struct, frozen=True):
    number: int
    family: str
    origin: Origin
    params: dict[str, Any]
    outcome: Literal["complete", "pruned", "failed", "stopped"]
    note: str
    rounds: tuple[int, ...]
    settled: dict[str, Any]
    seconds: tuple[float, ...]
    spent: float
    folds: str
    price: Price | None = None
    broken: tuple[str, ...] = ()


def save(run: Path, candidate: Candidate, spent: float, folds: str) -> None:
    """Keep a single candidate.

    Args:
        run: the run's folder.
        candidate: with the folds that it has run.
        spent: seconds of the budget that are gone.
        folds: how the folds were cut; another cut makes the answers worthless.
    """
    record = _Saved(
        candidate.number, candidate.name, candidate.origin, candidate.params, candidate.outcome,
        candidate.note, tuple(o.rounds for o in candidate.outcomes), candidate.settled,
        tuple(o.seconds for o in candidate.outcomes), spent, folds, candidate.price,
        candidate.broken,
    )  # fmt: skip
    answers = [outcome.answers for outcome in candidate.outcomes] or [np.empty(0)]
    file = io.BytesIO()
    np.savez(
        file,
        record=np.frombuffer(msgspec.json.encode(record), np.uint8),
        lengths=np.array([len(part) for part in answers]),
        answers=np.concatenate(answers),
    )
    write_atomic(run / FOLDER / f"{candidate.number:05}.npz", file.getvalue())


def restore(run: Path, families: Mapping[str, Family], folds: str) -> tuple[list[Candidate], float]:
    """The candidates that an earlier process kept, and the seconds of the budget it used.

    Numbers stay as they were: the first file that is absent or does not fit (another cut of folds,
    a family that the spec has no more, cut short by a full disk) ends the list, and what follows it
    is written over.
    """
    for cut_short in (run / FOLDER).glob(".*.part"):
        cut_short.unlink()
    found: list[Candidate] = []
    spent = 0.0
    while (path := run / FOLDER / f"{len(found):05}.npz").exists():
        try:
            with np.load(path) as file:
                record = msgspec.json.decode(file["record"].tobytes(), type=_Saved)
                ends = np.cumsum(file["lengths"])[:-1]
                answers = np.split(file["answers"], ends)[: len(record.rounds)]
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, msgspec.DecodeError):
            break
        if record.folds != folds or record.family not in families:
            break
        outcomes = [
            Outcome(answer, rounds, record.settled, seconds)
            for answer, rounds, seconds in zip(answers, record.rounds, record.seconds, strict=True)
        ]
        found.append(
            Candidate(
                len(found),
                families[record.family],
                record.origin,
                record.params,
                outcomes=outcomes,
                outcome=record.outcome,
                note=record.note,
                price=record.price,
                broken=record.broken,
            )
        )
        spent = max(spent, record.spent)
    return found, spent
