"""A model folder loads only when it is whole, ours and safe; and it answers in every form."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper

import modelwright as mw
from modelwright.core.errors import ArtefactError, RowsError, UsageError
from modelwright.core.store import sha256
from modelwright.pack.guard import check_onnx
from projects import mixed_table, replace_model, writable_copy


@pytest.fixture
def folder(released: mw.Released, tmp_path: Path) -> Path:
    """A copy of a model folder, to be damaged."""
    return writable_copy(released.run / "artefact", tmp_path / "artefact")


def rows(count: int = 5) -> pl.DataFrame:
    return mixed_table(count, seed=9).drop("bought")


def test_every_form_of_a_table_gives_the_same_answers(released: mw.Released) -> None:
    table = rows(50)
    frame = released.predict(table)
    assert isinstance(frame, pl.DataFrame) and frame.columns == ["prediction", "p_no", "p_yes"]
    pandas = released.predict(table.to_pandas().set_index(pl.Series(range(100, 150)).to_numpy()))
    assert pandas.index[0] == 100
    records = released.predict(table.to_dicts())
    columns = released.predict(table.to_dict(as_series=False))
    for found in (pandas.to_dict("records"), records):
        assert [r["p_yes"] for r in found] == frame["p_yes"].to_list()
    assert columns["prediction"] == frame["prediction"].to_list()
    assert released.predict([]) == []
    with pytest.raises(UsageError, match="Cannot predict on int"):
        released.predict(5)


def test_wrong_rows_are_named(released: mw.Released) -> None:
    with pytest.raises(RowsError, match=r"row 1, column 'size, cm': wanted a number, found 'x'"):
        table = rows(2).to_dicts()
        released.predict([table[0], {**table[1], "size, cm": "x"}])


def test_chunks_do_not_change_answers(released: mw.Released) -> None:
    table = rows(2500)
    whole = released.predict(table)["p_yes"].to_numpy()
    parts = [released.predict(table[i : i + 999])["p_yes"].to_numpy() for i in (0, 999, 1998)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_labels_that_the_graph_does_not_know_are_refused(folder: Path) -> None:
    """A manifest that nothing vouches for: its folder was carried elsewhere, and changed."""
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"yes"', '"yea"'))
    with pytest.raises(ArtefactError, match="answers 'yes', which is no level"):
        mw.Artefact.load(folder).predict(rows(50).to_dicts())


def test_any_changed_byte_is_refused(folder: Path) -> None:
    """In every file that belongs to the model: the first, middle and last byte, and 20 others."""
    model = mw.Artefact.load(folder)
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted([*model.manifest.files, "manifest.json"])
    assert {"model.onnx", "golden.json", "spec.json"} <= set(names)
    rng = np.random.default_rng(0)
    for name in names:
        whole = (folder / name).read_bytes()
        last = len(whole) - 1
        for place in {0, last // 2, last, *rng.integers(0, last, 20).tolist()}:
            flipped = bytearray(whole)
            flipped[place] ^= 1 << int(rng.integers(8))
            (folder / name).write_bytes(flipped)
            with pytest.raises(ArtefactError):
                mw.Artefact.load(folder, digest=model.digest)
        (folder / name).write_bytes(whole)
    assert mw.Artefact.load(folder, digest=model.digest).digest == model.digest


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_absent_files_and_links_are_refused(folder: Path, name: str, tmp_path: Path) -> None:
    moved = (folder / name).rename(tmp_path / name)
    with pytest.raises(ArtefactError, match="No file"):
        mw.Artefact.load(folder)
    (folder / name).symlink_to(moved)
    with pytest.raises(ArtefactError, match="is a link"):
        mw.Artefact.load(folder)


def graph(node: onnx.NodeProto, *constants: onnx.TensorProto) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])
    return helper.make_model(helper.make_graph([node], "g", [x], [y], list(constants)))


def external() -> onnx.ModelProto:
    tensor = onnx.TensorProto(name="c", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="../../secret")
    return graph(helper.make_node("Add", ["x", "c"], ["y"]), tensor)


def nested() -> onnx.ModelProto:
    inner = helper.make_graph([], "i", [], [helper.make_tensor_value_info("y", 1, [None])])
    return graph(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))


def constant_node() -> onnx.ModelProto:
    shape = helper.make_node("ConstantOfShape", ["x"], ["y"])
    return graph(shape)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (external(), "keeps data in another file"),
        (nested(), "operator 'If'"),
        (constant_node(), "operator 'ConstantOfShape'"),
        (graph(helper.make_node("Run", ["x"], ["y"], domain="com.evil")), "of 'com.evil'"),
    ],
)
def test_hostile_graphs_are_refused_before_the_runtime_sees_them(
    folder: Path, model: onnx.ModelProto, said: str
) -> None:
    replace_model(folder, model.SerializeToString())
    with pytest.raises(ArtefactError, match=said):
        mw.Artefact.load(folder)


def test_a_known_model_is_looked_through_once_more_where_its_loading_is_timed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = replace_model(folder, data := nested().SerializeToString())
    monkeypatch.setattr("modelwright.pack.artefact._sound", {sha256(data)})
    with pytest.raises(ArtefactError, match="ONNX Runtime cannot load"):
        mw.Artefact.load(folder, digest=digest)
    with pytest.raises(ArtefactError, match="operator 'If'"):
        mw.Artefact.load(folder, digest=digest, afresh=True)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/b", "", ".hidden"])
def test_names_that_leave_the_folder_are_refused(folder: Path, name: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError, match="which is refused"):
        mw.Artefact.load(folder)


def test_cut_models_are_refused(released: mw.Released) -> None:
    data = (released.run / "artefact" / "model.onnx").read_bytes()
    check_onnx(data)
    for size in (0, 1, 10, len(data) // 2, len(data) - 1):
        with pytest.raises(ArtefactError):
            check_onnx(data[:size])


def test_mlflow_pyfunc_loads_the_same_model(released: mw.Released) -> None:
    import mlflow

    folder = released.run.parents[1]
    mlflow.set_tracking_uri(f"sqlite:///{folder / '.modelwright' / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model("models:/shop@champion")
    table = rows(20).to_pandas()
    given = table.assign(
        colour=table["colour"].fillna("").astype(object),
        member=table["member"].astype(float),
        big=table["big"].astype(float),
        start=table["start"].astype("datetime64[us]").astype("int64"),
    )
    found = model.predict(given)
    wanted = released.predict(table)
    assert list(found.columns) == ["prediction", "p_no", "p_yes"]
    assert list(found["prediction"]) == list(wanted["prediction"])
    np.testing.assert_allclose(found["p_yes"], wanted["p_yes"], atol=1e-12)


def test_loading_needs_no_training_library(released: mw.Released) -> None:
    code = (
        "import sys, modelwright as mw\n"
        f"a = mw.Artefact.load({str(released.run / 'artefact')!r})\n"
        "print(a.predict([a.manifest.example])[0]['prediction'])\n"
        "bad = {'sklearn','optuna','pandas','polars','mlflow','lightgbm','catboost','onnx','torch',"
        "'pydantic','scipy'} & set(sys.modules)\n"
        "assert not bad, bad\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("yes", "no")


def test_the_example_is_nobodys_row_and_the_measures_are_real(released: mw.Released) -> None:
    manifest = mw.Artefact.load(released.run / "artefact").manifest
    assert set(manifest.example) == {c.name for c in manifest.schema.features}
    assert manifest.parity.rows == 600 and manifest.parity.edge_rows > 100
    assert manifest.parity.largest_difference < 1e-12
    assert manifest.versions["onnxruntime"] and len(manifest.data_fingerprint) == 32
    measured = released.measured
    assert measured.latency_p95 and 0 < measured.latency_p95.value < 1
    assert measured.memory and measured.memory.value > 1e7
    assert measured.throughput and measured.throughput.value > 50
    assert not math.isnan(measured.in_process_p50)
