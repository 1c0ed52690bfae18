"""All records of a judged run together, as reports and cards are made from them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from pydantic import BaseModel

from modelwright.core.errors import ArtefactError
from modelwright.core.evaluation import Evaluation, PracticeScore
from modelwright.core.records import (
    AuditLine,
    DatasetRecord,
    Finding,
    FitRecord,
    Manifest,
    Measured,
    ReleaseRecord,
    Reproduced,
)
from modelwright.core.remembered import Remembered
from modelwright.core.runs import DATASET, FIT, RELEASE, REPRODUCED, SPEC, spec_of_run
from modelwright.core.spec import Spec
from modelwright.core.spec_file import SpecFile
from modelwright.core.store import Record, from_json, sha256

HIDDEN = "(private)"
REPORT, EVALUATION, MEASURED = "report.html", "evaluation.json", "measured.json"
MANIFEST = Path("artefact") / "manifest.json"


@dataclass(frozen=True)
class RunRecords:
    """What a run has written, frozen.

    Attributes:
        folder: the run's own.
        reproduced: the run's model made once more, where that was done.
        audit: changes of production of this model, oldest first.
        practices: its ML Test Score, where that was taken.
    """

    folder: Path
    release: ReleaseRecord
    dataset: DatasetRecord
    fit: FitRecord
    manifest: Manifest
    measured: Measured
    spec_file: SpecFile
    evaluation: Evaluation
    reproduced: Reproduced | None = None
    audit: tuple[AuditLine, ...] = ()
    practices: PracticeScore | None = None

    @classmethod
    def read(cls, folder: Path) -> RunRecords:
        """Of a run that was judged.

        Raises:
            ArtefactError: a record is absent, or of another version.
        """
        names = (RELEASE, DATASET, FIT, MANIFEST, MEASURED, SPEC, EVALUATION, REPRODUCED)
        files, key = [folder / name for name in names], (folder, folder.resolve())
        return _READ.get(key, files, lambda: cls._read(folder))

    @classmethod
    def _read(cls, folder: Path) -> RunRecords:
        again = folder / REPRODUCED
        return cls(
            folder,
            _read(folder / RELEASE, ReleaseRecord),
            _read(folder / DATASET, DatasetRecord),
            _read(folder / FIT, FitRecord),
            _read(folder / MANIFEST, Manifest),
            _read(folder / MEASURED, Measured),
            spec_of_run(folder),
            _read(folder / EVALUATION, Evaluation),
            _read(again, Reproduced) if again.exists() else None,
        )

    def digest(self) -> str:
        """sha256 of all that is known here; pages are made of it alone."""
        return sha256(msgspec.json.encode(self, enc_hook=_plain))

    @property
    def spec(self) -> Spec:
        """The spec that the run was made with."""
        return self.spec_file.spec

    @property
    def project(self) -> Path:
        """The project that the run belongs to."""
        return self.folder.resolve().parents[1]

    @property
    def private(self) -> frozenset[str]:
        """Columns whose values must not be shown."""
        marked = (column.name for column in self.dataset.schema.columns if column.private)
        return frozenset([*marked, *self.spec.data.private])

    def gates(self, *checks: str) -> list[Finding]:
        """Findings of these checks: of the release, and of its evaluation where it has others."""
        known = {(f.check, f.subject) for f in self.release.evidence}
        more = [f for f in self.evaluation.findings if (f.check, f.subject) not in known]
        return [f for f in (*self.release.evidence, *more) if f.check in checks]

    def hides(self, finding: Finding) -> bool:
        """Whether a finding is about a private column, so that its words may hold a value."""
        return self.is_private(finding.columns, finding.subject)

    def is_private(self, columns: Iterable[str], text: str) -> bool:
        """Whether any of the columns is private, or the text names one that is."""
        return bool(self._private_in(columns, text))

    def named(self, finding: Finding) -> str:
        """What a finding is about, without a value of a private column: its name at most."""
        if not self.hides(finding):
            return finding.subject
        if finding.subject in self.private:
            return finding.subject
        return f"{', '.join(self._private_in(finding.columns, finding.subject))} {HIDDEN}"

    def _private_in(self, columns: Iterable[str], text: str) -> list[str]:
        named = set(columns)
        return sorted(
            name
            for name in self.private
            if name in named or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
        )


_READ = Remembered[RunRecords](32)


def _plain(found: object) -> object:
    """What msgspec cannot write by itself."""
    return found.model_dump(mode="json") if isinstance(found, BaseModel) else str(found)


def _read(path: Path, kind: type[Record]) -> Record:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtefactError(
            f"{path} cannot be read: {error.strerror}.",
            hint="Was the run judged to its end, by this version? Else run again.",
            rule="repro_required",
        ) from error
    return from_json(data, kind, where=str(path))
