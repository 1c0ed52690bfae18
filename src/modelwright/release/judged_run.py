"""All records of a judged run in one hand, as the model card and the ML Test Score read them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from modelwright.core.evaluation import Evaluation
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
from modelwright.core.spec import Spec

HIDDEN = "(private)"


@dataclass(frozen=True)
class JudgedRun:
    """What is known of a model when its gates have spoken.

    Attributes:
        reproduced: the run's model made once more, where that was done.
        audit: changes of production of this model, oldest first.
    """

    spec: Spec
    release: ReleaseRecord
    dataset: DatasetRecord
    fit: FitRecord
    manifest: Manifest
    measured: Measured
    evaluation: Evaluation
    reproduced: Reproduced | None = None
    audit: tuple[AuditLine, ...] = ()

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
