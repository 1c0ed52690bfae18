"""A released model is trained anew on answered rows: what judges it, what it never learns from."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import killed
import modelwright as mw
from modelwright.core.errors import UsageError
from modelwright.core.intake import feeds_from_columns
from modelwright.core.records import Finding
from modelwright.core.runs import OF_ROWS
from modelwright.core.store import locked_now
from modelwright.retraining import past_retrainings, retrain, unfinished
from modelwright.serve.journal import Recorder
from modelwright.serve.journal_store import place_of
from modelwright.serve.labels import Labels, Sender
from modelwright.serve.live import LiveModel
from modelwright.serve.messages import Answered, Question
from modelwright.serve.metrics import Counts
from modelwright.serve.settings import Journaling, Settings
from modelwright.ways_in.cli import perform
from modelwright.ways_in.operations import OPERATIONS

SPEC = """\
name: loans
data: {source: loans.csv, target: good, positive: 'yes'}
fit: {families: [linear], budget: 2 trials, folds: 2}
pack: {measure: process}
serve: {journal: {to: journal}}
watch: {retrain: {recent: 300 rows}}
"""
RETRAIN = next(one for one in OPERATIONS if one.name == "retrain")
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def people(rows: int, seed: int, *, drifted: bool = False) -> dict[str, Any]:
    """What decides is another thing after the drift."""
    rng = np.random.default_rng(seed)
    income, age = rng.normal(size=rows).round(6), rng.normal(size=rows).round(6)
    town = rng.choice(["Ulm", "Bonn", "Kiel"], rows)
    true = (0.3 * income + 2 * age if drifted else 1.5 * income + age) + (town == "Ulm")
    good = true + rng.logistic(size=rows) * 0.5 > 0.3
    return {"income": income, "age": age, "town": town, "good": np.where(good, "yes", "no")}


def answered(rows: int, seed: int, *, drifted: bool = False, unlabelled: int = 0) -> pl.DataFrame:
    """As `watch.labels.joined` gives them."""
    found = people(rows, seed, drifted=drifted)
    times = [START + dt.timedelta(seconds=i) for i in range(rows)]
    labels = [None] * unlabelled + found.pop("good").tolist()[unlabelled:]
    return pl.DataFrame(
        {"request_id": [f"{seed}-{i}" for i in range(rows)], "row": [0] * rows, "time": times,
         **{f"f_{name}": values for name, values in found.items()}, "label": labels}
    ).sample(fraction=1.0, shuffle=True, seed=0)  # fmt: skip


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a champion."""
    folder = tmp_path_factory.mktemp("loans")
    pl.DataFrame(people(700, 1)).write_csv(folder / "loans.csv")
    (folder / "modelwright.yaml").write_text(SPEC)
    assert mw.run(folder / "modelwright.yaml").record.alias == "champion"
    yield folder


@pytest.fixture
def copy(loans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the present folder."""
    folder = Path(shutil.copytree(loans, tmp_path / "loans"))
    monkeypatch.chdir(folder)
    return folder


def gate(made: mw.Retrained, check: str) -> Finding:
    assert made.released is not None
    return next(f for f in made.released.record.evidence if f.check == check)


def test_after_a_drift_the_challenger_is_better_today(copy: Path) -> None:
    rows = answered(1500, 2, drifted=True, unlabelled=100)
    made = retrain(why="quality fell", rows=rows.to_arrow())
    assert made.released is not None
    record, plan = made.released.record, made.plan
    assert (record.verdict, record.version, record.alias) == ("pass", "2", "challenger")
    assert (plan.learned, plan.judging) == (1100, 300)
    recent, champion = gate(made, "recent"), gate(made, "champion")
    assert recent.verdict == "pass" and "on 300 rows" in recent.measured
    assert champion.verdict == "fail" and champion.severity == "warning"
    note = gate(made, "retrained")
    assert note.why == "quality fell" and "1,100 answered ones" in note.measured
    for page in ("report.html", "card.md"):
        text = (made.released.run / page).read_text()
        assert "recent" in text and "1,100 answered ones" in text, page
    versions, changes = mw.history("loans")
    assert [v.aliases for v in versions] == [("challenger",), ("champion",)]
    assert len(changes) == 1, "no change of production"
    assert mw.reproduce(made.released.run.name).same
    assert past_retrainings(copy, "loans")[-1].why == "quality fell"
    assert unfinished(copy, "loans", "1") is None


def test_the_journal_and_its_labels_are_found_by_themselves(copy: Path) -> None:
    """Answers recorded by the server's own journal, labels by its own store."""
    live = LiveModel.load(
        mw.load("loans").folder, Settings(models=()), name="loans", version="1", tried=True
    )
    recorder = Recorder(Journaling(to="journal"), Counts())
    labels = Labels()
    for number in range(30):
        told = people(50, 100 + number, drifted=True)
        truths = told.pop("good").tolist()
        feeds = feeds_from_columns(live.schema, told)
        received = time.perf_counter()
        question = Answered(Question(feeds, 50), live.run(feeds), live)
        recorder.answered(f"r-{number}", received, 0.0001, question)
        if number:  # of the first request nothing is known yet
            late = [f"r-{number}"] * 50, list(range(50)), truths, [None] * 50
            for kept, more in zip(
                (labels.ids, labels.rows, labels.labels, labels.values), late, strict=True
            ):
                kept.extend(more)  # type: ignore[attr-defined]
            moment = time.time_ns() // 1000
            labels.times += [moment] * 50
            labels.arrived += [moment] * 50
    recorder.close()
    Sender(place_of("journal")).send("loans", labels)
    made = retrain(why="drift")
    assert (made.plan.learned, made.plan.judging) == (1150, 300)
    assert gate(made, "recent").verdict == "pass"
    with pytest.raises(UsageError, match="no answered row with a label"):
        retrain(overrides=("watch.retrain.window=1 min",), now=time.time() + 3600, dry_run=True)


def test_rows_of_the_journal_never_leave_this_machine(copy: Path) -> None:
    from mlflow import MlflowClient

    made = retrain(rows=answered(600, 2))
    assert made.released is not None
    assert all((made.released.run / name).is_file() for name in OF_ROWS)
    registry = mw.Registry(copy)
    version = registry.version("loans", made.released.record.version)
    client = MlflowClient(registry.uri)
    files = {file.path for file in client.list_artifacts(version.mlflow_run)}
    assert not files & set(OF_ROWS) and "retrain.json" in files


def test_without_a_drift_it_is_no_better(copy: Path) -> None:
    made = retrain(rows=answered(900, 3))
    assert gate(made, "recent").verdict == "undecided"
    assert not gate(made, "recent").blocks
    assert gate(made, "champion").severity == "error"


def test_labels_that_are_noise_make_no_challenger(copy: Path) -> None:
    rows = answered(1500, 4).sort("time")
    noise = np.random.default_rng(0).permutation(rows["label"].to_numpy()[:1200])
    turned = np.where(noise == "yes", "no", "yes")
    rows = rows.with_columns(
        pl.Series("label", np.r_[turned, rows["label"].to_numpy()[1200:]].tolist())
    )
    made = retrain(rows=rows)
    assert gate(made, "recent").verdict == "fail" and made.released is not None
    assert made.released.record.verdict == "fail" and not made.released.record.version


def test_no_sealed_and_no_judging_row_is_learned_from(copy: Path) -> None:
    """By what tells rows apart; some journal rows are copies of sealed ones or of judging ones."""
    [first] = [run for run in (copy / "runs").iterdir() if run.is_dir()]
    table = pl.read_csv(copy / "loans.csv")
    rows = answered(900, 5).sort("time")
    old = table.sample(200, seed=1)
    asked = rows.head(200).with_columns(
        pl.Series("f_income", old["income"]), pl.Series("f_age", old["age"]),
        pl.Series("f_town", old["town"]), pl.Series("label", old["good"]),
    )  # fmt: skip
    again = rows.tail(30).with_columns(rows.head(30)["time"])
    made = retrain(rows=pl.concat([asked, rows.tail(700), again]))
    assert made.released is not None
    grown = pl.read_parquet(made.released.run / "data.parquet")
    marks, ids = grown["sealed_by_champion"], grown["income"].cast(pl.Float64)
    sealed, learned = set(ids.filter(marks)), set(ids.filter(~marks))
    judging = set(pl.read_parquet(made.released.run / "recent.parquet")["f_income"])
    assert len(judging) == 300 and len(sealed) == made.plan.sealed_rows == 140
    assert not learned & sealed and not learned & judging and not sealed & judging
    assert set(old["income"]) & sealed and set(again["f_income"]) <= judging
    assert made.plan.left_out == {
        "equal to a sealed row": len(set(old["income"]) & sealed),
        "equal to a row that judges": 30,
        "in the source already": len(set(old["income"]) - sealed),
    }
    fingerprints = [mw.records_of(str(run)).dataset.holdout_fingerprint
                    for run in (first, made.released.run)]  # fmt: skip
    assert fingerprints[0] == fingerprints[1]
    assert made.released.record.holdout_uses == 2


@pytest.mark.slow
def test_the_source_alone_read_anew(copy: Path) -> None:
    """It grew; the sealed rows are the same, and answered rows only judge."""
    old, more = pl.read_csv(copy / "loans.csv"), answered(900, 6, drifted=True)
    told = people(900, 6, drifted=True)
    pl.concat([old, pl.DataFrame(told)]).write_csv(copy / "loans.csv")
    made = retrain(rows=more, overrides=("watch.retrain.data=source",))
    plan = made.plan
    assert (plan.learned, plan.judging, plan.sealed_rows) == (0, 300, 140)
    assert plan.source_rows == 700 + 900 - 300, "what judges is not learned from the source either"
    assert gate(made, "recent").verdict == "pass"
    alone_made = retrain(overrides=("watch.retrain.data=source",))
    assert gate(alone_made, "recent").why == "no labelled rows"


@pytest.mark.slow
def test_the_second_retraining_is_compared_with_the_first(copy: Path) -> None:
    first = retrain(rows=answered(1200, 7, drifted=True))
    mw.promote("loans", why="better")
    later = answered(1200, 8, drifted=True).with_columns(pl.col("time") + dt.timedelta(hours=1))
    both = pl.concat([answered(1200, 7, drifted=True), later])
    second = retrain(rows=both)
    assert second.plan.champion == "2" and second.plan.sealed_rows == first.plan.sealed_rows
    assert gate(second, "champion").measured != "cannot be compared"
    assert gate(second, "recent").verdict != "fail"
    assert second.plan.recent[0] > "2026-01-01 01:00"
    known = retrain(rows=answered(1200, 7, drifted=True), overrides=("watch.retrain.recent=1 d",),
                    now=START.timestamp() + 1300, dry_run=True)  # fmt: skip
    assert known.plan.judging == 300, "rows that the champion learned from judge nothing"


@pytest.mark.slow
def test_an_ordinary_run_is_compared_with_a_retrained_champion_on_the_same_rows(copy: Path) -> None:
    retrain(rows=answered(1200, 7))
    mw.promote("loans", why="newer")
    record = mw.run(copy / "modelwright.yaml", overrides=("fit.budget=3 trials",)).record
    found = next(f for f in record.evidence if f.check == "champion")
    assert found.verdict != "undecided" or "another split" not in found.why
    pl.concat([pl.read_csv(copy / "loans.csv"), pl.DataFrame(people(300, 9))]).write_csv(
        copy / "loans.csv"
    )
    record = mw.run(copy / "modelwright.yaml").record
    found = next(f for f in record.evidence if f.check == "champion")
    assert found.verdict == "undecided" and "may know the sealed rows" in found.why


def test_a_dry_run_writes_nothing(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def files() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file()}

    before = files()
    made = retrain(rows=answered(900, 3), dry_run=True)
    assert made.released is None and made.plan.learned == 600
    assert files().keys() == before.keys()
    given = {"dry_run": True, "overrides": ["watch.retrain.data=source"]}
    assert perform(RETRAIN, given, as_json=False) == 0
    said = capsys.readouterr().out
    assert "560" in said and "sealed by" in said and "dry run" in said


def test_the_way_in_gives_json_and_the_exit_code_of_the_run(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"why": "by hand", "overrides": ["watch.retrain.data=source"]}
    code = perform(RETRAIN, given, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["run"]["alias"] == "challenger" and shown["why"] == "by hand" and code == 0
    assert shown["sealed_rows"] == 140 and shown["run"]["findings"]


def test_one_at_a_time(copy: Path) -> None:
    lock = copy / ".modelwright" / "retrain" / "loans.lock"
    with (
        locked_now(lock, "x", ""),
        pytest.raises(UsageError, match="A retraining of loans is still going on"),
    ):
        retrain(rows=answered(900, 3))
    assert past_retrainings(copy, "loans") == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data.seed": 3}, "data.seed is 3; the champion's run had 0"),
        ({"data.split": "random"}, "data.split.method is 'random'"),
        ({"name": "other"}, "other has no champion"),
        ({"watch.retrain.recent": "30 d"}, "no answered row with a label to learn from"),
    ],
)
def test_what_cannot_be_retrained_says_why(copy: Path, change: dict[str, Any], said: str) -> None:
    texts = tuple(f"{key}={value}" for key, value in change.items())
    with pytest.raises(UsageError, match=said):
        retrain(rows=answered(900, 3), overrides=texts, now=START.timestamp() + 1000)
    assert past_retrainings(copy, "loans") == ()


def test_a_champion_whose_run_is_elsewhere(copy: Path) -> None:
    [run] = [run for run in (copy / "runs").iterdir() if run.is_dir()]
    (run / "sealed.npy").unlink()
    with pytest.raises(UsageError, match="does not tell which rows it sealed"):
        retrain(rows=answered(900, 3))
    shutil.rmtree(run)
    with pytest.raises(UsageError, match="not on this machine"):
        retrain(rows=answered(900, 3))


STEPS = (1, 2, 3, 5, 8, 13, 16, 17, 18, 21, 40, 80, 140, 170, 190)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_killed_anywhere_nothing_is_half_done(copy: Path, step: int) -> None:
    answered(700, 11, drifted=True).write_parquet(copy / "answered.parquet")
    died = killed.killed_at(step, killed.train_anew, copy)
    begun = len(past_retrainings(copy, "loans"))
    assert begun <= 1
    run = unfinished(copy, "loans", "1")
    assert run is not None or not begun or len(mw.history("loans")[0]) == 2, (
        "it counted for nothing"
    )
    if run is not None:
        made = retrain(resume=True)
        assert made.released is not None and made.released.run == run
    else:
        made = retrain(rows=pl.read_parquet(copy / "answered.parquet"))
    versions, changes = mw.history("loans")
    assert sorted(v.number for v in versions)[:2] == ["1", "2"] and len(changes) == 1
    assert {alias for v in versions for alias in v.aliases} == {"champion", "challenger"}
    assert versions[-1].aliases == ("champion",), died
    for version in versions:
        assert mw.load(f"loans/{version.number}").digest == version.digest
    assert not (copy / ".modelwright" / "pending.json").exists()
    assert len(past_retrainings(copy, "loans")) == 1
    if died and run is not None:
        assert len(versions) == 2, "it was gone on with, not made twice"


def test_what_was_not_cut_short_is_not_gone_on_with(copy: Path) -> None:
    with pytest.raises(UsageError, match="No retraining of loans was cut short"):
        retrain(resume=True)


def test_numbers_in_order_of_time(tmp_path: Path) -> None:
    """The model does not read the time, so the new rows get that of their answers."""
    rng = np.random.default_rng(0)

    def stream(rows: int, slope: float) -> dict[str, Any]:
        a, b = rng.normal(size=(2, rows)).round(6)
        return {"a": a, "b": b, "y": (slope * a + b + 0.3 * rng.normal(size=rows)).round(4)}

    old = stream(600, 2.0)
    days = [f"{1 + i % 28:02d}.{1 + i // 60:02d}.2025" for i in range(600)]
    pl.DataFrame({**old, "day": days}).write_csv(tmp_path / "t.csv")
    (tmp_path / "modelwright.yaml").write_text(
        "name: load\ndata:\n  source: t.csv\n  target: y\n  drop: [day]\n"
        "  split: {method: time, by: day}\nfit: {families: [linear], budget: 2 trials, folds: 2}\n"
        "pack: {measure: process}\nwatch: {retrain: {recent: 10 min}}\n"
    )
    assert mw.run(tmp_path / "modelwright.yaml").record.version
    fresh = stream(1500, 1.0)
    times = [START + dt.timedelta(seconds=i) for i in range(1500)]
    rows = pl.DataFrame({"f_a": fresh["a"], "f_b": fresh["b"], "label": fresh["y"], "time": times})
    now = START.timestamp() + 1500
    made = retrain(tmp_path / "modelwright.yaml", rows=rows, now=now)
    assert (made.plan.learned, made.plan.judging) == (900, 600)
    assert gate(made, "recent").verdict == "pass" and "rmse better" in gate(made, "recent").measured
    assert made.released is not None and made.released.record.alias == "challenger"
    shown = pl.read_parquet(made.released.run / "data.parquet")["day"].tail(2).to_list()
    assert shown == ["01.01.2026", "01.01.2026"], "as the source writes it"
