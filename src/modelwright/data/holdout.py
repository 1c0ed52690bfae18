"""The sealed test split: features for parity, labels only for the release, each use counted."""

from __future__ import annotations

from pathlib import Path

import msgspec

from modelwright.core.store import append_line, locked, timestamp
from modelwright.core.table import Table


class HoldoutUse(msgspec.Struct, frozen=True):
    """One line of the ledger: which sealed rows were scored, by which run."""

    holdout: str
    run: str
    at: str


class SealedHoldout:
    """Rows set apart at the split.

    Only the room `release` calls `open` (tests/test_house.py holds it to that). Each use is on
    disk before a label is seen, so that a killed run counts as well.
    """

    def __init__(self, table: Table, fingerprint: str, ledger: Path) -> None:
        self._table = table
        self._ledger = ledger
        self.fingerprint = fingerprint

    @property
    def rows(self) -> int:
        """How many rows are sealed."""
        return self._table.rows

    def features(self) -> Table:
        """The rows without their target: enough to compare answers, not to score them."""
        return self._table.unlabelled()

    def open(self, run: str) -> tuple[Table, int]:
        """Break the seal for one evaluation.

        Returns:
            (the labelled rows, how often these rows were used, this time included).
        """
        with locked(self._ledger.with_suffix(".lock")):
            uses = sum(use.holdout == self.fingerprint for use in self._uses()) + 1
            append_line(self._ledger, HoldoutUse(self.fingerprint, run, timestamp()))
        return self._table, uses

    def _uses(self) -> list[HoldoutUse]:
        if not self._ledger.exists():
            return []
        found = []
        for line in self._ledger.read_bytes().splitlines():
            try:
                found.append(msgspec.json.decode(line, type=HoldoutUse))
            except msgspec.DecodeError:
                continue  # the last line of a run that was killed while writing
        return found
