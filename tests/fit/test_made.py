"""Candidates made of others: networks with rounded weights, students of several classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import polars as pl
import pytest

from fit import exam
from fit.test_search import fitted, searched
from modelwright.data.dataset import load
from modelwright.fit.again import fit_again
from modelwright.fit.decision import rounded, scale_of, small_of
from modelwright.fit.families.lightgbm import FittedLightGBM
from modelwright.fit.families.network import FittedNetwork
from modelwright.fit.family import FitJob, family_of
from modelwright.fit.features import fit_encoder
from modelwright.fit.pipeline import Member, Pipeline
from modelwright.pack.convert import convert
from modelwright.pack.guard import check_onnx
from modelwright.pack.inputs import matrices
from modelwright.pack.parity import edge_rows
from projects import spec_for


@pytest.mark.parametrize("stored", ["float16", "int8"])
@pytest.mark.parametrize("size", [1e-9, 1.0, 3e7])
def test_rounded_weights_are_kept_exactly(stored: str, size: float) -> None:
    rng = np.random.default_rng(0)
    weights = size * rng.normal(size=(40, 9)) * rng.choice([1e-3, 1.0, 50.0], 9)
    weights[:, 3] = 0.0
    found = rounded(weights, stored)
    again = small_of(found, stored).astype(np.float64) * scale_of(found, stored)
    np.testing.assert_array_equal(found, again)
    np.testing.assert_array_equal(rounded(found, stored), found)
    largest = np.abs(weights).max(axis=0)
    assert (np.abs(found - weights) <= largest / (120 if stored == "int8" else 1000)).all()
    assert small_of(found, stored).itemsize == (1 if stored == "int8" else 2)


@pytest.mark.parametrize("task", exam.TASKS)
@pytest.mark.parametrize("stored", ["float16", "int8"])
def test_a_rounded_network_converts_exactly_and_is_smaller(stored: str, task: str) -> None:
    pipeline, table = exam.train(family_of("network"), task)
    whole = pipeline.members[0]
    assert isinstance(whole.model, FittedNetwork)
    model = whole.model.kept_as(stored)
    small = Pipeline(pipeline.schema, (Member("network", whole.encoder, model),))
    data = [convert(p).model.SerializeToString() for p in (pipeline, small)]
    check_onnx(data[1])
    assert len(data[1]) < len(data[0]) * (0.65 if stored == "float16" else 0.55)
    converted = convert(small)
    assert converted.nodes < convert(pipeline).nodes / 3
    session = ort.InferenceSession(data[1])
    output = converted.outputs["value" if task == "regression" else "probabilities"]
    for feeds in (table.feeds, edge_rows(small, table.feeds, seed=0)):
        [found] = session.run([output], matrices(feeds, converted.inputs))
        np.testing.assert_allclose(found, small.answer(feeds), rtol=1e-9, atol=1e-12)
    assert not np.array_equal(small.answer(table.feeds), pipeline.answer(table.feeds))


def smooth(folder: Path, rows: int = 600) -> None:
    """A target that a network learns better than trees do."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 4))
    y = np.sin(x[:, 0]) * x[:, 1] + x[:, 2] * x[:, 3] + rng.normal(0, 0.05, rows)
    pl.DataFrame({**{f"c{n}": x[:, n] for n in range(4)}, "y": y}).write_csv(folder / "t.csv")


def test_smaller_weights_are_candidates_where_quality_may_be_given_up(tmp_path: Path) -> None:
    smooth(tmp_path)
    fit = "fit: {budget: 4 trials, folds: 2, families: [network, lightgbm]}\n"
    file = spec_for(tmp_path, "t.csv", "y", fit + "pack: {drop_at_most: 0.05}\n")
    dataset = load(file)
    found = searched(file, dataset)
    made = {c.note.split()[-1]: c for c in found.ledger.candidates if c.origin == "quantised"}
    assert set(made) == {"float16", "int8"}
    card = found.ledger.scorecard
    for candidate in made.values():
        assert candidate.outcome == "complete" and np.isfinite(card.mean(candidate.number))
    finalists = found.finalists()
    assert finalists[0].origin == "quantised", [c.note for c in finalists]
    chosen = found.fit(finalists[0], {})
    stored = {getattr(m.model, "stored", "") for m in chosen.best.members}
    assert stored & {"float16", "int8"}
    again = fit_again(file.spec, dataset, chosen.record)
    feeds = dataset.train.feeds
    np.testing.assert_array_equal(again.answer(feeds), chosen.best.answer(feeds))


def test_nothing_is_rounded_unless_it_is_asked_for(tmp_path: Path) -> None:
    smooth(tmp_path, 300)
    fit = "fit: {budget: 4 trials, folds: 2, families: [network, lightgbm]}\n"
    file = spec_for(tmp_path, "t.csv", "y", fit)
    assert not [t for t in fitted(file, load(file)).record.trials if t.origin == "quantised"]


def test_a_student_of_several_classes_learns_chances(tmp_path: Path) -> None:
    """Taught the true chances, it is nearer to them than taught one drawn label a row."""
    schema, table = exam.table_for("multiclass", 1500)
    family = family_of("lightgbm")
    encoder, x = fit_encoder(schema, table, family.encoding, 0)
    rng = np.random.default_rng(0)
    raw = np.stack([np.nan_to_num(x[:, 0]), -np.nan_to_num(x[:, 0]), x[:, 1] / 9], axis=1)
    chances = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    drawn = (rng.random(1500)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    common = {"task": "multiclass", "classes": 3, "params": dict(family.defaults), "seed": 0,
              "threads": 1, "x_valid": x[:300], "y_valid": drawn[:300]}  # fmt: skip
    taught = family.fit(FitJob(x[300:], chances[300:], soft=True, **common))
    plain = family.fit(FitJob(x[300:], drawn[300:], **common))
    off = [np.abs(m.answer(x[:300]) - chances[:300]).mean() for m in (taught, plain)]
    assert off[0] < off[1], off
    pipeline = Pipeline(schema, (Member("lightgbm", encoder, taught),))
    converted = convert(pipeline)
    session = ort.InferenceSession(converted.model.SerializeToString())
    [found] = session.run(
        [converted.outputs["probabilities"]], matrices(table.feeds, converted.inputs)
    )
    np.testing.assert_allclose(found, pipeline.answer(table.feeds), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_the_best_blend_of_several_classes_teaches_a_single_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(700, 5))
    raw = np.stack([x[:, 0] + x[:, 1], x[:, 1] * x[:, 2], x[:, 3]], axis=1)
    code = (raw + rng.gumbel(size=raw.shape)).argmax(axis=1)
    columns = {f"c{n}": x[:, n] for n in range(5)}
    pl.DataFrame({**columns, "y": np.array(["a", "b", "c"])[code]}).write_csv(tmp_path / "t.csv")
    fit = "fit: {budget: 9 trials, folds: 3, families: [lightgbm, xgboost, extra_trees]}\n"
    file = spec_for(tmp_path, "t.csv", "y", fit)
    dataset = load(file)
    found = searched(file, dataset)
    students = [c for c in found.ledger.candidates if c.origin == "distilled"]
    assert [c.name for c in students] == ["lightgbm"] and students[0].outcome == "complete"
    pipeline = found.pipeline(students[0])
    model = pipeline.members[0].model
    assert isinstance(model, FittedLightGBM) and model.raw
    record = found.fit(students[0], {}).record
    again, feeds = fit_again(file.spec, dataset, record), dataset.train.feeds
    np.testing.assert_array_equal(again.answer(feeds), pipeline.answer(feeds))


def test_where_a_limit_shuts_out_trees_fewer_of_them_are_tried(tmp_path: Path) -> None:
    """Between a line's size and that of a default's trees there is a better model than the line."""
    rng = np.random.default_rng(2)
    x, z = rng.normal(size=(2, 2600))
    label = np.where(np.sin(3 * x) * z + rng.normal(0, 0.4, 2600) > 0, "a", "b")
    pl.DataFrame({"x": x, "z": z, "y": label}).write_csv(tmp_path / "t.csv")
    fit = "fit: {budget: 5 trials, folds: 4, blend: false, families: [lightgbm, xgboost]}\n"
    pack = "pack: {measure: process}\n"
    file = spec_for(tmp_path, "t.csv", "y", f"{fit}{pack}limits: {{size: 33 kB}}\n")
    found = searched(file, load(file))
    chooser, whole = found.ledger.chooser, found.ledger.complete()
    made = [c for c in whole if c.origin == "shortened"]
    assert all(c.broken for c in whole if c.name != "linear" and c not in made)
    assert {c.name for c in made} == {"lightgbm", "xgboost"}, [(c.name, c.price) for c in whole]
    best = chooser.ranked([c for c in made if not c.broken])[0]
    [line] = [c for c in whole if c.name == "linear" and c.origin == "default"]
    lead, error = found.ledger.scorecard.lead(best.number, line.number)
    assert lead > 5 * error
    assert best.price is not None and 0.6 * 33_000 < best.price.size <= 33_000
    assert found.finalists()[0] in made
    room = [c for c in found.finalists() if c.price is not None and c.price.size < 28_000]
    assert any(not c.broken for c in room)  # should the real server need more than expected
