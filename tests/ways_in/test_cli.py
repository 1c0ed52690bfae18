"""The command line as a stranger meets it: real processes, exit codes, messages."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

import modelwright as mw
from projects import QUICK, mixed_table

FAST = [f"--set={text}" for text in QUICK]


def cli(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run modelwright in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "modelwright", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "160", **environment},
    )


def refused(done: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    for words in said:
        assert words in " ".join(done.stderr.split()), done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.slow
def test_from_a_table_to_a_prediction(tmp_path: Path) -> None:
    mixed_table(500).write_csv(tmp_path / "shop.csv")
    done = cli(tmp_path, "init", "shop.csv", "--target", "bought", "--name", "shop")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "modelwright.yaml").read_text()
    assert 'positive: "yes"' in text and "{method: time, by: start}" in text
    refused(cli(tmp_path, "init", "shop.csv", "--target", "bought"), 2, "exists already", "--force")
    checked = cli(tmp_path, "check", "--json")
    assert json.loads(checked.stdout)["task"] == "binary"
    done = cli(tmp_path, "run", *FAST, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert (result["version"], result["alias"], result["verdict"]) == ("1", "champion", "pass")
    assert (tmp_path / result["report"]).read_text().startswith("<!doctype html>")
    done = cli(tmp_path, "predict", "shop", "shop.csv", "-o", "out.parquet")
    assert "500 predictions" in done.stdout
    assert pl.read_parquet(tmp_path / "out.parquet").columns == ["prediction", "p_no", "p_yes"]
    assert "champion" in cli(tmp_path, "history", "shop").stdout
    assert cli(tmp_path, "doctor").returncode == 0


@pytest.mark.slow
def test_a_failed_gate_exits_1_and_registers_nothing(shop: Path) -> None:
    done = cli(shop, "run", *FAST, "--set=limits.roc_auc=0.999")
    assert done.returncode == 1, done.stderr
    assert "was not released: limit roc_auc failed" in " ".join(done.stdout.split())
    refused(cli(shop, "predict", "shop", "shop.csv"), 2, "There is no model 'shop'")
    report = next(shop.glob("runs/*/report.html")).read_text()
    assert "was not released" in report


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "none.yaml"], 2, "modelwright init data.csv --target COLUMN"),
        (["run", "--set=fit.bugdet=3s"], 2, "did you mean 'budget'?"),
        (["run", "--set=data.source=shp.csv"], 2, "Tables there: shop.csv"),
        (["run", "--set=data.target=bougth"], 2, "id you mean 'bought'?"),
        (["run", "--set=goal=rmse"], 2, "rmse is not for a binary target"),
        (["run", "--set=fit.families=[xgbost]"], 2, "Unknown family 'xgbost'"),
        (["run", "--set=limits.f1.slices={big: 0.5}"], 2, "Wanted a category or boolean column"),
        (["run", "--set=data.drop=[big,colour,member,start,'size, cm']"], 2, "No column is left"),
        (["predict", "nothing", "shop.csv"], 2, "There is no model 'nothing'"),
        (["promote", "nothing"], 2, "There is no model 'nothing'"),
        (["rollback", "nothing"], 2, "There is no model 'nothing'"),
        (["history", "nothing"], 2, "There is no model 'nothing'"),
        (["compare", "one.csv", "two.csv"], 2, "No file one.csv, and no model of that name."),
        (["compare", "nothing", "nobody"], 2, "There is no model 'nothing'"),
        (["init", "shop.csv"], 2, "--target"),
        (["init", "shop.csv", "--target", "x", "--out", "new.yaml"], 2, "Its columns: size, cm"),
        (["frobnicate"], 2, "No such command"),
        (
            ["serve", "shop", "--port", "99999"],
            2,
            "port: Input should be less than or equal to 65535, found 99999",
        ),
        (["spec", "schemer"], 2, "show"),
    ],
)
def test_mistakes(shop: Path, words: list[str], code: int, said: str) -> None:
    refused(cli(shop, *words), code, said)
    assert not (shop / "new.yaml").exists()
    assert not list(shop.glob("runs/*/artefact"))


def test_errors_are_json_where_a_script_asked_for_it(shop: Path) -> None:
    done = cli(shop, "run", "--set=fit.bugdet=3s", "--json")
    error: dict[str, Any] = json.loads(done.stdout)["error"]
    assert done.returncode == 2 and error["kind"] == "SpecError" and len(error["problems"]) == 1
    assert error["code"] == "SpecError" and "modelwright spec schema" in error["fix"]
    assert (error["rule"], error["evidence"]) == ("", {})


@pytest.mark.slow
def test_files_that_do_not_fit_the_model(project: Path) -> None:
    table = mixed_table(50)
    table.drop("big").write_csv(project / "less.csv")
    table.rename({"colour": "color"}).write_csv(project / "other.csv")
    table.with_columns(pl.lit("much").alias("big")).write_csv(project / "text.csv")
    refused(cli(project, "predict", "shop", "less.csv"), 2, "column 'big' is missing")
    refused(cli(project, "predict", "shop", "other.csv"), 2, "did you mean 'colour'?")
    refused(
        cli(project, "predict", "shop", "text.csv"),
        2,
        "row 0, column 'big': wanted a number, found 'much'",
    )
    refused(cli(project, "predict", "shop", "shop.csv", "-o", "x.pdf"), 2, ".csv or .parquet")
    refused(cli(project, "predict", "shop", "shop.csv", "-o", "./shop.csv"), 2, "Name another file")
    assert not list(project.glob("predictions*")) and not list(project.glob("*.part"))


def test_predictions_of_csv_and_parquet_are_equal(project: Path) -> None:
    mixed_table(300, seed=3).drop("bought").write_csv(project / "new.csv")
    mixed_table(300, seed=3).drop("bought").write_parquet(project / "new.parquet")
    for name in ("csv", "parquet"):
        assert cli(project, "predict", "shop", f"new.{name}", "-o", f"{name}.csv").returncode == 0
    assert (project / "csv.csv").read_bytes() == (project / "parquet.csv").read_bytes()


@pytest.mark.slow
def test_ctrl_c_in_the_search_goes_on_with_the_best_so_far(shop: Path) -> None:
    command = [sys.executable, "-m", "modelwright", "run", "--set=fit.budget=100000 trials",
               "--set=pack.seconds=0.3"]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=shop, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    line = ""
    while "best l" not in line:  # written when a candidate leads: linear or lightgbm
        line = process.stderr.readline()
        assert line, "the run ended before it found anything"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, out + err
    assert "going on with the best so far" in err and "version 1 (champion)" in out


@pytest.mark.slow
def test_ctrl_c_before_anything_was_found_leaves_nothing_half_done(shop: Path) -> None:
    command = [sys.executable, "-m", "modelwright", "run"]
    process = subprocess.Popen(
        command, cwd=shop, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not (shop / "runs").exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if process.returncode:  # it may have come late, and then the first candidate is released
        assert process.returncode == 130 and "nothing was released" in err
        assert "Traceback" not in err + out
        refused(cli(shop, "history", "shop"), 2, "There is no model 'shop'")


@pytest.mark.slow
def test_a_killed_run_is_no_hindrance(shop: Path) -> None:
    for wait in (0.5, 2.5, 4.0):
        process = subprocess.Popen(
            [sys.executable, "-m", "modelwright", "run", *FAST], cwd=shop, stderr=subprocess.DEVNULL
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait)
        process.kill()
        process.wait()
    assert cli(shop, "run", *FAST, "--set=release.champion_margin=0.5").returncode == 0
    assert cli(shop, "predict", "shop", "shop.csv").returncode == 0


def test_serve_by_name(project: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "modelwright", "serve", "shop", "--port", "0"],
        cwd=project, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("Serving shop version 1 on http://127.0.0.1:")
        address = line.rsplit(" ", 1)[1].strip()
        model = mw.load("shop", folder=project)
        reply = httpx.post(f"{address}/predict", json=model.manifest.example, timeout=20)
        assert reply.json()["predictions"] == model.predict([model.manifest.example])
    finally:
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.slow
def test_a_project_elsewhere_is_named(project: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    refused(cli(here, "predict", "shop", "../project/shop.csv"), 2, "has no registry", "--project")
    assert not list(here.iterdir())
    done = cli(here, "predict", "shop", "../project/shop.csv", "--project", "../project")
    assert done.returncode == 0 and (here / "predictions.csv").exists()
    assert cli(here, "doctor").returncode == 0
    assert [p.name for p in here.iterdir()] == ["predictions.csv"]


def test_ctrl_c_ends_the_server_quietly(project: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "modelwright", "serve", "shop", "--port", "0"],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout and process.stdout.readline().startswith("Serving")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0 and "Traceback" not in err


@pytest.mark.slow
def test_sigterm_ends_a_run_without_a_release(shop: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "modelwright", "run", "--set=fit.budget=100000 trials"],
        cwd=shop, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr
    while not process.stderr.readline().startswith("data"):  # the search begins after it
        assert process.poll() is None
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "Traceback" not in out + err
    refused(cli(shop, "history", "shop"), 2, "There is no model 'shop'")


def test_help_version_and_completion(tmp_path: Path) -> None:
    assert "init" in cli(tmp_path, "--help").stdout
    assert "--set" in cli(tmp_path, "run", "--help").stdout
    assert cli(tmp_path, "--version").stdout.strip() == f"modelwright {mw.__version__}"
    shell = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert "complete" in cli(tmp_path, "--show-completion", "bash", **shell).stdout.lower()
    assert not list(tmp_path.iterdir())


def test_the_schema_is_json(tmp_path: Path) -> None:
    assert json.loads(cli(tmp_path, "spec", "schema").stdout)["title"] == "modelwright.yaml"


@pytest.mark.slow
def test_a_dashboard_is_written(project: Path) -> None:
    done = cli(project, "dashboard", "shop", "--out", "g.json", "--rules", "r.yml")
    assert done.returncode == 0, done.stderr
    assert "Rule file: r.yml" in done.stdout and "- alert: " in (project / "r.yml").read_text()
    assert "job_name: 'shop'" in done.stdout
    assert json.loads((project / "g.json").read_text())["title"].startswith("shop")
