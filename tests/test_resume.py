"""kill -9, Ctrl-C and then --resume; the same model made once more."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import modelwright as mw
from modelwright.core.runs import past_runs
from projects import QUICK, make_shop, mixed_table

FAMILIES = "--set=fit.families=[lightgbm, xgboost]"
RUN = [sys.executable, "-m", "modelwright", "run", "--set=fit.folds=2", "--set=pack.seconds=0.4",
       FAMILIES]  # fmt: skip
QUICKLY = "--set=limits={}"
TEN = "--set=fit.budget=10 trials"


def killed_after(
    folder: Path, lines: int, sign: int, *more: str, word: str = "candidates"
) -> subprocess.Popen[str]:
    """A run that gets a signal when it has told of that many steps, which have the word."""
    process = subprocess.Popen(
        [*RUN, QUICKLY, *more],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert process.stderr is not None
    told = 0
    for line in process.stderr:
        told += word in line
        if told == lines:
            break
    process.send_signal(sign)
    process.communicate(timeout=120)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("lines", [1, 2])
def test_a_killed_run_is_resumed(tmp_path: Path, lines: int) -> None:
    make_shop(tmp_path)
    assert killed_after(tmp_path, lines, signal.SIGKILL, TEN).returncode == -signal.SIGKILL
    runs = list((tmp_path / "runs").glob("*/dataset.json"))
    done = subprocess.run(
        [*RUN, QUICKLY, TEN, *(["--resume"] if runs else []), "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    if runs:
        assert result["run"] == runs[0].parent.name
    run = tmp_path / "runs" / result["run"]
    assert [path.name for path in run.glob(".*")] == [".lock"] and not list(
        tmp_path.rglob("*.part")
    )
    assert mw.load("shop", folder=tmp_path).digest == result["artefact"]


@pytest.mark.slow
def test_a_search_that_ctrl_c_ended_can_go_on(tmp_path: Path) -> None:
    make_shop(tmp_path)
    long = "--set=fit.budget=400 trials"
    assert killed_after(tmp_path, 1, signal.SIGINT, long).returncode in (0, 1)
    [first] = (tmp_path / "runs").iterdir()
    before = len(list(first.glob("trials/*")))
    keys = killed_after(tmp_path, 1, signal.SIGINT, long, "--resume")
    assert keys.returncode in (0, 1)
    second = max((tmp_path / "runs").iterdir())
    assert second != first and len(list(second.glob("trials/*"))) >= before


@pytest.mark.slow
def test_ctrl_c_while_finalists_are_packed_still_ends_in_a_release(tmp_path: Path) -> None:
    """The line that tells that the search is over comes before anything is measured."""
    make_shop(tmp_path)
    process = killed_after(tmp_path, 1, signal.SIGINT, TEN, word="budget 10 trials")
    assert process.returncode == 0
    [run] = (tmp_path / "runs").iterdir()
    assert json.loads((run / "fit.json").read_bytes())["stopped_by"] == "interrupt"
    assert mw.load("shop", folder=tmp_path).folder == run / "artefact"


def test_a_release_that_was_never_registered_is_not_over(
    project: Path, released: mw.Released
) -> None:
    """Killed between the verdict and the registry: --resume judges and registers again."""
    path = project / "runs" / released.run.name / "release.json"
    record = json.loads(path.read_bytes())
    assert past_runs(project)[0].ended
    path.write_text(json.dumps({**record, "version": ""}))
    assert not past_runs(project)[0].ended
    path.write_text(json.dumps({**record, "version": "", "verdict": "fail"}))
    assert past_runs(project)[0].ended


def test_nothing_to_resume_is_said(shop: Path) -> None:
    with pytest.raises(mw.ModelwrightError, match="No run of this spec on this data"):
        mw.run(shop / "modelwright.yaml", resume=True)
    assert not (shop / "runs").exists()


def test_what_was_done_again_is_not_gone_on_with(project: Path, released: mw.Released) -> None:
    """Ctrl-C ended the first; a newer one, such as the first with --resume, came to its end."""
    first = project / "runs" / released.run.name
    fit = json.loads((first / "fit.json").read_bytes())
    newer = Path(shutil.copytree(first, first.with_name("29991231-235959-ffff")))
    (first / "fit.json").write_text(json.dumps({**fit, "stopped_by": "interrupt"}))
    assert [run.may_go_on for run in past_runs(project)] == [False, True]
    with pytest.raises(mw.ModelwrightError, match="No run of this spec on this data"):
        mw.run(project / "modelwright.yaml", overrides=QUICK, resume=True)
    assert {run.folder for run in past_runs(project)} == {first, newer}


def test_the_same_model_once_more(project: Path, released: mw.Released) -> None:
    found = mw.reproduce(released.run.name, folder=project)
    assert found.same and not found.differences
    assert found.digests[0] == found.digests[1]
    known = mw.records_of(released.run.name, folder=project)
    assert known.reproduced == found
    page = mw.write_pages(known).read_text(encoding="utf-8")
    assert re.search(r"<th scope='row'>I1</th><td>[^<]*</td><td>1</td>", page)


def test_other_data_is_named_as_the_difference(project: Path, released: mw.Released) -> None:
    mixed_table(700).write_csv(project / "shop.csv")
    found = mw.reproduce(released.run.name, folder=project)
    assert not found.same
    assert any(text.startswith("data_fingerprint: ") for text in found.differences)


@pytest.mark.parametrize(
    ("name", "said"), [("2020", "There is no run '2020'"), ("", "There is no run")]
)
def test_no_such_run(project: Path, name: str, said: str) -> None:
    with pytest.raises(mw.ModelwrightError, match=said):
        mw.reproduce(name, folder=project)


def test_a_run_without_a_model_is_named(project: Path, released: mw.Released) -> None:
    (project / "runs" / released.run.name / "fit.json").unlink()
    with pytest.raises(mw.ModelwrightError, match="never came to a model"):
        mw.reproduce(released.run.name, folder=project)


@pytest.mark.slow
def test_the_same_seed_and_trials_give_the_same_digest(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        make_shop(folder)
        overrides = ("fit.budget=9 trials", "fit.folds=2", "pack.measure=process")
        digests.append(mw.run(folder / "modelwright.yaml", overrides=overrides).record.artefact)
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_a_blend_with_its_interval_from_table_to_answers(tmp_path: Path) -> None:
    source = Path(__file__).parents[1] / "examples" / "ames" / "ames.csv.gz"
    shutil.copy(source, tmp_path / "ames.csv.gz")
    (tmp_path / "modelwright.yaml").write_text(
        "name: ames\ndata: {source: ames.csv.gz, target: SalePrice}\n"
        "fit: {budget: 6 trials, folds: 2, interval: 0.9, interval_method: split_conformal,\n"
        "  families: [lightgbm, xgboost]}\n"
        "pack: {seconds: 0.4}\n"
        "release: {undecided: allow, reason: a test}\n"
    )
    released = mw.run(tmp_path / "modelwright.yaml")
    gate = next(f for f in released.record.evidence if f.check == "interval")
    assert gate.verdict == "pass" and gate.interval is not None and gate.interval.value > 0.87
    mw.predict_file("ames", source, tmp_path / "out.parquet", folder=tmp_path)
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.columns == ["prediction", "low", "high"]
    assert (found["low"] < found["prediction"]).all() and (
        found["prediction"] < found["high"]
    ).all()
    assert mw.reproduce(released.run.name, folder=tmp_path).same
    aside = next(f for f in released.fit.findings if f.check == "interval").why
    assert "training rows that no model learned from" in aside
    card = (released.run / "card.md").read_text()
    assert "of them: their errors are the width of low and high" in card
    page = released.report.read_text()
    assert (
        "class='plot'" in page and "cross-validated rmse" in page and "<th scope='col'>p95" in page
    )
