"""Agents may not have sealed rows answered: what a model says about them is for the release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modelwright.core.errors import ModelwrightError, Refused
from modelwright.core.intake import Feeds, feeds_from_rows
from modelwright.core.records import DatasetRecord
from modelwright.core.remembered import Remembered
from modelwright.core.runs import (
    DATASET,
    OF_ROWS,
    RELEASE,
    SEALED,
    SEALED_FEATURES,
    SPEC,
    SavedSpec,
    spec_of_run,
)
from modelwright.core.schema import Schema
from modelwright.core.spec_file import DEFAULT_NAME, read_spec
from modelwright.core.store import from_json
from modelwright.data.dataset import load
from modelwright.data.fingerprint import Hashes
from modelwright.data.grown import feature_hashes, labelled_hashes
from modelwright.data.interpret import parse
from modelwright.data.scoring import open_rows, scored_batches
from modelwright.data.sources import open_source
from modelwright.release.sealed import keep_features, kept_sealed

RULE = "test_sealed"
JUDGED = (SEALED, SEALED_FEATURES, RELEASE)
"""Files of a run that has seen its sealed rows."""
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
    spec = folder / DEFAULT_NAME
    with suppress(ModelwrightError):
        yield _NAMED.get(spec.resolve(), [spec], lambda: read_spec(spec).spec.data.source)
    for path in (folder / "runs").glob(f"*/{SPEC}"):
        with suppress(OSError, ModelwrightError):
            yield _NAMED.get(path.resolve(), [path], partial(_source_of, path))


def _source_of(path: Path) -> str:
    return str(from_json(path.read_bytes(), SavedSpec).spec["data"]["source"])


def _is_of(folder: Path, named: str, source: Path) -> bool:
    if "://" in named:
        return False
    place, found = folder.resolve() / named, source.resolve()
    inside = found == place.resolve() or found.is_relative_to(place)
    return inside or fnmatch(str(found), str(place))


class _Kept(NamedTuple):
    """What one run sealed. `labelled`: with the target, as earlier versions kept it alone; such a
    row is looked for with each class that it could have."""

    names: tuple[str, ...]
    labelled: bool
    hashes: Hashes


_KEPT = Remembered[_Kept](256)
_NAMED = Remembered[str](256)


class _Sealed:
    """Hashes of the rows that runs with the model's features sealed."""

    def __init__(self, folder: Path, schema: Schema) -> None:
        self._names = frozenset(column.name for column in schema.features)
        self._classes = len(schema.target.levels)
        runs = sorted({path.parent for name in JUDGED for path in folder.glob(f"runs/*/{name}")})
        found = [self._kept(run) for run in runs]
        self.known = [one for one in found if set(one.names) <= self._names]

    def _kept(self, run: Path) -> _Kept:
        files = [run / name for name in (SEALED, SEALED_FEATURES, DATASET)]
        key = run.resolve(), self._names, self._classes
        return _KEPT.get(key, files, lambda: _of_run(run, self._names, self._classes))

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
        for code in range(self._classes):
            yield labelled_hashes(feeds, np.full(rows, code, np.float64), names)


def _of_run(run: Path, features: frozenset[str], classes: int) -> _Kept:
    """What a run sealed; where it kept no features, they are made of its table.

    Args:
        run: its folder.
        features, classes: of the model that is asked; 0 classes for a regression.

    Raises:
        Refused: nobody can tell any more which rows it sealed.
    """
    try:
        record = from_json((run / DATASET).read_bytes(), DatasetRecord)
    except (OSError, ModelwrightError) as error:
        raise _untold(run, f"its {DATASET} cannot be read") from error
    names = tuple(sorted(column.name for column in record.schema.features))
    hashes = kept_sealed(run, SEALED_FEATURES)
    if hashes is not None:
        return _Kept(names, False, hashes)
    labelled = kept_sealed(run)
    if not set(names) <= features:
        return _Kept(names, False, np.empty(0, np.uint64))  # of another model
    if labelled is not None and 0 < classes <= MOST_CLASSES:
        return _Kept(names, True, labelled)
    hashes = _recomputed(run, record, names, labelled)
    with suppress(OSError):
        keep_features(run, hashes)
    return _Kept(names, False, hashes)


def _recomputed(
    run: Path, record: DatasetRecord, names: tuple[str, ...], labelled: Hashes | None
) -> Hashes:
    """Features of the sealed rows, found in the run's table by their hashes with the target, or
    where those are gone by the split, whose fingerprint tells whether it is the same."""
    try:
        spec_file = spec_of_run(run)
        if labelled is None:
            dataset = load(spec_file, thorough=False)
            if dataset.record.holdout_fingerprint != record.holdout_fingerprint:
                raise _untold(run, f"{record.source} has changed since")
            return feature_hashes(dataset.holdout.features().feeds, names)
        data = spec_file.spec.data
        source = open_source(data.source, spec_file.folder, data.read)
        parsed = parse(source.frame(), spec_file.spec, source)
        if not set(names) <= set(parsed.values):
            raise _untold(run, f"{record.source} has other columns now")
        rows = labelled_hashes(parsed.values, parsed.target.values, names)
    except Refused:
        raise
    except (OSError, ModelwrightError) as error:
        raise _untold(run, f"{record.source} cannot be read as it was") from error
    if not np.isin(labelled, rows).all():
        raise _untold(run, f"{record.source} does not hold them any more")
    return feature_hashes(parsed.values, names)[np.isin(rows, labelled)]


def _untold(run: Path, why: str) -> Refused:
    return Refused(
        f"Nobody can tell which rows run {run.name} sealed: {why}.",
        hint=f"A person puts that back as it was, and it is found again; or, where nothing needs "
        f"the run any more (modelwright gc, modelwright report {run.name}), removes {run}.",
        rule=RULE,
        evidence={"run": run.name},
    )


def _refused(message: str) -> Refused:
    return Refused(
        message,
        hint="Agents have other rows answered; what the model is worth on the sealed ones stands "
        "in the report.",
        rule=RULE,
    )
