"""All records of a judged run together, as reports and cards are made from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelwright.core.errors import ArtefactError
from modelwright.core.evaluation import Evaluation
from modelwright.core.records import (
    DatasetRecord,
    FitRecord,
    Manifest,
    Measured,
    ReleaseRecord,
)
from modelwright.core.runs import DATASET, FIT, RELEASE, spec_of_run
from modelwright.core.spec_file import SpecFile
from modelwright.core.store import Record, from_json

REPORT, EVALUATION, MEASURED = "report.html", "evaluation.json", "measured.json"


@dataclass(frozen=True)
class RunRecords:
    """What a run has written, frozen.

    Attributes:
        folder: the run's own.
    """

    folder: Path
    release: ReleaseRecord
    dataset: DatasetRecord
    fit: FitRecord
    manifest: Manifest
    measured: Measured
    spec_file: SpecFile
    evaluation: Evaluation

    @classmethod
    def read(cls, folder: Path) -> RunRecords:
        """Of a run that was judged.

        Raises:
            ArtefactError: a record is absent, or of another version.
        """
        return cls(
            folder,
            _read(folder / RELEASE, ReleaseRecord),
            _read(folder / DATASET, DatasetRecord),
            _read(folder / FIT, FitRecord),
            _read(folder / "artefact" / "manifest.json", Manifest),
            _read(folder / MEASURED, Measured),
            spec_of_run(folder),
            _read(folder / EVALUATION, Evaluation),
        )


def _read(path: Path, kind: type[Record]) -> Record:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtefactError(
            f"{path} cannot be read: {error.strerror}.",
            hint="Was the run judged to its end, by this version? Else run again.",
        ) from error
    return from_json(data, kind, where=str(path))
