"""Who vouches for a model: Ed25519 over the attestation, checked before a model is used.

Keys are PEM files that environment variables name. Without trusted keys nothing is checked; with
them, whatever no trusted key has signed is refused. This module is imported only where keys are
configured, so that a server without them needs no cryptography package.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from modelwright.core.attestation import (
    ATTESTATION,
    BOM,
    SIGNATURE,
    SIGNING_KEY,
    TRUSTED_KEYS,
    Attestation,
    Signature,
)
from modelwright.core.errors import ArtefactError, MissingExtra, UsageError
from modelwright.core.store import from_json, sha256, to_json, write_atomic

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )
except ImportError as error:
    raise MissingExtra("cryptography", "signing") from error

ALGORITHM = "ed25519"
PRIVATE, PUBLIC = "signing-key.pem", "signing-key.pub.pem"
_RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
_HINT = "Make a pair with: modelwright keys new DIR"


def new_keys(folder: Path) -> tuple[Path, Path, str]:
    """Write a new key pair; the private key can be read by its owner only.

    Returns:
        The private file, the public file, and the key's id.

    Raises:
        UsageError: there are keys already, or the folder cannot be written.
    """
    key = write_pair(folder / PRIVATE, folder / PUBLIC)
    return folder / PRIVATE, folder / PUBLIC, key_id(key)


def write_pair(private: Path, public: Path, passphrase: bytes = b"") -> Ed25519PublicKey:
    """Write a new key pair to two files, the private one under a passphrase where there is one.

    Raises:
        UsageError: the private file exists already, or the folder cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption(),
    )
    shown = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        private.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(
            f"{private} exists already.",
            hint="What it signed needs it: name another folder.",
        ) from error
    except OSError as error:
        raise UsageError(f"Cannot write {private}: {error.strerror}.") from error
    with os.fdopen(handle, "wb") as file:
        file.write(secret)
    write_atomic(public, shown)
    return key.public_key()


def sign(run: Path) -> str:
    """Sign a run's attestation with the configured key; returns the key's id.

    Raises:
        UsageError: the key is absent, open to others, or no Ed25519 key.
    """
    key = signing_key()
    found = key_id(key.public_key())
    signature = key.sign((run / ATTESTATION).read_bytes()).hex()
    write_atomic(run / SIGNATURE, to_json(Signature(ALGORITHM, found, signature)))
    return found


def check_keys() -> None:
    """Look at the configured keys before work begins that needs them.

    Raises:
        UsageError: one is absent, open to others, or no Ed25519 key; or releases would be made
            that nobody here trusts.
    """
    own = signing_key() if os.environ.get(SIGNING_KEY) else None
    if not os.environ.get(TRUSTED_KEYS):
        return
    trusted = trusted_keys()
    if own is None:
        raise UsageError(
            f"{TRUSTED_KEYS} is set, so a model that is not signed cannot be released, and there "
            f"is no {SIGNING_KEY}.",
            hint=_HINT,
        )
    if key_id(own.public_key()) not in trusted:
        raise UsageError(
            f"The key of {SIGNING_KEY} ({key_id(own.public_key())}) is not among those of "
            f"{TRUSTED_KEYS}: {', '.join(trusted)}.",
            hint="Add its public key there.",
        )


def verify(folder: Path, digest: str, model: str) -> Attestation:
    """Check that a trusted key vouches for a model folder.

    Args:
        folder: of the model; the attestation lies in it or beside it.
        digest: sha256 of its manifest.json, already compared with the file.
        model: the name it must have been released under.

    Returns:
        What was signed.

    Raises:
        ArtefactError: no attestation, another model's, or no valid signature of a trusted key.
        UsageError: a trusted key cannot be read.
    """
    place = folder if (folder / ATTESTATION).is_file() else folder.parent
    found = signed_words(place, folder)
    _is_about(found, folder, digest, model)
    bill = place / BOM
    if bill.is_file() and sha256(bill.read_bytes()) != found.bom:
        raise ArtefactError(
            f"{bill} was changed after it was signed.", hint="Restore it from the registry."
        )
    return found


def signed_words(place: Path, folder: Path) -> Attestation:
    """What a trusted key has signed.

    Args:
        place: where attestation and signature lie.
        folder: the model's, for messages.

    Raises:
        ArtefactError: no valid signature of a trusted key.
    """
    trusted = trusted_keys()
    try:
        data = (place / ATTESTATION).read_bytes()
        signature = from_json(
            (place / SIGNATURE).read_bytes(), Signature, where=str(place / SIGNATURE)
        )
    except OSError as error:
        raise ArtefactError(
            f"{folder} is not signed: {Path(str(error.filename)).name} cannot be read, and "
            f"{TRUSTED_KEYS} is set.",
            hint=f"Release it with {SIGNING_KEY} set.",
        ) from error
    key = trusted.get(signature.key)
    if key is None:
        raise ArtefactError(
            f"{folder} is signed by the key {signature.key[:16]!r}, which is not trusted here: "
            f"wanted {', '.join(trusted)}.",
            hint=f"Add its public key to {TRUSTED_KEYS} if you trust whoever holds it.",
        )
    try:
        key.verify(bytes.fromhex(signature.signature), data)
    except (InvalidSignature, ValueError) as error:
        raise ArtefactError(
            f"The signature of {folder} is not valid: {ATTESTATION} was changed after it was "
            "signed.",
            hint="Restore it from the registry, or run again.",
        ) from error
    return from_json(data, Attestation, where=str(place / ATTESTATION))


def _is_about(found: Attestation, folder: Path, digest: str, model: str) -> None:
    """A valid signature of another model, or of one that did not pass, says nothing for this."""
    if digest not in (found.artefact, found.baseline) or found.model != model:
        raise ArtefactError(
            f"The signature of {folder} is for {found.model} {found.artefact[:12]}, wanted "
            f"{model} {digest[:12]}."
        )
    if found.verdict != "pass":
        raise ArtefactError(
            f"{folder} was signed as a model that did not pass its gates: {found.verdict!r}."
        )


def signing_key() -> Ed25519PrivateKey:
    """The private key that MODELWRIGHT_SIGNING_KEY names.

    Raises:
        UsageError: it is absent, others may read it, or it is no Ed25519 key.
    """
    path = Path(os.environ.get(SIGNING_KEY, ""))
    return private_key(path, f"The signing key {path} of {SIGNING_KEY}", _HINT)


def private_key(
    path: Path, named: str, hint: str, passphrase: Callable[[], bytes] | None = None
) -> Ed25519PrivateKey:
    """A private key's file.

    Args:
        path: of the PEM file.
        named: how messages call it.
        hint: what to do where there is no such key.
        passphrase: asked for where the key has one; without it such a key is refused.

    Raises:
        UsageError: it is absent, others may read it, or it is no Ed25519 key.
    """
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{named} cannot be read: {error.strerror}.", hint=hint) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(
            f"{named} can be used by others (mode {stat.S_IMODE(mode):04o}, wanted 0600).",
            hint=f"chmod 600 {path}; if others had access, make a new pair.",
        )
    secret = passphrase() if passphrase and b"BEGIN ENCRYPTED PRIVATE KEY" in data else None
    try:
        key = serialization.load_pem_private_key(data, password=secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if secret is not None:
            raise UsageError(f"The passphrase does not open {path}.") from error
        raise UsageError(
            f"{path} is not a PEM private key without a password.", hint=hint
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is no Ed25519 key.", hint=hint)
    return key


def trusted_keys() -> dict[str, Ed25519PublicKey]:
    """Public keys by their ids, of the files and folders that MODELWRIGHT_TRUSTED_KEYS names.

    Raises:
        UsageError: a file is no Ed25519 public key, or there is none: that would trust nobody.
    """
    found = {}
    for path in _key_files():
        try:
            key = serialization.load_pem_public_key(path.read_bytes())
        except OSError as error:
            raise UsageError(
                f"The key {path} of {TRUSTED_KEYS} cannot be read: {error.strerror}."
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise UsageError(
                f"{path} is not a PEM public key.",
                hint=f"{TRUSTED_KEYS} wants the .pub.pem file, not the private key.",
            ) from error
        if not isinstance(key, Ed25519PublicKey):
            raise UsageError(f"{path} is no Ed25519 public key.", hint=_HINT)
        found[key_id(key)] = key
    if not found:
        raise UsageError(
            f"{TRUSTED_KEYS} names no public key: {os.environ.get(TRUSTED_KEYS, '')!r}.",
            hint="Wanted .pem files, or folders that hold .pub.pem files.",
        )
    return found


def key_id(key: Ed25519PublicKey) -> str:
    """A public key's short name."""
    return sha256(key.public_bytes(*_RAW))[:16]


def _key_files() -> Iterator[Path]:
    for text in filter(None, os.environ.get(TRUSTED_KEYS, "").split(os.pathsep)):
        path = Path(text)
        yield from sorted(path.glob("*.pub.pem")) if path.is_dir() else [path]
