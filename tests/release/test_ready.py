"""Whether a version may go to production."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import msgspec
import pytest

from modelwright.core.errors import ArtefactError, Refused
from modelwright.core.policy import FILE
from modelwright.core.principal import Principal, acting_as
from modelwright.core.records import ReleaseRecord
from modelwright.core.store import from_json, sha256, to_json
from modelwright.release.ready import must_be_ready
from modelwright.release.registry import Registry, Version
from projects import writable_copy

AGENT = Principal("agent a", "agent")


@pytest.fixture
def version(project: Path) -> Version:
    return Registry(project).resolve("shop")


@pytest.fixture
def artefact(project: Path, version: Version, tmp_path: Path) -> Path:
    return writable_copy(project / "runs" / version.run / "artefact", tmp_path / "artefact")


def changed(artefact: Path, file: str, **values: object) -> str:
    """Change a JSON file of a model as if it had been packed so; the model's new digest."""
    path = artefact / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    manifest = artefact / "manifest.json"
    if file != manifest.name:
        found = json.loads(manifest.read_text())
        found["files"][file] = sha256(path.read_bytes())
        manifest.write_text(json.dumps(found))
    return sha256(manifest.read_bytes())


def fill_card(project: Path, version: Version) -> None:
    path = project / "runs" / version.run / "release.json"
    record = from_json(path.read_bytes(), ReleaseRecord)
    evidence = tuple(
        msgspec.structs.replace(one, verdict="pass") if one.check == "card" else one
        for one in record.evidence
    )
    path.write_bytes(to_json(msgspec.structs.replace(record, evidence=evidence)))


def test_people_are_held_to_the_records_only(
    project: Path, artefact: Path, version: Version
) -> None:
    must_be_ready(project, artefact, version, has_champion=False)
    digest = changed(artefact, "manifest.json", data_fingerprint="", versions={})
    other = dataclasses.replace(version, digest=digest)
    with pytest.raises(Refused, match="from what it was made: the data, the libraries") as caught:
        must_be_ready(project, artefact, other, has_champion=True)
    assert caught.value.rule == "repro_required"


def test_files_that_changed(project: Path, artefact: Path, version: Version) -> None:
    (artefact / "golden.json").write_text("[]")
    with pytest.raises(ArtefactError) as caught:
        must_be_ready(project, artefact, version, has_champion=True)
    assert caught.value.rule == "artifact_immutable"


def test_the_card(project: Path, artefact: Path, version: Version) -> None:
    (project / FILE).write_text("rules: {monitor_and_rollback_ready: 'off'}\n")
    with acting_as(AGENT):
        with pytest.raises(Refused, match="card of shop/1 is not complete") as caught:
            must_be_ready(project, artefact, version, has_champion=True)
        assert caught.value.rule == "card_complete"
        assert "intent: and out_of_scope:" in str(caught.value.hint)
        fill_card(project, version)
        must_be_ready(project, artefact, version, has_champion=True)
        (project / "runs" / version.run / "release.json").unlink()
        with pytest.raises(Refused, match="is not on this machine"):
            must_be_ready(project, artefact, version, has_champion=True)


@pytest.mark.parametrize(
    ("serve", "champion", "lacking"),
    [
        ({}, True, ["a journal"]),
        ({}, False, ["a journal", "a way back"]),
        ({"journal": {"to": "journal"}}, False, ["a way back"]),
        ({"journal": {"to": "journal"}}, True, []),
        ({"journal": {"to": "journal"}, "fallback": ["baseline"]}, False, []),
    ],
)
def test_watch_and_way_back(
    project: Path,
    artefact: Path,
    version: Version,
    serve: dict[str, object],
    champion: bool,
    lacking: list[str],
) -> None:
    fill_card(project, version)
    digest = changed(artefact, "spec.json", serve=serve)
    other = dataclasses.replace(version, digest=digest)
    with acting_as(AGENT):
        if not lacking:
            must_be_ready(project, artefact, other, has_champion=champion)
            return
        with pytest.raises(Refused) as caught:
            must_be_ready(project, artefact, other, has_champion=champion)
    assert caught.value.rule == "monitor_and_rollback_ready"
    found = caught.value.evidence["lacking"]
    assert len(found) == len(lacking)
    assert all(text.startswith(start) for text, start in zip(found, lacking, strict=True))
