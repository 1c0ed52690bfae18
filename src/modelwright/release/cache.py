"""Copies of released models on this machine, found by the digest of their manifest."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from modelwright.core.store import write_once
from modelwright.pack.artefact import verified
from modelwright.release import trust

CACHE, CACHE_LOCK = "artefacts", "artefacts.lock"


def checked(folder: Path, digest: str, model: str) -> Path:
    """A model folder whose bytes and, where keys are trusted, signature are those released.

    Raises:
        ArtefactError: they are not.
    """
    verified(folder, digest)
    trust.verify(folder, digest, model)
    return folder


@contextlib.contextmanager
def scratch(home: Path) -> Iterator[Path]:
    """A folder to fetch into: gone afterwards, or known to `gc` when a kill left it."""
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch.", suffix=".part", dir=home) as name:
        yield Path(name)


def keep(found: Path, digest: str, cached: Path) -> None:
    """Move a fetched folder to its place, once its bytes are known to be right; the lock is held.

    Raises:
        ArtefactError: what came is not what was released.
    """
    verified(found, digest)
    write_once(found)
    cached.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(cached, ignore_errors=True)
    found.rename(cached)
