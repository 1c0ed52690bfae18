"""Which rows a run sealed, as a hash each, so that a later run can leave the same rows alone.

The hashes stay in the run's folder on this machine.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modelwright.core.runs import SEALED
from modelwright.core.store import write_atomic
from modelwright.core.table import Table
from modelwright.data.fingerprint import Hashes
from modelwright.data.grown import labelled_hashes


def keep_sealed(run: Path, holdout: Table) -> None:
    """Write the hashes of a run's sealed rows, of all its features and the target."""
    file = io.BytesIO()
    np.save(file, np.sort(labelled_hashes(holdout.feeds, holdout.target, list(holdout.feeds))))
    write_atomic(run / SEALED, file.getvalue())


def kept_sealed(run: Path) -> Hashes | None:
    """Those of a run; None where it has none that can be read."""
    try:
        found = np.load(run / SEALED)
    except (OSError, EOFError, ValueError):
        return None
    return found if found.dtype == np.uint64 and found.ndim == 1 else None


def all_sealed(run: Path, holdout: Table, names: Sequence[str]) -> bool:
    """Whether a run sealed every one of these rows.

    Args:
        run: its folder.
        holdout: the rows.
        names: its features.
    """
    known = kept_sealed(run)
    if known is None or not set(names) <= set(holdout.feeds):
        return False
    return bool(np.isin(labelled_hashes(holdout.feeds, holdout.target, names), known).all())
