"""Agents may not have sealed rows answered: what a model says about them is for the release."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.core.errors import ModelwrightError, Refused
from modelwright.core.intake import Array, Feeds, feeds_from_rows
from modelwright.core.records import DatasetRecord
from modelwright.core.runs import DATASET, OF_ROWS, SEALED, SPEC, SavedSpec
from modelwright.core.schema import Schema
from modelwright.core.spec_file import DEFAULT_NAME, read_spec
from modelwright.core.store import from_json
from modelwright.data.fingerprint import Hashes
from modelwright.data.grown import labelled_hashes
from modelwright.data.scoring import open_rows, scored_batches
from modelwright.release.sealed import kept_sealed

RULE = "test_sealed"
MOST_CLASSES = 64


def refuse_sealed_file(folder: Path, source: Path, schema: Schema) -> None:
    """Refuse a file that is the project's own table, or that holds rows which a run sealed.

    Without its target a row is looked for with each class that it could have; a row of a
    regression without its target is not found.

    Raises:
        Refused: rule test_sealed.
    """
    if is_source(folder, source) or source.name in OF_ROWS:
        raise _refused(f"{source.name} is the table that the sealed rows are in.")
    sealed = _Sealed(folder, schema)
    if not sealed.known:
        return
    target = schema.target.name
    for frame, feeds in zip(
        open_rows(str(source)).batches(), scored_batches(open_rows(str(source)), schema),
        strict=False,
    ):  # fmt: skip
        said = None
        if target in frame.columns and schema.target.task == "regression":
            said = frame[target].cast(float, strict=False).to_numpy()
        sealed.refuse(feeds, said)


def refuse_sealed_rows(folder: Path, rows: Sequence[dict[str, Any]], schema: Schema) -> None:
    """The same for rows that were given in a call.

    Raises:
        Refused: rule test_sealed.
        RowsError: they do not fit the schema.
    """
    sealed = _Sealed(folder, schema)
    if sealed.known and rows:
        sealed.refuse(feeds_from_rows(schema, rows), None)


def is_source(folder: Path, source: Path) -> bool:
    """Whether a file is the table that the project's spec or that of a run names, or one of its
    files: the spec may name another one by now."""
    return any(_is_of(folder, named, source) for named in _sources(folder))


def _sources(folder: Path) -> Iterable[str]:
    with suppress(ModelwrightError):
        yield read_spec(folder / DEFAULT_NAME).spec.data.source
    for path in (folder / "runs").glob(f"*/{SPEC}"):
        with suppress(OSError, ModelwrightError):
            yield str(from_json(path.read_bytes(), SavedSpec).spec["data"]["source"])


def _is_of(folder: Path, named: str, source: Path) -> bool:
    if "://" in named:
        return False
    place, found = folder.resolve() / named, source.resolve()
    inside = found == place.resolve() or found.is_relative_to(place)
    return inside or fnmatch(str(found), str(place))


class _Sealed:
    """Hashes of the rows that runs with the model's features sealed."""

    def __init__(self, folder: Path, schema: Schema) -> None:
        self._names = [column.name for column in schema.features]
        self._classes = len(schema.target.levels)
        self.known = list(self._kept(folder))

    def _kept(self, folder: Path) -> Iterable[tuple[tuple[str, ...], Hashes]]:
        for path in (folder / "runs").glob(f"*/{SEALED}"):
            hashes = kept_sealed(path.parent)
            try:
                record = from_json((path.parent / DATASET).read_bytes(), DatasetRecord)
            except (OSError, ModelwrightError):
                continue
            names = tuple(sorted(column.name for column in record.schema.features))
            if hashes is not None and set(names) <= set(self._names):
                yield names, hashes

    def refuse(self, feeds: Feeds, target: Array | None) -> None:
        """Raise if one of the rows is sealed."""
        rows = len(next(iter(feeds.values())))
        targets = [target] if target is not None else [
            np.full(rows, code, np.float64) for code in range(min(self._classes, MOST_CLASSES))
        ]  # fmt: skip
        for names in {names for names, _ in self.known}:
            known = np.concatenate([found for has, found in self.known if has == names])
            for said in targets:
                if bool(np.isin(labelled_hashes(feeds, said, names), known).any()):
                    raise _refused("Some of these rows are sealed.")


def _refused(message: str) -> Refused:
    return Refused(
        message,
        hint="Agents have other rows answered; what the model is worth on the sealed ones stands "
        "in the report.",
        rule=RULE,
    )
