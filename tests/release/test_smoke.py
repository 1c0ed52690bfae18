"""A model is tried in a process that may die, before it is registered or promoted."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from mlflow import MlflowClient
from onnx import helper, numpy_helper

import modelwright as mw
from modelwright.core.errors import ArtefactError
from modelwright.core.store import sha256
from modelwright.release.smoke import answer, try_out
from projects import replace_model, writable_copy


@pytest.fixture
def folder(released: mw.Released, tmp_path: Path) -> Path:
    return writable_copy(released.run / "artefact", tmp_path / "artefact")


def with_extra(folder: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> str:
    """Add a part to the graph that makes `extra`, a number that is added to the answers."""
    model = onnx.load_model_from_string((folder / "model.onnx").read_bytes())
    output = json.loads((folder / "manifest.json").read_text())["outputs"]["probabilities"]
    for node in model.graph.node:
        for at, name in enumerate(node.output):
            node.output[at] = "answers" if name == output else name
        for at, name in enumerate(node.input):
            node.input[at] = "answers" if name == output else name
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
    model.graph.node.extend([*nodes, helper.make_node("Add", ["answers", "extra"], [output])])
    return replace_model(folder, model.SerializeToString())


def sixteen_gigabytes(folder: Path) -> str:
    """A few hundred bytes of graph: one number, doubled 31 times, and summed."""
    names = [f"d{i}" for i in range(32)]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=0) for a, b in itertools.pairwise(names)]
    nodes.append(helper.make_node("ReduceSum", [names[-1]], ["extra"], keepdims=0))
    return with_extra(folder, nodes, {"d0": np.zeros(1, np.float64)})


def minutes_of_work(folder: Path) -> str:
    """A matrix of 4096 x 4096 times itself, again and again."""
    nodes = [helper.make_node("MatMul", ["column", "row"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(200)]
    nodes.append(helper.make_node("ReduceSum", ["m200"], ["extra"], keepdims=0))
    zeros = np.zeros((4096, 1), np.float64)
    return with_extra(folder, nodes, {"column": zeros, "row": zeros.T.copy()})


def test_a_released_model_answers(released: mw.Released) -> None:
    try_out(released.run / "artefact", released.record.artefact)


def test_a_graph_that_asks_for_sixteen_gigabytes_is_refused(folder: Path) -> None:
    digest = sixteen_gigabytes(folder)
    began = psutil.Process().memory_info().rss
    with pytest.raises(ArtefactError, match=r"allowed: 2.0 GiB.*(alloc|memory)"):
        try_out(folder, digest, memory=2 * 2**30)
    assert psutil.Process().memory_info().rss - began < 100e6


def test_a_graph_that_does_not_come_to_an_end_is_killed_at_the_deadline(folder: Path) -> None:
    digest = minutes_of_work(folder)
    before, began = set(psutil.Process().children()), time.perf_counter()
    with pytest.raises(ArtefactError, match="did not answer its own example within 2 s"):
        try_out(folder, digest, seconds=2)
    assert time.perf_counter() - began < 10
    assert set(psutil.Process().children()) == before


def test_a_small_model_needs_little_memory(folder: Path) -> None:
    try_out(folder, sha256((folder / "manifest.json").read_bytes()), memory=400 * 2**20)


def test_too_little_memory_for_any_model_is_said(folder: Path) -> None:
    with pytest.raises(ArtefactError, match="was refused"):
        try_out(folder, sha256((folder / "manifest.json").read_bytes()), memory=2**20)


def test_an_answer_that_is_no_number_is_refused(folder: Path) -> None:
    nodes = [helper.make_node("Identity", ["nothing"], ["extra"])]
    digest = with_extra(folder, nodes, {"nothing": np.array(np.nan, np.float64)})
    with pytest.raises(ArtefactError, match="answers its own example with"):
        answer(folder, digest)


def test_another_model_than_the_one_named_is_refused(folder: Path) -> None:
    with pytest.raises(ArtefactError, match="is not the model that was released"):
        try_out(folder, "0" * 64)


def test_promote_refuses_what_cannot_answer(project: Path) -> None:
    """The registry's own version is replaced by a bomb, tags and all."""
    [run] = (project / "runs").iterdir()
    bomb = writable_copy(run / "artefact", project / "bomb")
    digest = sixteen_gigabytes(bomb)
    (run / "artefact").rename(project / "gone")
    bomb.rename(run / "artefact")
    registry = mw.Registry(project)
    MlflowClient(registry.uri).set_model_version_tag("shop", "1", "modelwright.digest", digest)
    registry.remove_alias("shop", "champion")
    with pytest.raises(ArtefactError, match="was refused"):
        mw.promote("shop", "1", folder=project)
    assert registry.aliased("shop", "champion") is None
    # the first release, and the champion that this test took away behind modelwright's back
    assert [line.action for line in mw.AuditLog(project).lines()] == ["promote", "moved"]
