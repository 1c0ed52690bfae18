"""The runs of a project, as their folders tell."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from modelwright.core.errors import ArtefactError, UsageError, did_you_mean
from modelwright.core.records import DatasetRecord
from modelwright.core.spec import Spec
from modelwright.core.spec_file import DEFAULT_NAME, SpecFile
from modelwright.core.store import from_json, to_json, write_atomic

SPEC, DATASET, FIT, RELEASE = "spec.json", "dataset.json", "fit.json", "release.json"
REPRODUCED = "reproduced.json"
RUN_NAME = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
SEARCH_STATE = ("trials", "search.sqlite")
SEALED, SEALED_FEATURES = "sealed.npy", "sealed-features.npy"
"""Of a run: which rows it sealed, with their target and without."""
GROWN, RECENT = "data.parquet", "recent.parquet"
"""Of a retraining: its table, and the rows that judge it."""
OF_ROWS = (SEALED, SEALED_FEATURES, GROWN, RECENT)
"""What tells of single rows, so that it stays on this machine."""


class SavedSpec(msgspec.Struct, frozen=True):
    """`spec.json` of a run: the resolved spec, its digest, and what ``--set`` changed."""

    spec: dict[str, Any]
    digest: str
    overrides: dict[str, str] = {}


class _Stopped(msgspec.Struct, frozen=True):
    stopped_by: str = ""


class _Ended(msgspec.Struct, frozen=True):
    verdict: str = ""
    version: str = ""

    @property
    def is_final(self) -> bool:
        """Judged, and registered if the gates passed."""
        return bool(self.verdict) and (self.verdict != "pass" or bool(self.version))


@dataclass(frozen=True)
class PastRun:
    """A run's folder.

    Attributes:
        ended: it was judged, and registered if its gates passed.
        interrupted: Ctrl-C ended its search.
    """

    folder: Path
    digest: str
    fingerprint: str
    ended: bool
    interrupted: bool

    def is_alike(self, spec_file: SpecFile, dataset: DatasetRecord) -> bool:
        """Whether it was of this spec and this data."""
        return (self.digest, self.fingerprint) == (spec_file.digest, dataset.fingerprint)

    @property
    def may_go_on(self) -> bool:
        """Whether its search was cut short."""
        return not self.ended or self.interrupted

    def hand_over(self, folder: Path) -> None:
        """Copy what the search kept into another run's folder."""
        for name in SEARCH_STATE:
            source = self.folder / name
            if source.is_dir():
                shutil.copytree(source, folder / name)
            elif source.exists():
                shutil.copy2(source, folder / name)


def keep_spec(folder: Path, spec_file: SpecFile) -> None:
    """Write `spec.json` of a run; see `spec_of_run`."""
    spec, digest = spec_file.spec.model_dump(mode="json"), spec_file.digest
    write_atomic(folder / SPEC, to_json(SavedSpec(spec, digest, spec_file.overrides)))


def has_ended(folder: Path) -> bool:
    """Whether a run was judged, and registered if its gates passed."""
    try:
        return from_json((folder / RELEASE).read_bytes(), _Ended).is_final
    except (OSError, ArtefactError):
        return False


def past_runs(project: Path) -> list[PastRun]:
    """Runs that got as far as a split table, the newest first; unreadable ones are left out."""
    found = []
    for folder in sorted((project / "runs").glob("[!.]*/"), reverse=True):
        try:
            spec = from_json((folder / SPEC).read_bytes(), SavedSpec)
            dataset = from_json((folder / DATASET).read_bytes(), DatasetRecord)
            fit = folder / FIT
            stopped = from_json(fit.read_bytes(), _Stopped) if fit.exists() else _Stopped()
            release = folder / RELEASE
            end = from_json(release.read_bytes(), _Ended) if release.exists() else _Ended()
        except (OSError, ArtefactError):
            continue
        interrupted = stopped.stopped_by == "interrupt"
        found.append(PastRun(folder, spec.digest, dataset.fingerprint, end.is_final, interrupted))
    return found


def find_run(project: Path, name: str) -> Path:
    """A run's folder by its name under `runs/`, or by its path.

    Raises:
        UsageError: there is no such run, or it never came to a model.
    """
    folder = Path(name) if (Path(name) / SPEC).is_file() else project / "runs" / name
    if not (folder / SPEC).is_file():
        known = [run.folder.name for run in past_runs(project)]
        hint = did_you_mean(name, known) or f"Newest runs: {', '.join(known[:5]) or 'none'}."
        raise UsageError(f"There is no run {name[:80]!r}.", hint=hint)
    if not (folder / FIT).is_file():
        raise UsageError(
            f"Run {folder.name} never came to a model.",
            hint="Go on with it: modelwright run --resume.",
        )
    return folder


def spec_of_run(folder: Path) -> SpecFile:
    """The spec of a run as it was, beside the project's own file.

    Raises:
        ArtefactError: its spec.json does not fit this version.
    """
    saved = from_json((folder / SPEC).read_bytes(), SavedSpec, where=str(folder / SPEC))
    try:
        spec = Spec.model_validate(saved.spec)
    except ValidationError as error:
        first = error.errors()[0]
        raise ArtefactError(
            f"{folder / SPEC} does not fit this version: {first['loc']}: {first['msg']}."
        ) from error
    return SpecFile(spec, folder.resolve().parents[1] / DEFAULT_NAME, saved.overrides)
