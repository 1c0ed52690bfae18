"""Signatures where they are asked for: without configured keys nothing is signed or checked.

`release.signing` needs the cryptography package, so it is imported only when a key is configured.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from modelwright.core.attestation import (
    ATTESTATION,
    SIGNATURE,
    SIGNING_KEY,
    TRUSTED_KEYS,
    Attestation,
)
from modelwright.core.errors import ArtefactError
from modelwright.core.records import Manifest
from modelwright.core.store import from_json
from modelwright.pack.artefact import Artefact, verified

MOST_SHARED = 2
_SHARED: dict[tuple[Path, str], Artefact] = {}
_LOCK = threading.Lock()


def check_keys() -> None:
    """Refuse to begin a release whose signature would be impossible or worthless.

    Raises:
        UsageError: a configured key cannot be used, or the two settings do not fit together.
    """
    if os.environ.get(SIGNING_KEY) or os.environ.get(TRUSTED_KEYS):
        from modelwright.release import signing

        signing.check_keys()


def sign(run: Path) -> str:
    """Sign a run's attestation when there is a signing key; returns the key's id or nothing.

    Raises:
        UsageError: the key cannot be used.
    """
    (run / SIGNATURE).unlink(missing_ok=True)  # of an earlier attempt
    if not os.environ.get(SIGNING_KEY):
        return ""
    from modelwright.release import signing

    return signing.sign(run)


def verify_words(run: Path) -> None:
    """Check the signature of a run's attestation, whatever it says, when there are trusted keys.

    Raises:
        ArtefactError: no trusted key has signed it.
    """
    if os.environ.get(TRUSTED_KEYS):
        from modelwright.release import signing

        signing.signed_words(run, run)


def verify(folder: Path, digest: str, model: str) -> None:
    """Check a model folder's signature when there are trusted keys.

    Raises:
        ArtefactError: no trusted key vouches for it.
        UsageError: a trusted key cannot be read.
    """
    if os.environ.get(TRUSTED_KEYS):
        from modelwright.release import signing

        signing.verify(folder, digest, model)


def described(folder: Path, *, digest: str | None = None, model: str = "") -> tuple[Manifest, str]:
    """Manifest and digest of a model folder, checked as in `load_trusted`; nothing is loaded.

    Raises:
        ArtefactError: see `load_trusted`.
    """
    manifest, found, _ = verified(folder, digest)
    verify(folder, found, model or manifest.model)
    _must_be_as_attested(folder, digest, found)
    return manifest, found


def load_trusted(
    folder: Path, *, digest: str | None = None, model: str = "", shared: bool = False
) -> Artefact:
    """Load a model folder whose bytes and signature are checked before ONNX Runtime sees them.

    Args:
        folder: with manifest.json and model.onnx.
        digest: the sha256 that its manifest must have; where nobody gives one, that of the
            attestation in the folder or beside it.
        model: the name that it must have been signed under; default its own.
        shared: whether what this process loaded before of the same bytes may be given once more:
            they are checked again, and ONNX Runtime need not load them again.

    Raises:
        ArtefactError: it was changed, is foreign, or no trusted key vouches for it.
    """
    manifest, found, data = verified(folder, digest)
    verify(folder, found, model or manifest.model)
    _must_be_as_attested(folder, digest, found)
    if not shared:
        return Artefact(folder, manifest, found, data)
    key = folder.resolve(), found
    kept = _SHARED.get(key)
    if kept is None:
        kept = Artefact(folder, manifest, found, data)
        with _LOCK:
            _SHARED[key] = kept
            while len(_SHARED) > MOST_SHARED:
                _SHARED.pop(next(iter(_SHARED)))
    return kept


def _must_be_as_attested(folder: Path, digest: str | None, found: str) -> None:
    """A folder named by its path has no registry to say what its manifest must be; where it was
    judged, its attestation does."""
    place = folder if (folder / ATTESTATION).is_file() else folder.resolve().parent
    path = place / ATTESTATION
    if digest is not None or not path.is_file():
        return
    said = from_json(path.read_bytes(), Attestation, where=str(path))
    if found not in (said.artefact, said.baseline):
        raise ArtefactError(
            f"{folder} is not what was judged: its manifest has sha256 {found[:12]}, "
            f"{path.name} says {said.artefact[:12]}.",
            hint="Restore it from the registry, or run again.",
            rule="artifact_immutable",
            evidence={"found": found, "wanted": said.artefact},
        )
