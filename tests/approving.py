"""Agents that ask and approvers with real keys, for the tests of approvals."""

from __future__ import annotations

from pathlib import Path

import pytest

import modelwright as mw
from modelwright.core.errors import ApprovalNeeded
from modelwright.core.principal import Principal
from modelwright.core.records import ReleaseRecord
from modelwright.release import approver_keys
from modelwright.release.signing import write_pair
from projects import QUICK

AGENT = Principal("agent bo", "agent", client="tester 1.0")


def approver(project: Path, name: str = "ada") -> Path:
    """A new approver of a project, whose key has no passphrase; its private file."""
    folder = project.resolve().parent / f"keys of {project.name}"
    return approver_keys.new_approver(folder, name, project=project, passphrase=False)[0]


def stranger(project: Path) -> Path:
    """A key that no policy file knows."""
    folder = project.resolve().parent / f"strange to {project.name}"
    write_pair(folder / "k.pem", folder / "k.pub.pem")
    return folder / "k.pem"


def request_of(error: pytest.ExceptionInfo[ApprovalNeeded]) -> str:
    """The request that now waits."""
    found = error.value.evidence["request"]
    assert isinstance(found, str)
    return found


def undecided_run(released: mw.Released) -> ReleaseRecord:
    """A run of the project here whose limit its rows cannot decide."""
    goal = next(f for f in released.record.evidence if f.check == "goal")
    assert goal.interval is not None
    bound = f"limits.roc_auc={goal.interval.value - 0.001:.4f}"
    run = mw.run("modelwright.yaml", overrides=(*QUICK, bound)).record
    assert run.verdict == "undecided"
    return run
