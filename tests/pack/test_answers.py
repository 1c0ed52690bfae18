"""Blends and last touches in the graph: the same numbers as in NumPy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pandas as pd
import pytest

import modelwright as mw
from fit import exam
from modelwright.fit.family import FitJob, family_of
from modelwright.fit.features import fit_encoder
from modelwright.fit.outputs import Calibration, Outputs, Reach, Transform
from modelwright.fit.pipeline import Member, Pipeline
from modelwright.pack.convert import convert
from modelwright.pack.inputs import matrices
from modelwright.pack.parity import TIE, edge_rows
from modelwright.release.flat import flat_graph

CURVE = Calibration("isotonic", 1.0, (0.1, 0.3, 0.31, 0.8), (0.05, 0.2, 0.6, 0.9))
LABELLED = [
    Outputs(),
    Outputs(Calibration("temperature", 1.7)),
    Outputs(CURVE),
    Outputs(threshold=0.3),
    Outputs(CURVE, threshold=0.55),
    Outputs(costs=((0.0, 1.0), (7.0, 0.0))),
]


def blend(task: str, outputs: Outputs) -> tuple[Pipeline, dict[str, np.ndarray]]:
    """Trees of two kinds and a linear model, averaged."""
    parts = [exam.train(family_of(name), task) for name in ("lightgbm", "linear", "xgboost")]
    members = tuple(pipeline.members[0] for pipeline, _ in parts)
    return Pipeline(parts[0][0].schema, members, (0.5, 0.2, 0.3), outputs), parts[0][1].feeds


def answered(pipeline: Pipeline, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    converted = convert(pipeline)
    session = ort.InferenceSession(converted.model.SerializeToString())
    names = list(converted.outputs)
    found = session.run(list(converted.outputs.values()), matrices(feeds, converted.inputs))
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("outputs", LABELLED, ids=lambda o: f"{o.calibration.kind} {o.threshold}")
def test_labels_and_probabilities_of_a_blend(outputs: Outputs) -> None:
    pipeline, known = blend("binary", outputs)
    for feeds in (known, edge_rows(pipeline, known, seed=0)):
        wanted = pipeline.answer(feeds)
        found = answered(pipeline, feeds)
        np.testing.assert_allclose(found["probabilities"], wanted, rtol=1e-9, atol=1e-11)
        clear = np.abs(wanted[:, 1] - (outputs.threshold or 0.5)) > TIE
        if outputs.costs:
            clear = np.abs(wanted @ np.array(outputs.costs) @ [1, -1]) > TIE
        levels = np.array(pipeline.schema.target.levels)
        assert (found["label"] == levels[outputs.labels(wanted)])[clear].all()


def test_several_classes_with_costs_and_temperature() -> None:
    costs = ((0.0, 1.0, 2.0), (3.0, 0.0, 1.0), (1.0, 8.0, 0.0))
    pipeline, known = blend("multiclass", Outputs(Calibration("temperature", 0.6), costs=costs))
    wanted, found = pipeline.answer(known), answered(pipeline, known)
    np.testing.assert_allclose(found["probabilities"], wanted, rtol=1e-9, atol=1e-11)
    levels = np.array(pipeline.schema.target.levels)
    assert (found["label"] == levels[pipeline.outputs.labels(wanted)]).mean() > 0.999


@pytest.mark.parametrize("reach", [Reach(0.9, 0.7), Reach(0.8, 0.2, relative=True, floor=0.5)])
@pytest.mark.parametrize("kind", ["none", "log", "sqrt"])
def test_values_with_their_intervals(kind: str, reach: Reach) -> None:
    pipeline, known = blend("regression", Outputs(reach=reach))
    members = tuple(replace(m, transform=Transform(kind, 1.0)) for m in pipeline.members)
    pipeline = replace(pipeline, members=members)
    for feeds in (known, edge_rows(pipeline, known, seed=0)):
        wanted, found = pipeline.answer(feeds), answered(pipeline, feeds)
        low, high = reach.around(wanted)
        for name, values in (("value", wanted), ("low", low), ("high", high)):
            np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-9)


def test_members_with_one_encoding_share_its_steps() -> None:
    pipeline, _ = blend("binary", Outputs())
    trees = replace(pipeline, members=(pipeline.members[0],) * 2, weights=(0.5, 0.5))
    one = replace(pipeline, members=pipeline.members[:1], weights=(1.0,))
    kinds = [[n.op_type for n in convert(p).model.graph.node] for p in (one, trees)]
    assert kinds[0].count("LabelEncoder") == kinds[1].count("LabelEncoder") > 0
    assert kinds[1].count("TreeEnsemble") == 1  # the same member twice is one step


def test_features_that_no_tree_reads_leave_the_graph() -> None:
    pipeline, table = exam.train(family_of("lightgbm"), "binary")
    model = pipeline.members[0].model
    lone = replace(model, rounds=1)  # one tree reads few columns
    small = replace(pipeline, members=(replace(pipeline.members[0], model=lone),))
    whole, part = (len(convert(p).model.graph.node) for p in (pipeline, small))
    assert part < whole
    np.testing.assert_allclose(
        answered(small, table.feeds)["probabilities"], small.answer(table.feeds), rtol=1e-9
    )


def test_symmetric_trees_lose_the_splits_that_decide_nothing() -> None:
    pipeline, _ = exam.train(family_of("catboost"), "binary")
    assert convert(pipeline).nodes < 0.9 * len(pipeline.members[0].decision().feature)


@pytest.mark.parametrize("name", ["extra_trees", "random_forest"])
def test_forests_that_never_saw_a_class(name: str) -> None:
    schema, table = exam.table_for("multiclass")
    seen = table.take(np.flatnonzero(table.target != 1))
    family = family_of(name)
    encoder, x = fit_encoder(schema, seen, family.encoding, 0)
    job = FitJob(x=x, y=seen.target, task="multiclass", classes=3,
                 params=dict(family.defaults, n_estimators=5), seed=0, threads=1)  # fmt: skip
    pipeline = Pipeline(schema, (Member(name, encoder, family.fit(job)),))
    found = answered(pipeline, table.feeds)
    np.testing.assert_allclose(found["probabilities"], pipeline.answer(table.feeds), atol=1e-12)
    assert (found["probabilities"][:, 1] == 0).all()


@pytest.mark.slow
def test_mlflow_reads_columns_named_like_our_tensors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label, value = rng.normal(size=(2, 300)).round(3)
    texts = rng.choice(["a", "b"], 300)
    y = label - value + (texts == "a") + rng.normal(0, 0.1, 300)
    table = pd.DataFrame(
        {"label": label, "value": value, "texts": texts, "add_1": value**2, "y": y}
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "modelwright.yaml").write_text(
        "name: odd\ndata: {source: t.csv, target: y}\npack: {measure: process}\n"
        "fit: {budget: 3 trials, folds: 2, families: [lightgbm], interval: 0.8}\n"
    )
    released = mw.run(tmp_path / "modelwright.yaml")
    given = {name: table[name].to_numpy() for name in ("label", "value", "add_1")}
    given["texts"] = table["texts"].to_numpy().astype(object)
    artefact = mw.Artefact.load(released.run / "artefact")
    session = ort.InferenceSession(flat_graph(artefact).SerializeToString())
    wanted = artefact.predict(table.drop(columns="y"))
    for name in ("prediction", "low", "high"):
        [found] = session.run([name], given)
        np.testing.assert_allclose(found, wanted[name], rtol=1e-12)
