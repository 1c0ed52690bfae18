"""Records survive JSON; files are whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

import modelwright as mw
from modelwright.core.errors import ArtefactError
from modelwright.core.records import DatasetRecord, FitRecord, Manifest, Measured, ReleaseRecord
from modelwright.core.store import from_json, to_json, write_atomic


def test_every_record_of_a_run_round_trips(released: mw.Released) -> None:
    files = {
        "dataset.json": DatasetRecord,
        "fit.json": FitRecord,
        "measured.json": Measured,
        "release.json": ReleaseRecord,
        "artefact/manifest.json": Manifest,
    }
    for name, kind in files.items():
        data = (released.run / name).read_bytes()
        assert to_json(from_json(data, kind)) == data, name


def test_a_broken_record_says_what_it_is() -> None:
    with pytest.raises(ArtefactError, match=r"run\.json is not a valid FitRecord record"):
        from_json(b"{", FitRecord, where="run.json")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "not bytes")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
