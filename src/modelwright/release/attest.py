"""The files that travel with a judged model: bill of materials, attestation, signature."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from modelwright.core.attestation import ATTESTATION, BOM, Attestation
from modelwright.core.errors import ArtefactError
from modelwright.core.records import DatasetRecord, Finding, ReleaseRecord
from modelwright.core.spec import Spec
from modelwright.core.store import from_json, sha256, to_json, write_atomic
from modelwright.pack.artefact import MANIFEST, Artefact
from modelwright.release import trust
from modelwright.release.bom import Materials, bill_of_materials

DEVELOPMENT = ("dev",)
"""Extras that have no part in a model."""
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


def attest(
    run: Path,
    artefact: Artefact,
    release: ReleaseRecord,
    spec: Spec,
    dataset: DatasetRecord,
    parent: str,
) -> Attestation:
    """Write bill of materials, attestation and, where there is a key, signature to a run's folder.

    Args:
        run: the run's folder.
        artefact: the sealed model folder in it.
        release: as judged; a version is not needed.
        spec: what the model is for, and not for.
        dataset: what it was trained on.
        parent: artefact digest of the champion it was compared with, or nothing.

    Raises:
        UsageError: the signing key cannot be used.
    """
    manifest = artefact.manifest
    lock = environment_lock(manifest.versions)
    bill = to_json(bill_of_materials(Materials(artefact, release, spec, dataset, lock)))
    write_atomic(run / BOM, bill)
    attestation = Attestation(
        model=release.model,
        run=release.run,
        artefact=artefact.digest,
        files={**manifest.files, MANIFEST: artefact.digest},
        spec_digest=manifest.spec_digest,
        data_fingerprint=manifest.data_fingerprint,
        code=manifest.code,
        lock=lock,
        lock_digest=sha256("\n".join(lock).encode()),
        evidence=evidence_digest(release.evidence),
        bom=sha256(bill),
        parent=parent,
        verdict=release.verdict,
        created=release.at,
        baseline=release.baseline,
    )
    write_atomic(run / ATTESTATION, to_json(attestation))
    trust.sign(run)
    return attestation


def must_be_as_judged(run: Path, artefact: str, release: ReleaseRecord) -> None:
    """Refuse a run whose records were changed after it was judged, as far as its attestation tells;
    where keys are trusted, its signature must hold too.

    Raises:
        ArtefactError: the evidence or the model is not what was attested.
    """
    path = run / ATTESTATION
    try:
        found = from_json(path.read_bytes(), Attestation, where=str(path))
    except OSError as error:
        raise ArtefactError(
            f"{path} cannot be read: {error.strerror}.", hint="Run again."
        ) from error
    trust.verify_words(run)
    if (artefact, evidence_digest(release.evidence)) != (found.artefact, found.evidence):
        raise ArtefactError(
            f"The records of run {run.name} are not those that it was judged by: release.json or "
            "the model was changed since.",
            hint="Run again.",
            rule="artifact_immutable",
        )


def evidence_digest(evidence: Sequence[Finding]) -> str:
    """sha256 of findings as they are when read again: a limit on whole bytes is a float then.

    Example:
        >>> from modelwright.core.records import Interval
        >>> whole, read = Interval(9, 9, 9), Interval(9.0, 9.0, 9.0)
        >>> a, b = (Finding("limit", "size", "pass", interval=one) for one in (whole, read))
        >>> evidence_digest([a]) == evidence_digest([b])
        True
    """
    again = from_json(to_json(tuple(evidence)), tuple[Finding, ...])
    return sha256(to_json(again))


def environment_lock(recorded: dict[str, str]) -> tuple[str, ...]:
    """`name==version` of Python, of every library that modelwright declares and that is here, and
    of all that those need in turn.

    Args:
        recorded: versions that the manifest has; they were those of the training.
    """
    found = {_plain(name): version for name, version in recorded.items() if name != "platform"}
    found.setdefault("python", platform.python_version())
    wanted, seen = deque(_declared()), set[str]()
    while wanted:
        name = wanted.popleft()
        if name in seen:
            continue
        seen.add(name)
        try:
            here = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.setdefault(name, here.version)
        wanted += [_plain(match[0]) for text in here.requires or ()
                   if (match := _NAME.match(text)) and not _EXTRA.search(text)]  # fmt: skip
    return tuple(sorted(f"{name}=={version}" for name, version in found.items()))


def _plain(name: str) -> str:
    """The one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared() -> Iterable[str]:
    """Distributions that modelwright asks for, without those of development."""
    try:
        requirements = importlib.metadata.requires("modelwright") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [
        _plain(match[0])
        for text in requirements
        if (match := _NAME.match(text)) and not set(_EXTRA.findall(text)) & set(DEVELOPMENT)
    ]
