"""Which rows a run sealed, as a hash each, so that a later run can leave the same rows alone, and
agents have none of them answered.

The hashes stay in the run's folder on this machine.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modelwright.core.runs import SEALED, SEALED_FEATURES
from modelwright.core.store import write_atomic
from modelwright.core.table import Table
from modelwright.data.fingerprint import Hashes
from modelwright.data.grown import feature_hashes, labelled_hashes


def keep_sealed(run: Path, holdout: Table) -> None:
    """Write the hashes of a run's sealed rows, of all its features, with the target and without."""
    names = list(holdout.feeds)
    _write(run / SEALED, np.sort(labelled_hashes(holdout.feeds, holdout.target, names)))
    keep_features(run, feature_hashes(holdout.feeds, names))


def keep_features(run: Path, hashes: Hashes) -> None:
    """Write the hashes of a run's sealed rows without the target."""
    _write(run / SEALED_FEATURES, np.unique(hashes))


def kept_sealed(run: Path, name: str = SEALED) -> Hashes | None:
    """Those of a run; None where it has none that can be read.

    Args:
        run: its folder.
        name: SEALED, each row with its target; or SEALED_FEATURES, which earlier versions of
            Modelwright did not keep (`release.unsealed` makes them anew).
    """
    try:
        found = np.load(run / name)
    except (OSError, EOFError, ValueError):
        return None
    return found if found.dtype == np.uint64 and found.ndim == 1 else None


def _write(path: Path, hashes: Hashes) -> None:
    file = io.BytesIO()
    np.save(file, hashes)
    write_atomic(path, file.getvalue())


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
