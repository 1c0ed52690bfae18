"""The compiled graph says what the packed one says, to the last bit, on every model there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import modelwright as mw
from modelwright.core.errors import ArtefactError
from modelwright.core.intake import Feeds, feeds_from_rows
from modelwright.core.records import Manifest
from modelwright.pack import golden
from modelwright.pack.artefact import verified
from modelwright.pack.compiled import compiled
from modelwright.pack.inputs import TEXTS
from modelwright.serve.engine import Engine, engine_of
from projects import mixed_table
from serve.versions import TRIGGER, graph_of, row_of


def both(manifest: Manifest, model: bytes) -> tuple[Engine, Engine | None]:
    cut = compiled(model, manifest.inputs.get(TEXTS, ()))
    return Engine(manifest, model), Engine(manifest, cut.model, cut) if cut else None


def compiled_alike(folder: Path) -> None:
    """Where a model can be compiled, the compiled one says the same of made-up rows."""
    manifest, _, model = verified(folder)
    plain, faster = both(manifest, model)
    if faster is not None:
        alike(plain, faster, golden.probe_rows(manifest.schema, manifest.baseline, 2000))


def alike(plain: Engine, faster: Engine, feeds: Feeds) -> None:
    """Whole, and row by row."""
    assert golden.same(plain.run(plain.inputs(feeds)), faster.run(faster.inputs(feeds)))
    rows = len(next(iter(feeds.values())))
    for at in range(0, rows, max(1, rows // 50)):
        one = {name: values[at : at + 1] for name, values in feeds.items()}
        assert golden.same(plain.run(plain.inputs(one)), faster.run(faster.inputs(one)))


def test_the_compiled_graph_of_the_shop_is_the_same(released: mw.Released) -> None:
    manifest, _, model = verified(released.run / "artefact")
    plain, faster = both(manifest, model)
    assert faster is not None and faster.cut and faster.cut.labels
    table = mixed_table(3000, seed=9).drop("bought").to_dicts()
    alike(plain, faster, feeds_from_rows(manifest.schema, table))
    alike(plain, faster, golden.probe_rows(manifest.schema, manifest.baseline, 2000))


def test_the_engine_of_a_folder_is_warm_and_knows_its_costs(released: mw.Released) -> None:
    manifest, _, model = verified(released.run / "artefact")
    found = engine_of(manifest, model, "here")
    assert found.cut is not None
    before = found.curve.seconds(10)
    assert 0 < found.curve.seconds(1) <= before <= found.curve.seconds(1000) < 1
    for _ in range(200):
        found.curve.learn(10, before * 100)
    assert before * 2 < found.curve.seconds(10) < before * 100


def test_more_rows_than_one_run_are_the_same_rows(released: mw.Released) -> None:
    manifest, _, model = verified(released.run / "artefact")
    found = engine_of(manifest, model, "here")
    feeds = feeds_from_rows(manifest.schema, mixed_table(5000, seed=3).drop("bought").to_dicts())
    many = found.run(found.inputs(feeds)).raw
    part = {name: values[4000:4100] for name, values in feeds.items()}
    assert len(many) == 5000
    assert np.allclose(many[4000:4100], found.run(found.inputs(part)).raw, atol=1e-15, rtol=0)


def test_a_graph_that_cannot_answer_made_up_rows_is_refused(released: mw.Released) -> None:
    manifest, _, _ = verified(released.run / "artefact")
    model = graph_of(2, manifest, fails=True)
    found = engine_of(manifest, model, "here")
    with pytest.raises(Exception, match=r"out of bounds|indices"):
        found.run(found.inputs(feeds_from_rows(manifest.schema, [row_of(TRIGGER)])))
    with pytest.raises(ArtefactError, match="cannot load the model"):
        engine_of(manifest, b"\x08\x08:\x00", "here")
