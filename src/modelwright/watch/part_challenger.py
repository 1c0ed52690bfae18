"""Part: is there a challenger that nobody has tried yet?"""

from __future__ import annotations

from modelwright.release.audit import AuditLog
from modelwright.release.registry import CHALLENGER
from modelwright.watch.look import Advice, Looked
from modelwright.watch.subject import Subject


class ChallengerPart:
    """Advises a canary for a new challenger, once: the audit knows who had one."""

    name = "challenger"
    causes: tuple[str, ...] = ()

    def look(self, subject: Subject, state: bytes | None) -> Looked:  # noqa: ARG002 - needs none
        """Look for one."""
        rule = subject.traffic
        if rule.canary is not None or rule.test is not None:
            return Looked(b"")
        found = subject.library.registry.aliased(subject.name, CHALLENGER)
        lines = AuditLog(subject.folder).lines(subject.name)
        tried = {line.version for line in lines if line.action == "canary"}
        if found is None or found.number in tried:
            return Looked(b"", waits="no new challenger")
        why = f"version {found.number} passed its gates and has answered nobody yet"
        return Looked(b"", advice=Advice("canary", found.number, why))
