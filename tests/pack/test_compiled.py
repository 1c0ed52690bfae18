"""A graph without its text lookups, the same to the last bit for every family, task and ending."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from fit import exam
from modelwright.core.intake import Feeds, feeds_from_rows
from modelwright.core.records import Manifest
from modelwright.core.schema import Column, Schema, Target
from modelwright.core.table import Table
from modelwright.data.kinds import describe
from modelwright.fit.family import FAMILIES, FitJob, family_of
from modelwright.fit.features import fit_encoder
from modelwright.fit.outputs import Calibration, Outputs, Reach
from modelwright.fit.pipeline import Member, Pipeline
from modelwright.pack import golden
from modelwright.pack.compiled import compiled
from modelwright.pack.convert import convert
from modelwright.pack.guard import check_onnx
from modelwright.pack.inputs import TEXTS
from modelwright.pack.parity import edge_rows
from modelwright.serve.engine import Engine
from serve import made


def packed(pipeline: Pipeline) -> tuple[Manifest, bytes]:
    """As it lies in a model folder."""
    converted = convert(pipeline)
    manifest = msgspec.structs.replace(
        made.manifest(), schema=pipeline.schema, inputs=converted.inputs, outputs=converted.outputs
    )
    return manifest, converted.model.SerializeToString()


def compared(pipeline: Pipeline, *tables: Feeds) -> Engine:
    """Both forms answer alike: whole tables, and some rows by themselves."""
    manifest, model = packed(pipeline)
    cut = compiled(model, manifest.inputs.get(TEXTS, ()))
    assert cut is not None
    check_onnx(cut.model)
    assert len(cut.model) < len(model) + 1000
    plain, faster = Engine(manifest, model), Engine(manifest, cut.model, cut)
    for feeds in (*tables, golden.probe_rows(manifest.schema, {}, 300)):
        assert golden.same(plain.run(plain.inputs(feeds)), faster.run(faster.inputs(feeds)))
        for at in range(0, len(next(iter(feeds.values()))), 17):
            one = {name: values[at : at + 1] for name, values in feeds.items()}
            assert golden.same(plain.run(plain.inputs(one)), faster.run(faster.inputs(one)))
    return faster


def with_odd_texts(feeds: Feeds) -> Feeds:
    """Texts that training never saw, and none."""
    found = dict(feeds)
    found["text"] = np.array([*["never seen", "", "a ", "A"] * len(feeds["text"])], object)
    found["text"] = found["text"][: len(feeds["text"])]
    return found


@pytest.mark.parametrize("task", exam.TASKS)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_and_task(name: str, task: str) -> None:
    pipeline, table = exam.train(family_of(name), task)
    if name == "dummy" and task == "regression":  # it reads no column and has no label
        manifest, model = packed(pipeline)
        assert compiled(model, manifest.inputs.get(TEXTS, ())) is None
        return
    edges = edge_rows(pipeline, table.feeds, seed=0)
    faster = compared(pipeline, table.feeds, with_odd_texts(table.feeds), edges)
    assert faster.cut is not None
    if task != "regression":
        assert set(faster.cut.labels) == set(pipeline.schema.target.levels)


@pytest.mark.parametrize(
    "outputs",
    [Outputs(threshold=0.3), Outputs(Calibration("temperature", 1.7)),
     Outputs(costs=((0.0, 1.0), (7.0, 0.0)))],
    ids=["threshold", "temperature", "costs"],
)  # fmt: skip
def test_blends_and_how_they_end(outputs: Outputs) -> None:
    parts = [exam.train(family_of(name), "binary") for name in ("lightgbm", "linear")]
    members = tuple(pipeline.members[0] for pipeline, _ in parts)
    compared(Pipeline(parts[0][0].schema, members, (0.6, 0.4), outputs), parts[0][1].feeds)


def test_labels_that_are_numbers() -> None:
    pipeline, table = exam.train(family_of("lightgbm"), "multiclass")
    target = Target("y", "multiclass", "integer", ("0", "1", "2"))
    schema = msgspec.structs.replace(pipeline.schema, target=target)
    faster = compared(replace(pipeline, schema=schema), table.feeds)
    assert faster.cut and set(faster.cut.labels) == {"0", "1", "2"}
    assert set(faster.run(faster.inputs(table.feeds)).predictions()) <= {0, 1, 2}


def test_values_with_their_intervals() -> None:
    pipeline, table = exam.train(family_of("lightgbm"), "regression")
    target = msgspec.structs.replace(pipeline.schema.target, interval=0.9)
    schema = msgspec.structs.replace(pipeline.schema, target=target)
    reached = replace(pipeline, schema=schema, outputs=Outputs(reach=Reach(0.9, 0.5)))
    faster = compared(reached, table.feeds)
    found = faster.run(faster.inputs(table.feeds))
    assert found.low is not None and found.high is not None and (found.low < found.high).all()


def test_a_wide_table_of_texts() -> None:
    rng = np.random.default_rng(0)
    rows, width = 300, 150
    feeds = {f"c{n}": rng.choice([f"v{n % 7}", "b", "", "d"], rows).astype(object)
             for n in range(width)}  # fmt: skip
    target = ((feeds["c0"] == "b") ^ (rng.random(rows) < 0.1)).astype(np.int64)
    columns = tuple(describe(Column(name, "category"), values) for name, values in feeds.items())
    schema = Schema(columns, Target("y", "binary", "string", ("no", "yes")))
    family = family_of("lightgbm")
    encoder, x = fit_encoder(schema, Table(feeds, target), family.encoding, 0)
    job = FitJob(x=x, y=target, x_valid=x, y_valid=target, task="binary", classes=2,
                 params=dict(family.defaults), seed=0, threads=1)  # fmt: skip
    pipeline = Pipeline(schema, (Member(family.name, encoder, family.fit(job)),))
    compared(pipeline, feeds, feeds_from_rows(schema, [{}, {"c0": "b"}, {"c0": "never"}]))


def test_a_graph_without_texts_and_labels_is_left_alone() -> None:
    assert compiled(b"", ()) is None
