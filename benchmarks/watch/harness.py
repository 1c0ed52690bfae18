"""`detect` for the shared harness: bench.py benchmarks.watch.harness:detect, see drift.py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import pandas as pd
from counting import Counter

from modelwright.watch.drift import Policy, judge

KEPT: dict[int, tuple[pd.DataFrame, Counter]] = {}


def detect(reference: pd.DataFrame, window: pd.DataFrame) -> dict[str, bool]:
    """Column -> whether it alarms; "dataset": whether anything does."""
    if id(reference) not in KEPT:
        score = "score" if "score" in reference else None
        KEPT[id(reference)] = reference, Counter(reference, score)
    counter = KEPT[id(reference)][1]
    drift = judge(counter.count(window), counter.reference, Policy(rows=1))
    found = dict.fromkeys(reference.columns, False)
    found |= dict.fromkeys(drift.columns, True)
    return found | {"dataset": bool(drift.alarms)}
