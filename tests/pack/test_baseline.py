"""A run's baseline is a model folder of its own: proved, registered and fetched as the model is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import modelwright as mw
from modelwright.core.errors import ArtefactError, RegistryError
from modelwright.release.fetch import fetch
from modelwright.release.registry import Registry, fetch_baseline
from projects import QUICK


def test_it_lies_beside_the_model_and_is_another_kind(released: mw.Released) -> None:
    model = mw.Artefact.load(released.run / "artefact")
    baseline = mw.Artefact.load(released.run / "baseline", digest=released.record.baseline)
    assert baseline.manifest.family in ("linear", "dummy")
    assert baseline.manifest.family != model.manifest.family
    assert baseline.manifest.model == "shop"
    assert baseline.manifest.parity.rows == model.manifest.parity.rows == 600
    assert baseline.manifest.scores and not (released.run / ".baseline").exists()
    assert baseline.schema.target.levels == model.schema.target.levels


def test_the_version_names_it_and_the_registry_brings_it(
    project: Path, released: mw.Released
) -> None:
    registry = Registry(project)
    version = registry.resolve("shop")
    assert version.baseline == released.record.baseline
    assert fetch_baseline(registry, version).name == "baseline"
    shutil.rmtree(next((project / "runs").iterdir()) / "baseline")
    found = fetch(project, "shop", "1", "baseline")
    assert found == project / ".modelwright" / "artefacts" / version.baseline
    assert mw.gc(project) == []  # a version refers to it


def test_versions_of_before_have_none(project: Path) -> None:
    registry = Registry(project)
    with registry.client() as client:
        client.delete_model_version_tag("shop", "1", "modelwright.baseline")
    with pytest.raises(RegistryError, match="Version 1 of shop has no baseline"):
        fetch(project, "shop", "1", "baseline")


@pytest.mark.slow
def test_a_signature_vouches_for_it_too(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public, _ = mw.new_keys(tmp_path / "keys")
    monkeypatch.setenv("MODELWRIGHT_SIGNING_KEY", str(private))
    monkeypatch.setenv("MODELWRIGHT_TRUSTED_KEYS", str(public))
    released = mw.run(shop / "modelwright.yaml", overrides=QUICK)
    assert fetch(shop, "shop", "1", "baseline") == shop / "runs" / released.run.name / "baseline"
    shutil.rmtree(released.run / "baseline")
    assert (fetch(shop, "shop", "1", "baseline") / "attestation.sig").exists()
    _, other, _ = mw.new_keys(tmp_path / "others")
    monkeypatch.setenv("MODELWRIGHT_TRUSTED_KEYS", str(other))
    with pytest.raises(ArtefactError, match="is not trusted here"):
        fetch(shop, "shop", "1", "baseline")
