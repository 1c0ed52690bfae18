"""The keys that people approve with: made, read, and known by the policy file.

An approver's public key stands in `modelwright.policy.yaml` as `ed25519:` and base64. This module
is imported only where a signature is made or looked at, since it needs the cryptography package.
"""

from __future__ import annotations

import base64
import binascii
import getpass
import io
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from modelwright.core.errors import MissingExtra, Refused, SpecError, UsageError
from modelwright.core.policy import FILE, Policy, read_policy
from modelwright.core.principal import acting
from modelwright.core.spec_file import load_yaml, problems_of
from modelwright.core.store import locked, write_atomic
from modelwright.release.requests import FOLDER, RULE
from modelwright.release.signing import private_key, write_pair

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
except ImportError as error:
    raise MissingExtra("cryptography", "signing") from error

KEY = "MODELWRIGHT_APPROVER_KEY"
PREFIX = "ed25519:"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,39}")
_HINT = "Make a pair with: modelwright keys approver FOLDER --name NAME"


def new_approver(
    folder: Path, name: str, *, project: Path, passphrase: bool = True
) -> tuple[Path, Path, str]:
    """Write a key pair for an approver, and its public half into the project's policy file.

    Args:
        folder: for the keys; not in the project, where agents work.
        name: of the approver, as the audit will show it.
        project: whose policy file learns of the key; its comments stay.
        passphrase: ask for one at the terminal; without it whoever can read the file can approve.

    Returns:
        The private file, the public file, and the public key as it stands in the policy file.

    Raises:
        Refused: by an agent.
        UsageError: the name is taken or is none, the folder is in the project, or there is no
            terminal to ask at.
        SpecError: the policy file is wrong.
    """
    if acting().is_agent:
        raise Refused(
            f"{acting().name} is an agent: only a person can add an approver.",
            hint="A person runs: modelwright keys approver FOLDER --name NAME",
            rule=RULE,
        )
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:40]!r} cannot be an approver's name.",
            hint="Wanted letters, digits, dot, dash, underscore, such as --name ada.",
        )
    if folder.resolve().is_relative_to(project.resolve()):
        raise UsageError(
            f"{folder} is inside the project, where agents can read it.",
            hint="Name a folder that only the approver can read, such as ~/.modelwright.",
        )
    _must_be_new(name, read_policy(project))
    words = _new_passphrase() if passphrase else b""
    private, public = folder / f"approver-{name}.pem", folder / f"approver-{name}.pub.pem"
    text = as_text(write_pair(private, public, words))
    add_approver(project, name, text)
    return private, public, text


def add_approver(project: Path, name: str, public: str) -> None:
    """Add an approver to the policy file, which keeps its comments; the old or the new file stays,
    whatever is killed when.

    Raises:
        UsageError: the name is taken.
        SpecError: the policy file is wrong.
    """
    path = project / FILE
    with locked(project / FOLDER.parent / "policy.lock"):
        _must_be_new(name, read_policy(project))
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        new = _with_approver(text, name, public)
        content, places = load_yaml(new, path)
        try:
            Policy.model_validate(content)
        except ValidationError as error:
            raise SpecError(
                f"{FILE} cannot take an approver:", problems_of(error, places, Policy)
            ) from error
        write_atomic(path, new.encode())


def _with_approver(text: str, name: str, public: str) -> str:
    kept = YAML()  # a round trip: comments and quotes stay
    kept.preserve_quotes = True
    kept.width = 10_000
    document = kept.load(text) if text.strip() else None
    if document is None:  # nothing but comments
        before = f"{text.rstrip()}\n" if text.strip() else ""
        return f"{before}approvers:\n  {name}: {public}\n"
    if document.get("approvers") is None:
        document["approvers"] = CommentedMap()
    document["approvers"][name] = public
    out = io.StringIO()
    kept.dump(document, out)
    return out.getvalue()


def _must_be_new(name: str, policy: Policy) -> None:
    if name in policy.approvers:
        raise UsageError(
            f"{FILE} has an approver {name} already.",
            hint="Take the old key out of the file first, or use another name.",
        )


def load(path: Path | None) -> Ed25519PrivateKey:
    """An approver's private key; its passphrase is asked for at the terminal.

    Args:
        path: its file; None for the one that MODELWRIGHT_APPROVER_KEY names.

    Raises:
        UsageError: it is absent, open to others, no Ed25519 key, or its passphrase cannot be asked
            for or is wrong.
    """
    if path is None:
        named = os.environ.get(KEY, "")
        if not named:
            raise UsageError(
                "Approving needs an approver's key.",
                hint=f"Name its file with --key FILE, or in {KEY}. {_HINT}",
            )
        path = Path(named)
    return private_key(path, f"The approver's key {path}", _HINT, lambda: _passphrase(path))


def name_of(key: Ed25519PrivateKey, approvers: Mapping[str, str]) -> str:
    """The approver whose key it is.

    Raises:
        Refused: the policy file does not know it.
    """
    own = as_text(key.public_key())
    for name, public in approvers.items():
        if public.strip() == own:
            return name
    known = ", ".join(approvers) or "nobody"
    raise Refused(
        f"This key is no approver's: {FILE} knows the keys of {known}.",
        hint=f"Use their key, or add this one under approvers, as NAME: {own}",
        rule=RULE,
        evidence={"key": own, "approvers": list(approvers)},
    )


def sign(key: Ed25519PrivateKey, words: bytes) -> str:
    """The signature of a request's words."""
    return key.sign(words).hex()


def is_signed(public: str, name: str, words: bytes, signature: str) -> bool:
    """Whether an approver has signed these words.

    Raises:
        Refused: the approver's public key in the policy file is none.
    """
    try:
        raw = base64.b64decode(public.strip().removeprefix(PREFIX), validate=True)
        key = Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, binascii.Error) as error:
        raise Refused(
            f"The key of {name} in {FILE} is no Ed25519 public key: {public[:60]!r}.",
            hint=f"Wanted {PREFIX} and base64, as modelwright keys approver writes it.",
            rule=RULE,
        ) from error
    try:
        key.verify(bytes.fromhex(signature), words)
    except (InvalidSignature, ValueError):
        return False
    return True


def as_text(key: Ed25519PublicKey) -> str:
    """A public key as the policy file has it."""
    return PREFIX + base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def _passphrase(path: Path) -> bytes:
    if not sys.stdin.isatty():
        raise UsageError(
            f"{path} has a passphrase, and there is no terminal to ask for it.",
            hint="Approve at a terminal.",
        )
    return getpass.getpass(f"Passphrase of {path}: ").encode()


def _new_passphrase() -> bytes:
    if not sys.stdin.isatty():
        raise UsageError(
            "A passphrase is asked for at a terminal, and there is none.",
            hint="Run it at a terminal; or with --no-passphrase, where only the approver can read "
            "the folder.",
        )
    first = getpass.getpass("New passphrase: ")
    if not first:
        raise UsageError("The passphrase is empty.", hint="Without one: --no-passphrase.")
    if getpass.getpass("Once more: ") != first:
        raise UsageError("The two passphrases differ.", hint="Run it again.")
    return first.encode()
