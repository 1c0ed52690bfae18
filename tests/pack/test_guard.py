"""What an ONNX file says of itself is held against its bytes, before the runtime believes it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import modelwright as mw
from modelwright.core.errors import ArtefactError
from modelwright.pack.guard import check_onnx
from modelwright.pack.wire import entry


def bytes_with(tensor: onnx.TensorProto, *, attribute: bool = False) -> bytes:
    """A graph that adds a constant to its input."""
    x = helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None])
    y = helper.make_tensor_value_info("y", TensorProto.DOUBLE, [None])
    if attribute:
        node = helper.make_node(
            "LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", keys_tensor=tensor
        )
        return helper.make_model(helper.make_graph([node], "g", [x], [y])).SerializeToString()
    tensor.name = "c"
    graph = helper.make_graph([helper.make_node("Add", ["x", "c"], ["y"])], "g", [x], [y], [tensor])
    return helper.make_model(graph).SerializeToString()


ARRAYS = [
    np.arange(6).astype(kind).reshape(2, 3)
    for kind in ("f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
] + [np.array(["a", "bc", ""], object), np.zeros((0, 3)), np.float64(1.0)]


@pytest.mark.parametrize("attribute", [False, True])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: str(np.asarray(a).dtype))
def test_constants_that_hold_what_they_say_pass(array: np.ndarray, attribute: bool) -> None:
    check_onnx(bytes_with(numpy_helper.from_array(np.asarray(array)), attribute=attribute))


@pytest.mark.parametrize(
    ("kind", "values"),
    [("FLOAT", [1.5, -2.0]), ("DOUBLE", [1.5, -2.0]), ("INT64", [-1, 2**62]), ("INT32", [-1, 300]),
     ("UINT64", [2**63, 1]), ("BOOL", [1, 0]), ("UINT8", [255, 1]), ("STRING", [b"a", b""])],
)  # fmt: skip
def test_lists_of_numbers_are_counted(kind: str, values: list[object]) -> None:
    tensor = helper.make_tensor("c", getattr(TensorProto, kind), [2], values)
    check_onnx(bytes_with(tensor))
    del tensor.dims[:]
    tensor.dims.extend([3])
    with pytest.raises(ArtefactError, match="says that it has 3 values, but 2 are there"):
        check_onnx(bytes_with(tensor))


@pytest.mark.parametrize("attribute", [False, True])
@pytest.mark.parametrize(
    "dims", [[2**31], [2**16, 2**15], [2**60, 2**60], [-1], [-2, -4], [0], [7], [9], []]
)
def test_a_constant_is_as_large_as_its_data(dims: list[int], attribute: bool) -> None:
    tensor = onnx.TensorProto(data_type=TensorProto.DOUBLE, dims=dims, raw_data=bytes(64))
    with pytest.raises(ArtefactError, match=r"says that it has [-\d,]+ values, but 8 are there"):
        check_onnx(bytes_with(tensor, attribute=attribute))


def test_sixteen_gigabytes_are_refused_before_they_are_asked_for() -> None:
    tensor = onnx.TensorProto(data_type=TensorProto.DOUBLE, dims=[2**31])
    data = bytes_with(tensor)
    assert len(data) < 200
    began = time.perf_counter()
    with pytest.raises(ArtefactError, match="says that it has 2,147,483,648 values, but 0"):
        check_onnx(data)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("kind", [0, 14, 15, 16, 17, 22, 99])
def test_kinds_that_pack_does_not_write_are_refused(kind: int) -> None:
    tensor = onnx.TensorProto(dims=[1], raw_data=b"\0" * 8)
    tensor.data_type = kind
    with pytest.raises(ArtefactError, match="a constant of type"):
        check_onnx(bytes_with(tensor))


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (entry(15, b""), "sparse constants"),
        (entry(1, entry(4, "Loop")), "operator 'Loop'"),
        (entry(1, entry(4, "ConstantOfShape")), "operator 'ConstantOfShape'"),
        (entry(1, entry(4, "Expand")), "operator 'Expand'"),
        (entry(1, entry(4, "Add") + entry(7, "com.evil")), "operators of 'com.evil'"),
        (entry(1, entry(4, "Add") + entry(5, entry(6, b""))), "nests graphs"),
        (entry(1, entry(4, "Add") + entry(5, entry(11, b""))), "nests graphs"),
        (entry(5, entry(14, 1)), "data in another file"),
        (entry(5, entry(13, entry(1, "location"))), "data in another file"),
    ],
)
def test_what_pack_never_writes_is_refused(graph: bytes, said: str) -> None:
    with pytest.raises(ArtefactError, match=said):
        check_onnx(entry(7, graph))


@pytest.mark.parametrize("field", [20, 25])
def test_functions_and_training_graphs_are_refused(field: int) -> None:
    with pytest.raises(ArtefactError, match="functions or training graphs"):
        check_onnx(entry(7, b"") + entry(field, b""))


def test_damaged_models_are_refused_or_whole(released: mw.Released) -> None:
    """Whatever byte is wrong: an ArtefactError or nothing, never another exception."""
    data = (Path(released.run) / "artefact" / "model.onnx").read_bytes()
    dice = np.random.default_rng(4)
    for _ in range(60):
        damaged = bytearray(data)
        for at in dice.integers(0, len(data), 3):
            damaged[at] = dice.integers(256)
        try:
            check_onnx(bytes(damaged))
        except ArtefactError:
            continue
