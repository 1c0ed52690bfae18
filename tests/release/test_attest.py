"""The digest of what was attested is that of what is read again."""

from __future__ import annotations

import importlib.metadata

from evidences import evidence
from modelwright.core.limits import Limit
from modelwright.core.records import Finding
from modelwright.core.store import from_json, to_json
from modelwright.release.attest import environment_lock, evidence_digest
from modelwright.release.gates import judge


def test_findings_have_one_digest_before_and_after_they_are_written() -> None:
    """A size is a whole number of bytes: `release --allow` refused every run with a limit on it."""
    limits = (Limit("size", "at_most", 1e4), Limit("throughput", "at_least", 10))
    judged = judge(evidence(limits=limits))
    read = from_json(to_json(judged), tuple[Finding, ...])
    assert to_json(read) != to_json(judged), "or this shows nothing"
    assert evidence_digest(read) == evidence_digest(judged)


def test_the_lock_holds_what_libraries_need_in_turn() -> None:
    lock = dict(line.split("==") for line in environment_lock({"scikit-learn": "1.0"}))
    assert lock["scikit-learn"] == "1.0", "what the training had goes first"
    for name in ("joblib", "scipy", "threadpoolctl", "pandas", "starlette"):
        assert lock[name] == importlib.metadata.version(name)
    assert "pytest" not in lock and "platform" not in lock
