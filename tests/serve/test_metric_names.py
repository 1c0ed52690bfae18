"""Reasons of refusals: what raisers say is in the list, and what is in the list is documented."""

from __future__ import annotations

import re
from pathlib import Path

import modelwright
from modelwright.serve.metric_names import CLOSER_REASONS, REASONS

ROOT = Path(modelwright.__file__).parent


def test_closer_reasons_are_those_that_are_said_and_documented() -> None:
    said = set()
    for path in (ROOT / "serve").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        said |= set(re.findall(r'reason(?: =|=) ?"(\w+)"', text))
    wordless = {"queue_full", "shed", "model_failed", "breaker_open"}  # by place, or in a pair
    assert said <= CLOSER_REASONS.keys() and CLOSER_REASONS.keys() <= said | wordless
    assert not CLOSER_REASONS.keys() & set(REASONS.values())
    docs = (ROOT.parents[1] / "docs" / "observe.md").read_text(encoding="utf-8")
    assert all(f"`{reason}`" in docs for reason in CLOSER_REASONS)
