"""What a release says about where it comes from, in a form that can be signed."""

from __future__ import annotations

import msgspec

from modelwright.core.records import Verdict

ATTESTATION, SIGNATURE, BOM = "attestation.json", "attestation.sig", "bom.cdx.json"
"""Files of a run's folder that travel with the model."""
TRUSTED_KEYS = "MODELWRIGHT_TRUSTED_KEYS"
SIGNING_KEY = "MODELWRIGHT_SIGNING_KEY"


class Attestation(msgspec.Struct, frozen=True):
    """`attestation.json`: what a model is made of and what was found when it was judged.

    `artefact`: sha256 of its manifest.json; `files`: sha256 of every file of its folder;
    `lock`: `name==version` of Python, of each library that had a part and of what those need,
    `lock_digest` the sha256 of those lines; `evidence`: sha256 of the release's findings as JSON;
    `bom`: sha256 of the bill of materials; `parent`: artefact of the champion it was compared
    with, empty for none; `baseline`: sha256 of the manifest.json of the simple model that can stand
    in for it.
    """

    model: str
    run: str
    artefact: str
    files: dict[str, str]
    spec_digest: str
    data_fingerprint: str
    code: str
    lock: tuple[str, ...]
    lock_digest: str
    evidence: str
    bom: str
    parent: str
    verdict: Verdict
    created: str
    baseline: str = ""


class Signature(msgspec.Struct, frozen=True):
    """`attestation.sig`: Ed25519 over the exact bytes of attestation.json, in hex.

    `key`: the first 16 hex digits of the sha256 of the raw public key.
    """

    algorithm: str
    key: str
    signature: str
