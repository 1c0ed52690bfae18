"""Small runs over bound memory say what `InferenceSession.run` says, and share nothing."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelwright.pack.artefact import ORT_ERRORS
from modelwright.serve.bound import MOST_ROWS, BoundRuns

WEIGHTS = np.random.default_rng(0).normal(size=(3, 2))


def session_of(
    nodes: Sequence[tuple[str, list[str], str]], outputs: dict[str, int], given: int = 11
) -> ort.InferenceSession:
    """A graph of numbers `x` [rows, 3] with the constants `weights` and `all`."""
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [name]) for kind, inputs, name in nodes], "g",
        [helper.make_tensor_value_info("x", given, [None, 3])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(WEIGHTS, "weights"),
         numpy_helper.from_array(np.array([1], np.int64), "one")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def product() -> ort.InferenceSession:
    return session_of(
        [("MatMul", ["x", "weights"], "y"), ("IsNaN", ["y"], "odd")],
        {"y": TensorProto.DOUBLE, "odd": TensorProto.BOOL},
    )


def same(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(found, wanted, strict=True))


def test_every_size_says_what_a_run_says() -> None:
    session, rng = product(), np.random.default_rng(1)
    runs = BoundRuns(session, ["odd", "y"])
    for rows in rng.permutation(np.repeat(np.arange(MOST_ROWS + 4), 3)).tolist():
        x = rng.normal(size=(rows, 3))
        x[rng.random(x.shape) < 0.1] = rng.choice([np.nan, np.inf, -0.0])
        assert same(runs.run({"x": x}, rows), session.run(["odd", "y"], {"x": x}))


def test_answers_are_not_written_over_by_the_next() -> None:
    runs, first = BoundRuns(product(), ["y"]), np.ones((2, 3))
    for _ in range(2):
        kept = runs.run({"x": first}, 2)[0]
    before = kept.copy()
    runs.run({"x": 5 * first}, 2)
    np.testing.assert_array_equal(kept, before)


def test_threads_do_not_meet_in_the_same_memory() -> None:
    session = product()
    runs, wrong = BoundRuns(session, ["y"]), []

    def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(2000):
            x = rng.normal(size=(int(rng.integers(1, 4)), 3))
            if not np.allclose(runs.run({"x": x}, len(x))[0], x @ WEIGHTS, rtol=1e-12):
                wrong.append(x)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("nodes", [
    [("ReduceSum", ["x", "one"], "y")],
    [("ReduceSum", ["x"], "y")],
    [("Unique", ["x"], "y")],
])  # fmt: skip
def test_outputs_of_any_shape_are_right(nodes: list[tuple[str, list[str], str]]) -> None:
    """Those that are not a row long for each row cannot be bound, and are run as ever."""
    session, rng = session_of(nodes, {"y": TensorProto.DOUBLE}), np.random.default_rng(2)
    runs = BoundRuns(session, ["y"])
    for rows in (1, 2, 1, 2, 3, 2):
        x = rng.integers(0, 3, (rows, 3)).astype(float)
        assert same(runs.run({"x": x}, rows), session.run(["y"], {"x": x}))


def test_texts_are_run_as_ever() -> None:
    session = session_of(
        [("Identity", ["x"], "y")], {"y": TensorProto.STRING}, given=TensorProto.STRING
    )
    runs = BoundRuns(session, ["y"])
    for word in ("a", "b", "b"):
        assert runs.run({"x": np.array([[word] * 3], object)}, 1)[0].tolist() == [[word] * 3]


def test_a_graph_that_cannot_answer_says_so_each_time() -> None:
    runs = BoundRuns(product(), ["y"])
    runs.run({"x": np.ones((1, 3))}, 1)
    for _ in range(2):
        with pytest.raises(ORT_ERRORS):
            runs.run({"x": np.ones((1, 4))}, 1)
    assert same(runs.run({"x": np.ones((1, 3))}, 1), [np.ones((1, 3)) @ WEIGHTS])
