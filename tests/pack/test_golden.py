"""Golden rows: the same every time, and another answer is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import modelwright as mw
from modelwright.core.errors import ArtefactError
from modelwright.core.schema import MISSING_TIME
from modelwright.pack import golden
from modelwright.pack.artefact import Answers, verified
from modelwright.serve.live import LiveModel
from modelwright.serve.settings import Settings
from serve.versions import graph_of, made_version, replace_golden


def test_rows_walk_over_all_that_a_column_can_be(released: mw.Released) -> None:
    manifest, _, _ = verified(released.run / "artefact")
    rows = golden.probe_rows(manifest.schema, manifest.baseline, 300)
    again = golden.probe_rows(manifest.schema, manifest.baseline, 300)
    assert all(np.array_equal(rows[c], again[c], equal_nan=rows[c].dtype.kind == "f") for c in rows)
    assert {"red", "", golden.UNSEEN} <= set(rows["colour"])
    assert np.isnan(rows["size, cm"]).any() and MISSING_TIME in rows["start"]
    assert set(rows["member"][~np.isnan(rows["member"])]) == {0.0, 1.0}


def test_what_was_recorded_is_read_as_it_was(released: mw.Released) -> None:
    folder = released.run / "artefact"
    manifest, _, _ = verified(folder)
    known = golden.read(folder, manifest)
    assert known is not None
    feeds, wanted = known
    rows = golden.probe_rows(manifest.schema, manifest.baseline, golden.rows_of(manifest.schema))
    assert all(np.array_equal(feeds[c], rows[c], equal_nan=feeds[c].dtype.kind == "f")
               for c in feeds)  # fmt: skip
    golden.check(wanted, mw.Artefact.load(folder).answer(feeds), folder)


def test_another_answer_is_refused(released: mw.Released, tmp_path: Path) -> None:
    manifest, _, _ = verified(released.run / "artefact")
    place = tmp_path / "made"
    made_version(released.run / "artefact", place, graph_of(2, manifest))
    load = {"name": "shop", "version": "2", "tried": True}
    assert LiveModel.load(place, Settings(models=()), **load).version == "2"  # type: ignore[arg-type]
    known = golden.read(place, manifest)
    assert known is not None
    feeds, wanted = known
    off = wanted.copy()
    off[7, 0] += 5e-6
    replace_golden(place, feeds, Answers(manifest.schema, probabilities=off))
    with pytest.raises(ArtefactError, match="golden row 7"):
        LiveModel.load(place, Settings(models=()), **load)  # type: ignore[arg-type]
    off[7, 0] = wanted[7, 0] + 5e-7  # another processor may do that
    replace_golden(place, feeds, Answers(manifest.schema, probabilities=off))
    assert LiveModel.load(place, Settings(models=()), **load)  # type: ignore[arg-type]


def test_other_shapes_and_numbers_that_are_none_are_refused(released: mw.Released) -> None:
    manifest, _, _ = verified(released.run / "artefact")
    wanted = np.array([[0.5, 0.5], [0.1, 0.9]])
    for given in (wanted[:1], np.array([[0.5, 0.5], [np.nan, 0.9]])):
        with pytest.raises(ArtefactError):
            golden.check(wanted, Answers(manifest.schema, probabilities=given), "here")
    golden.check(wanted, Answers(manifest.schema, probabilities=wanted), "here")
