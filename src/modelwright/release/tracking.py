"""A judged run as people know it from MLflow: parameters, metrics, candidates, dataset, files."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from modelwright.core.errors import MissingExtra
from modelwright.core.evaluation import Evaluation
from modelwright.core.limits import METRICS
from modelwright.core.principal import acting
from modelwright.core.records import DatasetRecord, FitRecord, Measured, ReleaseRecord, Trial
from modelwright.core.runs import OF_ROWS, SEARCH_STATE
from modelwright.core.schema import Column
from modelwright.core.store import is_in_use
from modelwright.pack.artefact import Artefact
from modelwright.pack.convert import input_type
from modelwright.release.flat import flat_graph
from modelwright.release.plots import plots
from modelwright.release.registry import RUN, Registry, description_of, tags_of

try:
    import mlflow
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, Schema
except ImportError as error:
    raise MissingExtra("mlflow", "train") from error

MOST_CHILDREN = 10
"""Candidates that get a run of their own below the run; all of them are in the report."""
LONGEST_PARAM = 500
_MLFLOW_TYPE = {"float64": "double", "string": "string", "int64": "long"}
_COLUMN_TYPE = {"number": "double", "boolean": "boolean", "datetime": "datetime"}


def log_run(
    registry: Registry,
    artefact: Artefact,
    dataset: DatasetRecord,
    fit: FitRecord,
    measured: Measured,
    release: ReleaseRecord,
    evaluation: Evaluation,
    folder: Path,
) -> str:
    """Write run, candidates, dataset, plots and files; returns MLflow's run id.

    Raises:
        RegistryError: MLflow refused or cannot be reached.
    """
    started = _now() - round(fit.seconds * 1e3)
    with registry.client() as client:
        experiment = registry.experiment(release.model)
        run = client.create_run(
            experiment, start_time=started, run_name=release.run,
            tags=tags_of(artefact, release) | _usual_tags(artefact, release),
        )  # fmt: skip
        run_id: str = run.info.run_id
        metrics = [*_metrics(fit, measured, release), *_best_so_far(fit)]
        client.log_batch(run_id, metrics=metrics, params=_params(fit))
        client.log_inputs(run_id, _inputs(dataset))
        for trial in fit.leaderboard()[:MOST_CHILDREN]:
            _log_trial(client, experiment, run_id, fit, trial, started)
        _log_files(client, run_id, artefact, evaluation, folder)
        client.set_terminated(run_id)
        _drop_earlier(client, experiment, run_id, release.run)
    return run_id


def _drop_earlier(client: Any, experiment: str, kept: str, name: str) -> None:
    """Delete, as MLflow's page does it, what was logged of the same run before: it was undecided
    then, or a kill came in between. A run that a version was made of stays."""
    for run in client.search_runs([experiment], f"tags.`{RUN}` = '{name}'"):
        earlier = run.info.run_id
        if earlier == kept or client.search_model_versions(f"run_id = '{earlier}'"):
            continue
        for child in client.search_runs([experiment], f"tags.mlflow.parentRunId = '{earlier}'"):
            client.delete_run(child.info.run_id)
        client.delete_run(earlier)


def end_abandoned(registry: Registry, model: str, runs: Path) -> int:
    """Mark MLflow's runs as killed whose process is gone, as their folders tell; says how many.

    Runs of other machines, whose folders are not here, are left alone.
    """
    with registry.client() as client:
        experiment = client.get_experiment_by_name(model)
        if experiment is None:
            return 0
        found = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
        folders = {run.info.run_id: runs / _run_of(client, run) for run in found}
        left = [run for run, at in folders.items() if at.is_dir() and not is_in_use(at)]
        for run in left:
            client.set_terminated(run, "KILLED")
    return len(left)


def _run_of(client: Any, run: Any) -> str:
    """Name of the run that one of MLflow's belongs to; a candidate's hangs below it."""
    tags, above = run.data.tags, run.data.tags.get("mlflow.parentRunId")
    if RUN not in tags and above is not None:
        tags = client.get_run(above).data.tags
    return str(tags.get(RUN, "-"))


def _usual_tags(artefact: Artefact, release: ReleaseRecord) -> dict[str, str]:
    """Tags that MLflow's page has places for: user, commit, description."""
    tags = {
        "mlflow.user": acting().name,
        "mlflow.source.name": "modelwright run",
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": description_of(release),
    }
    commit, _, changes = artefact.manifest.code.partition("+")
    if commit:
        tags["mlflow.source.git.commit"] = commit
    if changes:
        tags["modelwright.uncommitted"] = "yes"
    return tags


def _params(fit: FitRecord) -> list[Any]:
    named = {"family": fit.family, "seed": fit.seed, "budget": fit.budget, "rounds": fit.rounds,
             "folds": fit.folds, **_own_params(fit.family, fit.params)}  # fmt: skip
    return _as_params(named)


def _own_params(family: str, params: dict[str, Any]) -> dict[str, Any]:
    return {f"{family}.{name}": value for name, value in params.items()}


def _as_params(named: dict[str, Any]) -> list[Any]:
    allowed = {_allowed(name): value for name, value in named.items()}
    return [Param(name, str(value)[:LONGEST_PARAM]) for name, value in allowed.items()]


def _allowed(name: str) -> str:
    """MLflow takes few characters in names; a parameter of a family of one's own has any."""
    return "".join(c if c.isalnum() or c in "_-. /:" else "_" for c in name)[:250]


def _metrics(fit: FitRecord, measured: Measured, release: ReleaseRecord) -> list[Any]:
    """The chosen candidate: cross-validated, on the holdout with interval ends, and its cost."""
    best = next(trial for trial in fit.trials if trial.number == fit.best)
    values = {f"cv_{fit.goal}": best.score, "fit_seconds": fit.seconds, **_costs(measured)}
    for finding in release.evidence:
        found = finding.interval
        if finding.check in ("goal", "metric") and found:
            name = _allowed(f"holdout_{finding.subject}")
            values |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return _as_metrics(values)


def _costs(measured: Measured) -> dict[str, float | None]:
    """Milliseconds, bytes, rows per second."""
    values: dict[str, float | None] = {
        "in_process_p50_ms": measured.in_process_p50 * 1e3,
        "size_bytes": float(measured.size),
    }
    for name, metric, factor in (
        ("latency_p50", "latency_p50_ms", 1e3),
        ("latency_p95", "latency_p95_ms", 1e3),
        ("latency_p99", "latency_p99_ms", 1e3),
        ("throughput", "throughput_per_second", 1.0),
        ("memory", "memory_bytes", 1.0),
    ):
        if (found := getattr(measured, name)) is not None:
            values[metric] = found.value * factor
            values[f"{metric}_low"] = found.low * factor
            values[f"{metric}_high"] = found.high * factor
    return values


def _as_metrics(values: dict[str, float | None], step: int = 0) -> list[Any]:
    """Only finite ones: a database behind MLflow may not take the others."""
    at = _now()
    return [
        Metric(name, value, at, step)
        for name, value in values.items()
        if value is not None and math.isfinite(value)
    ]


def _best_so_far(fit: FitRecord) -> list[Any]:
    """One series over the trials, which MLflow draws as a curve."""
    sign = 1.0 if METRICS[fit.goal].better == "higher" else -1.0
    best, found = -math.inf, []
    for trial in sorted(fit.trials, key=lambda trial: trial.number):
        if trial.score is None or trial.outcome != "complete":
            continue
        best = max(best, sign * trial.score)
        found += _as_metrics({f"best_cv_{fit.goal}": sign * best}, trial.number)
    return found


def _log_trial(
    client: Any, experiment: str, parent: str, fit: FitRecord, trial: Trial, started: int
) -> None:
    """One candidate as a nested run: three requests."""
    run = client.create_run(
        experiment,
        start_time=started,
        run_name=f"{trial.number} {trial.family}",
        tags={
            "mlflow.parentRunId": parent,
            "mlflow.user": acting().name,
            "modelwright.trial": str(trial.number),
            "modelwright.origin": trial.origin,
            "modelwright.outcome": trial.outcome,
            "modelwright.chosen": "yes" if trial.number == fit.best else "no",
        },
    )
    values = {f"cv_{fit.goal}": trial.score, "fit_seconds": trial.seconds, **_trial_costs(trial)}
    if trial.score is not None and trial.error is not None:
        values[f"cv_{fit.goal}_error"] = trial.error
    named = {"family": trial.family, "rounds": trial.rounds, "folds": len(trial.scores),
             **_own_params(trial.family, trial.params)}  # fmt: skip
    if trial.members:
        named["members"] = ", ".join(
            f"{weight:.3g} of {number}" for number, weight in trial.members
        )
    client.log_batch(run.info.run_id, metrics=_as_metrics(values), params=_as_params(named))
    status = "FINISHED" if trial.outcome == "complete" else "KILLED"
    ended = started + round(trial.seconds * 1e3)
    client.set_terminated(run.info.run_id, status=status, end_time=ended)


def _trial_costs(trial: Trial) -> dict[str, float | None]:
    """As measured; else as foretold, under names that say so."""
    if trial.measured is not None:
        return _costs(trial.measured)
    if (price := trial.price) is None:
        return {}
    latency = None if price.latency_p95 is None else price.latency_p95 * 1e3
    return {
        "estimated_in_process_ms": price.in_process * 1e3,
        "estimated_size_bytes": float(price.size),
        "estimated_latency_p95_ms": latency,
        "estimated_throughput_per_second": price.throughput,
        "estimated_memory_bytes": price.memory,
    }


def _inputs(dataset: DatasetRecord) -> list[Any]:
    """The table twice: what was learned from, and the sealed rows."""
    origin = [InputTag(f"modelwright.{k}", v) for k, v in dataset.origin.items()]
    sides = [("training", dataset.fingerprint, dataset.train_rows)]
    if dataset.holdout_fingerprint:
        sides.append(("evaluation", dataset.holdout_fingerprint, dataset.holdout_rows))
    return [
        DatasetInput(
            _described(dataset, fingerprint, rows),
            [InputTag("mlflow.data.context", context), *origin],
        )
        for context, fingerprint, rows in sides
    ]


def _described(dataset: DatasetRecord, fingerprint: str, rows: int) -> Any:
    """Names and kinds of columns and counts, never a value; nor the address with its login."""
    name = Path(dataset.source).name or "table"
    columns = [_column(column) for column in dataset.schema.columns]
    target = dataset.schema.target
    kind = "double" if target.task == "regression" else "string"
    columns.append({"type": kind, "name": target.name, "required": True})
    profile = {
        "num_rows": rows,
        "num_columns": len(columns),
        "target": target.name,
        "split": dataset.split,
        "rows_in_all": dataset.rows,
    }
    return Dataset(
        name[:500], fingerprint[:36], "local", _json({"uri": name}),
        schema=_json({"mlflow_colspec": columns}), profile=_json(profile),
    )  # fmt: skip


def _column(column: Column) -> dict[str, Any]:
    kind = "long" if column.integer else _COLUMN_TYPE.get(column.kind, "string")
    return {"type": kind, "name": column.name, "required": not column.nullable}


def _json(content: object) -> str:
    return msgspec.json.encode(content).decode()


def _log_files(
    client: Any, run_id: str, artefact: Artefact, evaluation: Evaluation, folder: Path
) -> None:
    """The model in MLflow's own flavour, the report's curves as pictures, and the run's folder
    without rows and without what only a resumed search needs; the report and the card are pages
    that MLflow shows."""
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        _save_flavour(artefact, model)
        records = Path(scratch) / "run"
        shutil.copytree(
            folder, records, ignore=shutil.ignore_patterns(*SEARCH_STATE, *OF_ROWS, ".*")
        )
        client.log_artifacts(run_id, str(model), "model")
        drawn = records / "plots"
        drawn.mkdir(exist_ok=True)
        for name, text in plots(evaluation).items():
            (drawn / f"{name}.svg").write_text(text, encoding="utf-8")
        client.log_artifacts(run_id, str(records))


def _save_flavour(artefact: Artefact, folder: Path) -> None:
    """MLflow's own onnx flavour, so that mlflow.pyfunc.load_model works for those who want it."""
    columns = [ColSpec(_MLFLOW_TYPE[input_type(c)], c.name) for c in artefact.schema.features]
    versions = artefact.manifest.versions
    mlflow.onnx.save_model(
        flat_graph(artefact),
        str(folder),
        signature=ModelSignature(inputs=Schema(columns)),
        pip_requirements=[f"onnxruntime=={versions['onnxruntime']}", f"numpy=={versions['numpy']}"],
        save_as_external_data=False,
    )


def _now() -> int:
    return round(time.time() * 1e3)
