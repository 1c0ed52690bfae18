"""Signatures where they are asked for: without configured keys nothing is signed or checked.

`release.signing` needs the cryptography package, so it is imported only when a key is configured.
"""

from __future__ import annotations

import os
from pathlib import Path

from modelwright.core.attestation import SIGNATURE, SIGNING_KEY, TRUSTED_KEYS
from modelwright.pack.artefact import Artefact, verified


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


def load_trusted(folder: Path, *, digest: str | None = None, model: str = "") -> Artefact:
    """Load a model folder whose bytes and signature are checked before ONNX Runtime sees them.

    Args:
        folder: with manifest.json and model.onnx.
        digest: the sha256 that its manifest must have, when it is known.
        model: the name that it must have been signed under; default its own.

    Raises:
        ArtefactError: it was changed, is foreign, or no trusted key vouches for it.
    """
    manifest, found, data = verified(folder, digest)
    verify(folder, found, model or manifest.model)
    return Artefact(folder, manifest, found, data)
