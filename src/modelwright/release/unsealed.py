"""Agents may not have sealed rows answered: what a model says about them is for the release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modelwright.core.errors import ModelwrightError, Refused
from modelwright.core.intake import Feeds, feeds_from_rows
from modelwright.core.records import DatasetRecord
from modelwright.core.runs import DATASET, OF_ROWS, SEALED, SEALED_FEATURES, SPEC, SavedSpec
from modelwright.core.schema import Schema
from modelwright.core.spec_file import DEFAULT_NAME, read_spec
from modelwright.core.store import from_json
from modelwright.data.fingerprint import Hashes
from modelwright.data.grown import feature_hashes, labelled_hashes
from modelwright.data.scoring import open_rows, scored_batches
from modelwright.release.sealed import kept_sealed

RULE = "test_sealed"
MOST_CLASSES = 64


def refuse_sealed_file(folder: Path, source: Path, schema: Schema) -> None:
    """Refuse a file that is the project's own table, or that holds rows which a run sealed.

    A row is known by its features, whatever stands in the target's column.

    Raises:
        Refused: rule test_sealed.
    """
    if is_source(folder, source) or source.name in OF_ROWS:
        raise _refused(f"{source.name} is the table that the sealed rows are in.")
    sealed = _Sealed(folder, schema)
    if not sealed.known:
        return
    for feeds in scored_batches(open_rows(str(source)), schema):
        sealed.refuse(feeds)


def refuse_sealed_rows(folder: Path, rows: Sequence[dict[str, Any]], schema: Schema) -> None:
    """The same for rows that were given in a call.

    Raises:
        Refused: rule test_sealed.
        RowsError: they do not fit the schema.
    """
    sealed = _Sealed(folder, schema)
    if sealed.known and rows:
        sealed.refuse(feeds_from_rows(schema, rows))


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


class _Kept(NamedTuple):
    """What one run sealed. `labelled`: with the target, as earlier versions kept it alone; such a
    row is looked for with each class that it could have, and of a regression not found."""

    names: tuple[str, ...]
    labelled: bool
    hashes: Hashes


class _Sealed:
    """Hashes of the rows that runs with the model's features sealed."""

    def __init__(self, folder: Path, schema: Schema) -> None:
        self._names = [column.name for column in schema.features]
        self._classes = len(schema.target.levels)
        self.known = list(self._kept(folder))

    def _kept(self, folder: Path) -> Iterable[_Kept]:
        for path in (folder / "runs").glob(f"*/{SEALED}"):
            features = kept_sealed(path.parent, SEALED_FEATURES)
            hashes = kept_sealed(path.parent) if features is None else features
            try:
                record = from_json((path.parent / DATASET).read_bytes(), DatasetRecord)
            except (OSError, ModelwrightError):
                continue
            names = tuple(sorted(column.name for column in record.schema.features))
            if hashes is not None and set(names) <= set(self._names):
                yield _Kept(names, features is None, hashes)

    def refuse(self, feeds: Feeds) -> None:
        """Raise if one of the rows is sealed."""
        for names, labelled in {(one.names, one.labelled) for one in self.known}:
            known = np.concatenate(
                [one.hashes for one in self.known if (one.names, one.labelled) == (names, labelled)]
            )
            for asked in self._hashes(feeds, names, labelled):
                if bool(np.isin(asked, known).any()):
                    raise _refused("Some of these rows are sealed.")

    def _hashes(self, feeds: Feeds, names: tuple[str, ...], labelled: bool) -> Iterator[Hashes]:
        if not labelled:
            yield feature_hashes(feeds, names)
            return
        rows = len(next(iter(feeds.values())))
        for code in range(min(self._classes, MOST_CLASSES)):
            yield labelled_hashes(feeds, np.full(rows, code, np.float64), names)


def _refused(message: str) -> Refused:
    return Refused(
        message,
        hint="Agents have other rows answered; what the model is worth on the sealed ones stands "
        "in the report.",
        rule=RULE,
    )
