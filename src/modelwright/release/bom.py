"""A bill of materials of a model: CycloneDX 1.6 JSON, which scanners and inventories read.

Source: https://cyclonedx.org/docs/1.6/json/ (ECMA-424). The serial number and the time come from
the release, so that the same release has the same bill.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from modelwright.core.records import DatasetRecord, Finding, ReleaseRecord
from modelwright.core.spec import Spec
from modelwright.core.version import __version__
from modelwright.pack.artefact import MANIFEST, MODEL, Artefact

APPROACH = "supervised"
_TASKS = {"binary": "classification", "multiclass": "classification", "regression": "regression"}
_DIGITS = 64
"""Hex digits of a sha256; shorter fingerprints are told as properties."""


@dataclass(frozen=True)
class Materials:
    """What a bill is written from; `lock` has a `name==version` line a library."""

    artefact: Artefact
    release: ReleaseRecord
    spec: Spec
    dataset: DatasetRecord
    lock: tuple[str, ...]


def bill_of_materials(of: Materials) -> dict[str, Any]:
    """The bill as a JSON document: the model with its card, its data, the libraries.

    Example:
        bill = bill_of_materials(Materials(artefact, release, spec, dataset, lock))
        bill["metadata"]["component"]["type"]  # 'machine-learning-model'
    """
    model, data = _model(of), _data(of)
    libraries = [_library(line) for line in of.lock]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"modelwright:{of.release.run}:{of.artefact.digest}")
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": of.release.at,
            "tools": {
                "components": [
                    {"type": "application", "name": "modelwright", "version": __version__}
                ]
            },
            "component": model,
        },
        "components": [data, *libraries],
        "dependencies": [
            {
                "ref": model["bom-ref"],
                "dependsOn": [data["bom-ref"], *(c["bom-ref"] for c in libraries)],
            }
        ],
    }


def _model(of: Materials) -> dict[str, Any]:
    manifest = of.artefact.manifest
    files = {**manifest.files, MANIFEST: of.artefact.digest}
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{of.artefact.digest}",
        "name": manifest.model,
        "version": of.artefact.digest[:12],
        **_said("description", of.spec.intent),
        "hashes": [_sha256(manifest.files[MODEL])],
        "components": [
            {
                "type": "file",
                "bom-ref": f"file:{of.artefact.digest[:12]}:{name}",
                "name": name,
                "hashes": [_sha256(digest)],
            }
            for name, digest in sorted(files.items())
        ],
        "modelCard": _card(of),
        "properties": _properties(
            run=of.release.run,
            verdict=of.release.verdict,
            spec=manifest.spec_digest,
            code=manifest.code,
            seed=str(manifest.seed),
        ),
    }


def _card(of: Materials) -> dict[str, Any]:
    manifest, schema = of.artefact.manifest, of.artefact.schema
    card: dict[str, Any] = {
        "modelParameters": {
            "approach": {"type": APPROACH},
            "task": _TASKS[schema.target.task],
            "architectureFamily": manifest.family,
            "datasets": [{"ref": _data_ref(of)}],
            "inputs": [{"format": f"{c.name}: {c.kind}"} for c in schema.features],
            "outputs": [{"format": name} for name in manifest.outputs],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                _metric(f)
                for f in of.release.evidence
                if f.interval is not None and f.check in ("goal", "metric", "limit", "slice")
            ]
        },
    }
    considerations: dict[str, Any] = {}
    if of.spec.intent:
        considerations["useCases"] = [of.spec.intent]
    if of.spec.out_of_scope:
        considerations["technicalLimitations"] = [f"Not for: {of.spec.out_of_scope}"]
    if considerations:
        card["considerations"] = considerations
    return card


def _metric(finding: Finding) -> dict[str, Any]:
    assert finding.interval is not None
    low, high = finding.interval.low, finding.interval.high
    name, _, part = finding.subject.partition(" where ")
    return {
        "type": name,
        "value": f"{finding.interval.value:.6g}",
        **_said("slice", part),
        "confidenceInterval": {"lowerBound": f"{low:.6g}", "upperBound": f"{high:.6g}"},
    }


def _data(of: Materials) -> dict[str, Any]:
    dataset = of.dataset
    fingerprint = dataset.fingerprint
    whole = len(fingerprint) == _DIGITS
    return {
        "type": "data",
        "bom-ref": _data_ref(of),
        "name": dataset.source.rsplit("/", 1)[-1].partition("?")[0] or "table",
        "version": fingerprint,
        **({"hashes": [_sha256(fingerprint)]} if whole else {}),
        "data": [{"type": "dataset", "name": f"{dataset.rows} rows, split {dataset.split}"}],
        "properties": _properties(
            fingerprint=fingerprint,
            rows=str(dataset.rows),
            train_rows=str(dataset.train_rows),
            holdout_rows=str(dataset.holdout_rows),
            holdout_fingerprint=dataset.holdout_fingerprint,
            **{f"origin.{name}": value for name, value in dataset.origin.items()},
        ),
    }


def _data_ref(of: Materials) -> str:
    return f"data:{of.dataset.fingerprint}"


def _library(line: str) -> dict[str, Any]:
    name, _, version = line.partition("==")
    kind = "platform" if name == "python" else "library"
    purl = f"pkg:generic/python@{quote(version)}"
    if kind == "library":
        purl = f"pkg:pypi/{name.replace('_', '-')}@{quote(version)}"
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest}


def _properties(**values: str) -> list[dict[str, str]]:
    return [{"name": f"modelwright:{name}", "value": v} for name, v in values.items() if v]


def _said(key: str, text: str) -> dict[str, str]:
    return {key: text} if text else {}
