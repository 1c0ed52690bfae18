"""What the watcher's spec file says that the champion does not go by."""

from __future__ import annotations

from modelwright.core.records import Finding
from modelwright.serve.as_released import unlike
from modelwright.serve.journal_files import files
from modelwright.watch.subject import Subject


def unlike_now(subject: Subject) -> tuple[Finding, ...]:
    """Where file and champion disagree; see `serve.as_released.unlike`.

    A version that was released without a journal and answers into the file's all the same was
    served with `--journal`, as it should be.
    """
    known = subject.champion
    number = known.version.number
    found = unlike(known.artefact.folder, f"version {number}", subject.spec, subject.folder)
    if known.served.journal is None and _answers(subject, number):
        return tuple(one for one in found if one.subject != "serve.journal.to")
    return found


def _answers(subject: Subject, version: str) -> bool:
    """Whether the file's journal has answers of a version; none, where it cannot be read."""
    try:
        return bool(files(subject.journal, subject.name, version))
    except OSError:
        return False
