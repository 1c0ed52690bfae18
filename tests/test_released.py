"""Judged runs and registered models: report, compare, and release on a person's word."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest

import modelwright as mw
from modelwright.core.errors import ArtefactError, NoSuchModel, UsageError
from modelwright.core.store import to_json
from modelwright.release import trust
from modelwright.serve.from_spec import server_settings
from modelwright.ways_in.cli import perform
from modelwright.ways_in.operations import OPERATIONS
from projects import QUICK, another_byte, mixed_table, settled, writable_copy

BY_NAME = {operation.name: operation for operation in OPERATIONS}


def asked(capsys: pytest.CaptureFixture[str], name: str, **given: object) -> tuple[int, dict]:
    """Exit code and JSON of an operation at the command line's door."""
    code = perform(BY_NAME[name], given, as_json=True)
    return code, json.loads(capsys.readouterr().out)


def undecided(released: mw.Released) -> mw.Released:
    """The same project under a limit that lies inside the interval."""
    goal = next(f for f in released.record.evidence if f.check == "goal")
    assert goal.interval is not None
    bound = f"limits.roc_auc={goal.interval.value - 0.001:.4f}"
    return mw.run("modelwright.yaml", overrides=(*QUICK, bound))


def test_an_undecided_run_is_released_on_a_persons_word(
    released: mw.Released,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MODELWRIGHT_USER", "ann")
    run = undecided(released)
    assert run.record.verdict == "undecided" and not run.record.version
    name = run.record.run
    with pytest.raises(UsageError, match="needs a reason"):
        mw.release_run(name, allow=["limit"])
    with pytest.raises(UsageError, match=r"Not undecided here: champion.*Undecided: limit"):
        mw.release_run(name, allow=["champion"], why="new data")
    with pytest.raises(UsageError, match="Still undecided: limit roc_auc"):
        mw.release_run(name, why="new data")
    record = mw.release_run(name, allow=["limit"], why="1,000 rows seen by hand")
    assert (record.verdict, record.version, record.alias) == ("pass", "2", "challenger")
    line = mw.AuditLog(project).lines("shop")[-1]
    assert (line.action, line.subject, line.who) == ("override", "limit roc_auc", "ann")
    assert "1,000 rows seen by hand" in line.why and name in line.why
    assert mw.AuditLog(project).broken_at() is None
    page = (project / "runs" / name / "report.html").read_text(encoding="utf-8")
    card = (project / "runs" / name / "card.md").read_text(encoding="utf-8")
    assert "1 undecided, let through" in page
    assert "Whether ann let limit roc_auc, which was undecided, through" in page
    assert "seen by hand" in card
    with mw.Registry(project).client() as mlflow:
        experiment = mlflow.get_experiment_by_name("shop").experiment_id
        logged = mlflow.search_runs([experiment], f"attributes.run_name = '{name}'")
        assert [one.info.run_id for one in logged] == [mw.history("shop")[0][0].mlflow_run]
    with pytest.raises(UsageError, match="released already: version 2"):
        mw.release_run(name, allow=["limit"], why="again")
    mw.promote("shop")
    assert mw.load("shop").digest == record.artefact
    code, told = asked(capsys, "history", model="shop")
    assert code == 0 and told["versions"][0]["let_through"] == ["limit roc_auc"]
    assert [c["action"] for c in told["changes"]] == ["promote", "override", "promote"]


def test_nobody_can_override_a_gate_that_failed(released: mw.Released, project: Path) -> None:
    run = mw.run("modelwright.yaml", overrides=(*QUICK, "limits.roc_auc=0.9999"))
    assert run.record.verdict == "fail"
    with pytest.raises(UsageError, match=r"Gates failed: limit roc_auc. Nobody can override"):
        mw.release_run(run.record.run, allow=["limit"], why="the boss says so")
    assert len(mw.history("shop")[0]) == 1


def test_a_run_whose_records_were_edited_is_not_released(
    released: mw.Released, project: Path
) -> None:
    run = mw.run("modelwright.yaml", overrides=(*QUICK, "limits.roc_auc=0.9999"))
    path = run.run / "release.json"
    path.write_text(path.read_text().replace('"fail"', '"undecided"'))
    with pytest.raises(ArtefactError, match="not those that it was judged by"):
        mw.release_run(run.record.run, allow=["limit"], why="edited by hand")
    assert len(mw.history("shop")[0]) == 1


@pytest.mark.slow
def test_slices_that_cannot_be_measured_can_be_read_again_and_overridden(shop: Path) -> None:
    """A slice of one class has no ROC AUC: its interval is infinite, in JSON as well."""
    table = mixed_table(600).with_columns(
        pl.when(pl.int_range(600) % 20 == 0).then(pl.lit("rare")).otherwise(pl.lit("usual"))
        .alias("kind")
    )  # fmt: skip
    table = table.with_columns(
        pl.when(pl.col("kind") == "rare").then(pl.lit("yes")).otherwise(pl.col("bought"))
        .alias("bought")
    )  # fmt: skip
    table.write_csv(shop / "shop.csv")
    overrides = (*QUICK, "limits={roc_auc: {slices: {kind: 0.55}}}")
    run = mw.run(shop / "modelwright.yaml", overrides=overrides)
    assert run.record.verdict == "undecided", mw.headline(run.record)
    again = mw.records_of(run.record.run, folder=shop).release
    assert to_json(again) == to_json(run.record)
    record = mw.release_run(run.record.run, allow=["slice"], why="few rows", folder=shop)
    assert record.alias == "champion" and mw.history("shop", folder=shop)[0]


@pytest.mark.slow
def test_a_version_judged_against_another_champion_needs_a_reason(
    released: mw.Released, project: Path
) -> None:
    for _ in range(2):
        mw.run("modelwright.yaml", overrides=QUICK)
    mw.promote("shop", "2")
    with pytest.raises(NoSuchModel, match="was compared with champion 1; now it is 2"):
        mw.promote("shop", "3")
    assert mw.promote("shop", "3", why="compared by hand").version == "3"
    assert mw.promote("shop", "2").version == "2", "it was champion before"


def test_a_run_of_another_project_is_not_released_here(
    released: mw.Released, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="belongs to another project"):
        mw.release_run(released.run, allow=["limit"], why="x", folder=tmp_path / "other")


@pytest.mark.slow
def test_an_override_does_not_outlive_its_comparison(released: mw.Released, project: Path) -> None:
    run = undecided(released)
    mw.run("modelwright.yaml", overrides=QUICK)
    mw.promote("shop")
    with pytest.raises(UsageError, match="was compared with champion 1; now it is 2"):
        mw.release_run(run.record.run, allow=["limit"], why="seen by hand")


@pytest.mark.slow
def test_a_worse_challenger_is_refused_with_the_reason(shop: Path) -> None:
    """Trees that hardly learn, against those that did."""
    spec = shop / "modelwright.yaml"
    overrides = (*QUICK, "goal=log_loss", "limits={}")
    assert mw.run(spec, overrides=overrides).record.alias == "champion"
    lazy = ("fit.params.lightgbm.learning_rate=0.00001", "fit.params.linear.C=0.0000001")
    worse = mw.run(spec, overrides=(*overrides, *lazy)).record
    assert worse.verdict == "fail" and not worse.version
    gate = next(f for f in worse.evidence if f.check == "champion")
    assert gate.verdict == "fail" and gate.subject == "version 1"
    assert "log_loss worse by " in gate.measured and gate.advice == "keep the champion"
    assert "champion version 1 failed" in mw.headline(worse)
    assert [v.number for v in mw.history("shop", folder=shop)[0]] == ["1"]


def test_what_the_policy_allows_is_in_the_audit_with_its_reason(
    released: mw.Released, project: Path
) -> None:
    goal = next(f for f in released.record.evidence if f.check == "goal")
    assert goal.interval is not None
    run = mw.run(
        "modelwright.yaml",
        overrides=(*QUICK, f"limits.roc_auc={goal.interval.value:.4f}",
                   "release.undecided=allow", "release.reason=a pilot of two weeks",
                   "intent=Guess who buys."),
    )  # fmt: skip
    assert run.record.version == "2"
    line = next(e for e in mw.AuditLog(project).lines("shop") if e.action == "override")
    assert "a pilot of two weeks" in line.why and line.subject == "limit roc_auc"
    report = (run.run / "report.html").read_text(encoding="utf-8")
    assert "Whether the policy (release.undecided: allow) let limit roc_auc" in report
    assert "a pilot of two weeks" in (run.run / "card.md").read_text(encoding="utf-8")
    with mw.Registry(project).client() as mlflow:
        assert mlflow.get_registered_model("shop").description == "Guess who buys."


def test_a_report_by_any_name(
    released: mw.Released, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = released.record.run
    for reference in ("", "shop", "shop/1", "shop@champion", run, f"runs/{run}"):
        code, found = asked(capsys, "report", reference=reference)
        assert code == 0 and found["run"] == run, reference
        assert Path(found["report"]).is_file() and found["leaderboard"]
    with pytest.raises(NoSuchModel, match="There is no model 'shap'"):
        mw.records_of("shap")


def test_two_models_are_compared_on_one_page(
    released: mw.Released, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weak = ("fit.families=[linear]", "fit.params.linear.C=0.0001")
    other = mw.run("modelwright.yaml", overrides=(*QUICK, *weak))
    code, found = asked(capsys, "compare", one="shop/1", two=other.record.run)
    assert code == 0 and Path(found["report"]).is_file()
    lines = {line["what"]: line for line in found["differences"]}
    assert lines["spec"]["one"] != lines["spec"]["two"]
    assert lines["roc_auc"]["one"] and "to" in lines["roc_auc"]["one"]
    figures, lead = lines["roc_auc"]["values"], lines["roc_auc"]["lead"]
    assert figures[0]["low"] < figures[0]["value"] < figures[0]["high"]
    assert lead["value"] == pytest.approx(figures[0]["value"] - figures[1]["value"])
    assert lead["low"] <= lead["value"] <= lead["high"] and lead["confidence"] == 0.9
    assert "on the same rows" in lines["roc_auc"]["better"]
    assert lines["size"]["lead"] is None and lines["size"]["values"][0]["value"] > 0
    assert lines["spec"]["values"] == [None, None]


def test_runs_of_another_machine_are_not_mixed_up(released: mw.Released, project: Path) -> None:
    for folder in (project / "runs").iterdir():
        folder.rename(project / folder.name)
    with pytest.raises(UsageError, match="is not on this machine"):
        mw.records_of("shop")
    with pytest.raises(UsageError, match="No run was judged here yet"):
        mw.records_of()


def test_a_model_is_loaded_once_and_its_bytes_are_checked_each_time(
    released: mw.Released, tmp_path: Path
) -> None:
    place = writable_copy(released.run / "artefact", tmp_path / "model")
    first, again = (trust.load_trusted(place, shared=True) for _ in range(2))
    assert again is first
    assert trust.load_trusted(place) is not first  # whoever measures has one of its own
    row = mixed_table(600, seed=3).drop("bought").to_dicts()[0]
    assert mw.predict_rows(str(place), [row]) == mw.predict_rows(str(place), [row])
    data = (place / "model.onnx").read_bytes()
    another_byte(place / "model.onnx", data[-20:], bytes(20))
    with pytest.raises(ArtefactError, match="was changed"):
        mw.predict_rows(str(place), [row])


@pytest.mark.parametrize("name", ["artefact", "baseline"])
def test_a_changed_manifest_is_refused_by_its_path_too(
    name: str, released: mw.Released, tmp_path: Path
) -> None:
    """No registry is asked where a folder is named by its path: the attestation beside it is."""
    run = writable_copy(released.run, tmp_path / "run")
    assert mw.load(str(run / name)).digest
    another_byte(run / name / "manifest.json", b'"red"', b'"rod"')
    mw.Artefact.load(run / name)  # it is still a manifest
    for use in (mw.load, mw.alert_rules, lambda named: server_settings([named])):
        with pytest.raises(ArtefactError, match="not what was judged"):
            use(str(run / name))
    (run / "attestation.json").rename(run / name / "attestation.json")  # as a fetched one has it
    with pytest.raises(ArtefactError, match="not what was judged"):
        mw.load(str(run / name))


def test_rules_for_prometheus_know_the_limits_of_the_watcher(
    released: mw.Released, tmp_path: Path
) -> None:
    place = writable_copy(released.run / "artefact", tmp_path / "model")
    assert "> 7776000" in mw.alert_rules(str(place))
    spec, manifest = (json.loads((place / f).read_bytes()) for f in ("spec.json", "manifest.json"))
    spec["watch"]["limits"]["age"] = 30 * 86_400.0
    data = json.dumps(spec).encode()
    manifest["files"]["spec.json"] = hashlib.sha256(data).hexdigest()
    (place / "spec.json").write_bytes(data)
    (place / "manifest.json").write_text(json.dumps(manifest))
    assert "> 2592000" in mw.alert_rules(str(place))


def test_a_file_is_held_against_a_model_once(project: Path) -> None:
    table = project / "new.csv"
    mixed_table(200, seed=5).drop("bought").write_csv(table)
    settled(table)
    first = mw.check_against(table, "shop")
    assert mw.check_against(table, "shop") is first
    another_byte(table, b"red", b"rod")
    assert mw.check_against(table, "shop") is not first
