"""How a judged model did on the sealed rows, kept with its run, so that two runs can be compared
row by row later without opening the seal again.

Neither rows nor truths nor answers are kept: only how far each row, or block of rows, moves each
metric.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelwright.core.records import Interval
from modelwright.core.store import sha256, write_atomic
from modelwright.data.fingerprint import row_hashes
from modelwright.fit.certainty import Standing, gain_between, standing
from modelwright.fit.in_time import InTime
from modelwright.release.evidence import Evidence

STANDINGS = "standings.npz"
MOST_BLOCKS = 4000
"""More rows than that are added up in blocks, whose spread tells as much."""


@dataclass(frozen=True)
class Standings:
    """Of one run.

    Attributes:
        order: sha256 of the sealed rows in their order; runs with the same one can be paired.
        confidence: of the intervals that are asked for.
        of: metric -> how it stands.
    """

    order: str
    confidence: float
    of: Mapping[str, Standing]

    def leads(self, other: Standings) -> dict[str, Interval]:
        """How much better this run is than another on the same rows, by metric; empty where the
        rows, or how they were taken together, are not the same."""
        if self.order != other.order:
            return {}
        return {
            metric: gain_between(metric, mine, other.of[metric], confidence=self.confidence)
            for metric, mine in self.of.items()
            if metric in other.of and len(mine.pulls) == len(other.of[metric].pulls)
        }


def standings_of(evidence: Evidence) -> Standings:
    """How the model stands in every metric of its task."""
    holdout, clusters = evidence.holdout, evidence.together()
    if clusters is None and holdout.rows > MOST_BLOCKS:
        clusters = np.arange(holdout.rows) % MOST_BLOCKS
    found = {
        metric: standing(
            metric, holdout.target, evidence.of(metric),
            confidence=evidence.confidence, clusters=clusters,
        )
        for metric in evidence.metrics()
    }  # fmt: skip
    names = sorted(holdout.feeds)
    rows = row_hashes({name: holdout.feeds[name] for name in names})
    taken = b"in time" if isinstance(clusters, InTime) else b""
    if isinstance(clusters, np.ndarray):
        taken = np.asarray(clusters, np.int64).tobytes()
    order = sha256(rows.tobytes() + np.asarray(holdout.target, np.float64).tobytes() + taken)
    known = {metric: one for metric, one in found.items() if one is not None}
    return Standings(order, evidence.confidence, known)


def keep_standings(run: Path, found: Standings) -> None:
    """Write them to a run's folder."""
    file = io.BytesIO()
    np.savez_compressed(
        file,
        order=np.array(found.order),
        confidence=np.array(found.confidence),
        metrics=np.array(list(found.of), dtype=str),
        values=np.array([one.value for one in found.of.values()]),
        fewest=np.array([one.fewest for one in found.of.values()]),
        floors=np.array([one.floor for one in found.of.values()]),
        in_time=np.array([one.in_time for one in found.of.values()], bool),
        pulls=np.array([one.pulls for one in found.of.values()], np.float32),
    )
    write_atomic(run / STANDINGS, file.getvalue())


def kept_standings(run: Path) -> Standings | None:
    """Those of a run; None where it has none that can be read."""
    try:
        with np.load(run / STANDINGS) as file:
            pulls = file["pulls"].astype(np.float64)
            in_time = file["in_time"] if "in_time" in file else np.zeros(len(pulls), bool)
            parts = zip(file["metrics"], file["values"], pulls, file["fewest"], file["floors"],
                        in_time, strict=True)  # fmt: skip
            found = {
                str(metric): Standing(float(value), pull, int(fewest), float(floor), bool(ordered))
                for metric, value, pull, fewest, floor, ordered in parts
            }
            return Standings(str(file["order"]), float(file["confidence"]), found)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
