"""End to end on real tables that nobody here made."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

import modelwright as mw
from modelwright.data.sources import read_file
from projects import EXAMPLES

CASES = {
    "income": ("binary", ("p_<=50K", "p_>50K")),
    "mammography": ("binary", ("p_no", "p_yes")),
    "wildlife": ("multiclass", None),
    "cnae9": ("multiclass", None),
    "ames": ("regression", ()),
    "beijing": ("regression", ()),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_from_the_table_to_the_service(name: str, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("runs", ".modelwright")
    folder = Path(shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=ignored))
    overrides = ("fit.budget=8s", "pack.seconds=0.5")
    released = mw.run(folder / "modelwright.yaml", overrides=overrides)
    task, shares = CASES[name]
    record = released.record
    assert record.verdict == "pass", mw.headline(record)
    assert (record.version, record.alias) == ("1", "champion")
    parity = next(f for f in record.evidence if f.check == "parity")
    assert parity.verdict == "pass" and parity.measured.startswith("0 labels differ")
    model = mw.load(name, folder=folder)
    assert model.digest == record.artefact and model.schema.target.task == task
    source = next(p for p in folder.iterdir() if p.suffix in (".gz", ".parquet"))
    count = mw.predict_file(name, source, tmp_path / "out.csv", folder=folder)
    found = read_file(tmp_path / "out.csv").frame
    assert found.height == count == read_file(source).frame.height
    if shares is not None:
        assert found.columns == ["prediction", *shares]
    else:
        sums = found.select(pl.sum_horizontal(pl.exclude("prediction"))).to_series()
        assert (sums - 1).abs().max() < 1e-9  # type: ignore[operator]
    assert released.report.stat().st_size < 3_000_000
    assert released.fit.seconds < 8 * 1.5


def test_the_public_function_takes_a_spec_by_name(shop: Path) -> None:
    with pytest.raises(mw.ModelwrightError, match="No spec file"):
        mw.run(shop / "other.yaml")
    assert mw.check(shop / "modelwright.yaml").rows == 600


def test_the_record_of_a_run_holds_all_that_is_needed(released: mw.Released) -> None:
    names = {path.name for path in released.run.iterdir()}
    assert names == {"spec.json", "dataset.json", "fit.json", "measured.json", "release.json",
                     "report.html", "artefact"}  # fmt: skip
    assert repr(released) == "<Released shop version 1: pass>"
    assert released.record.holdout_uses == 1


def test_mlflow_holds_what_people_expect_to_find(released: mw.Released) -> None:
    from mlflow import MlflowClient

    registry = mw.Registry(released.run.parents[1])
    client = MlflowClient(registry.uri)
    version = client.get_model_version_by_alias("shop", "champion")
    run = client.get_run(version.run_id)
    assert run.data.params["family"] == released.fit.family
    assert run.data.metrics["holdout_roc_auc"] > 0.6 and run.data.metrics["size_bytes"] > 1000
    [data] = run.inputs.dataset_inputs
    assert data.dataset.name == "shop.csv" and len(data.dataset.digest) == 32
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"artefact", "model", "report.html", "fit.json"} <= files
    assert run.info.status == "FINISHED"
