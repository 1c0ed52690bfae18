"""What people find in MLflow: on a real tracking server with PostgreSQL behind it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from mlflow import MlflowClient

import modelwright as mw
from modelwright.core.records import Finding
from modelwright.pack.artefact import Artefact
from modelwright.release.registry import Registry, description_of, goal_in_words
from modelwright.release.run_records import RunRecords
from modelwright.release.tracking import MOST_CHILDREN, log_run
from modelwright.release.verdict import headline
from release.records import dataset_of
from release.test_registry import database, tracking_server

HOSTILE = 'o\'brien; "x" | <b>\n# %41/{y}'


@pytest.fixture(scope="module")
def server(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all tests here, in a database of its own."""
    place = tmp_path_factory.mktemp("tracking")
    with (
        database(postgres, "tracking") as backend,
        tracking_server(place, backend=backend) as address,
    ):
        yield address


class Logged:
    """The released project with more candidates, logged and registered on the server."""

    def __init__(self, released: mw.Released, folder: Path, address: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", address)
            self.registry = Registry(folder)
        self.client = MlflowClient(address)
        self.artefact = Artefact.load(released.run / "artefact")
        self.dataset = dataset_of(released)
        self.evaluation = RunRecords.read(released.run).evaluation
        self.fit = msgspec.structs.replace(
            released.fit, trials=(*released.fit.trials, *more_trials(released))
        )
        self.release = msgspec.structs.replace(released.record, model="tracked", version="")
        started = time.perf_counter()
        self.run_id = self.log(released)
        self.seconds = time.perf_counter() - started
        self.version = self.registry.register(
            self.artefact, self.release, self.run_id, intent="Ranks visitors."
        )
        self.run = self.client.get_run(self.run_id)

    def log(self, released: mw.Released, **changes: Any) -> str:
        given = {
            "artefact": self.artefact,
            "dataset": self.dataset,
            "fit": self.fit,
            "measured": released.measured,
            "release": self.release,
            "evaluation": self.evaluation,
            "folder": released.run,
        }
        return log_run(self.registry, **given | changes)


def more_trials(released: mw.Released) -> list[Any]:
    """Twelve candidates, each a little better than the one before."""
    trial = next(t for t in released.fit.trials if t.family == "lightgbm")
    return [
        msgspec.structs.replace(
            trial, number=10 + n, origin="search", score=0.70 + n / 100, measured=None
        )
        for n in range(12)
    ]


@pytest.fixture(scope="module")
def logged(released: mw.Released, server: str, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    return Logged(released, tmp_path_factory.mktemp("project"), server)


@pytest.mark.slow
def test_the_run_has_user_source_note_and_verdict(logged: Logged) -> None:
    tags = logged.run.data.tags
    assert tags["mlflow.user"] and tags["mlflow.source.name"] == "modelwright run"
    assert tags["mlflow.note.content"].startswith(headline(logged.release))
    assert tags["modelwright.verdict"] == "pass"
    assert logged.run.info.run_name == logged.release.run
    assert logged.run.info.status == "FINISHED"
    assert "mlflow.source.git.commit" not in tags  # the project is in no git


def test_parameters_and_metrics_with_their_intervals(logged: Logged) -> None:
    params, metrics = logged.run.data.params, logged.run.data.metrics
    assert params["family"] == logged.fit.family and params["folds"] == logged.fit.folds
    goal = logged.release.evidence[0].interval
    assert goal is not None
    for end, value in (("", goal.value), ("_low", goal.low), ("_high", goal.high)):
        assert metrics[f"holdout_roc_auc{end}"] == pytest.approx(value)
    for finding in logged.release.evidence:
        if finding.check == "metric" and finding.interval is not None:
            name = f"holdout_{finding.subject}"
            assert metrics[name] == pytest.approx(finding.interval.value), name
            assert metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"]
    assert {"holdout_f1", "holdout_log_loss", "holdout_mcc", "holdout_ece"} <= set(metrics)
    assert metrics["latency_p95_ms_low"] <= metrics["latency_p95_ms"]
    assert metrics["memory_bytes"] > 1e6 and metrics["size_bytes"] > 1000
    assert "cv_roc_auc" in metrics


def test_the_best_so_far_is_a_series(logged: Logged) -> None:
    series = logged.client.get_metric_history(logged.run_id, "best_cv_roc_auc")
    values = [point.value for point in sorted(series, key=lambda point: point.step)]
    assert [p.step for p in sorted(series, key=lambda p: p.step)] == [0, 1, 2, *range(10, 22)]
    assert values == sorted(values) and values[-1] == max(values) == pytest.approx(0.81)


def test_the_best_candidates_are_nested_runs(logged: Logged) -> None:
    found = logged.client.search_runs(
        [logged.run.info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{logged.run_id}'",
        order_by=["metrics.cv_roc_auc DESC"],
    )
    assert len(found) == MOST_CHILDREN == 10
    best = found[0]
    assert best.info.run_name == "21 lightgbm"
    assert best.data.params["lightgbm.num_leaves"] == "31"
    assert best.data.metrics["cv_roc_auc"] == pytest.approx(0.81)
    assert best.data.metrics["estimated_latency_p95_ms"] > 0
    assert best.info.end_time - best.info.start_time == pytest.approx(
        logged.fit.leaderboard()[0].seconds * 1e3, abs=1
    )
    chosen = [run.info.run_name for run in found if run.data.tags["modelwright.chosen"] == "yes"]
    assert len(chosen) <= 1


def test_the_dataset_has_schema_and_profile_and_no_values(logged: Logged) -> None:
    inputs = logged.run.inputs.dataset_inputs
    sides = {i.tags[0].value: i.dataset for i in inputs}
    assert set(sides) == {"training", "evaluation"}
    training = sides["training"]
    assert (training.name, training.digest) == ("shop.csv", logged.dataset.fingerprint)
    columns = json.loads(training.schema)["mlflow_colspec"]
    assert {"type": "datetime", "name": "start", "required": False} in columns
    assert columns[-1] == {"type": "string", "name": "bought", "required": True}
    assert json.loads(training.profile)["num_rows"] == 480
    assert json.loads(sides["evaluation"].profile)["num_rows"] == 120
    assert "green" not in training.schema + training.profile


def test_files_of_the_run_are_there(logged: Logged) -> None:
    top = {file.path for file in logged.client.list_artifacts(logged.run_id)}
    assert {"report.html", "release.json", "artefact", "model", "fit.json"} <= top
    assert not {"trials", "search.sqlite"} & top


def test_the_curves_of_the_report_are_pictures(logged: Logged, tmp_path: Path) -> None:
    found = {file.path for file in logged.client.list_artifacts(logged.run_id, "plots")}
    wanted = {curve.name for curve in logged.evaluation.curves} | {"confusion"}
    assert found == {f"plots/{name}.svg" for name in wanted}
    assert {"plots/roc.svg", "plots/pr.svg", "plots/calibration.svg"} <= found
    for path in found:
        local = logged.client.download_artifacts(logged.run_id, path, str(tmp_path))
        root = ElementTree.parse(local).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and len(list(root.iter())) > 10


def test_the_version_tells_its_verdict(logged: Logged) -> None:
    version = logged.client.get_model_version("tracked", logged.version)
    assert version.description == description_of(logged.release)
    for part in (headline(logged.release), "roc_auc 0.", "(90%:", f"Run {logged.release.run}."):
        assert part in version.description
    assert version.tags["modelwright.digest"] == logged.artefact.digest
    assert version.tags["modelwright.goal"] == goal_in_words(logged.release)
    assert version.tags["modelwright.verdict"] == "pass"
    assert version.run_id == logged.run_id
    assert logged.client.get_registered_model("tracked").description == "Ranks visitors."


def test_a_changed_intent_becomes_the_models_description(logged: Logged) -> None:
    args = (logged.artefact, logged.release, logged.run_id)
    for intent, wanted in (("Ranks shoppers.", "Ranks shoppers."), ("", "Ranks shoppers.")):
        logged.registry.register(*args, intent=intent)
        assert logged.client.get_registered_model("tracked").description == wanted


@pytest.mark.slow
def test_hostile_names_and_numbers_are_taken(logged: Logged, released: mw.Released) -> None:
    trial = msgspec.structs.replace(
        logged.fit.trials[1], params={HOSTILE: HOSTILE * 40}, score=float("nan"), number=99
    )
    fit = msgspec.structs.replace(
        logged.fit, trials=(*logged.fit.trials, trial), params={HOSTILE: 1, "a": float("inf")}
    )
    columns = (msgspec.structs.replace(logged.dataset.schema.columns[0], name=HOSTILE),)
    schema = msgspec.structs.replace(logged.dataset.schema, columns=columns)
    dataset = msgspec.structs.replace(
        logged.dataset, source=f"/data/{HOSTILE}.csv", schema=schema, origin={"git": "abc"}
    )
    failed = Finding("limit", HOSTILE, "fail", HOSTILE)
    release = msgspec.structs.replace(logged.release, verdict="fail", evidence=(failed,))
    run_id = logged.log(released, fit=fit, dataset=dataset, release=release)
    run = logged.client.get_run(run_id)
    assert HOSTILE in run.data.tags["mlflow.note.content"]
    assert json.loads(run.inputs.dataset_inputs[0].dataset.schema)["mlflow_colspec"][0]["name"]
    assert all(value == value for value in run.data.metrics.values())


def test_the_commit_stands_where_mlflow_shows_it(logged: Logged, released: mw.Released) -> None:
    artefact = Artefact.load(released.run / "artefact")
    artefact.manifest = msgspec.structs.replace(artefact.manifest, code="0123abcd+changes")
    fit = msgspec.structs.replace(logged.fit, trials=logged.fit.trials[:2])
    tags = logged.client.get_run(logged.log(released, artefact=artefact, fit=fit)).data.tags
    assert tags["mlflow.source.git.commit"] == "0123abcd"
    assert tags["modelwright.uncommitted"] == "yes"


def test_logging_takes_little_time(logged: Logged) -> None:
    """Fifty requests; the bound is far above the one or two seconds they take when alone."""
    print(f"log_run over HTTP to PostgreSQL: {logged.seconds:.2f} s")
    assert logged.seconds < 60
