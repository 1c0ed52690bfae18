"""MLflow as index and blob store. The only importer of mlflow.

MLflow keeps artifact, version and alias in separate transactions, so they are written in that
order: a version exists only when its files do, and an alias is one upsert. A crash leaves a run
without a version, or a version without an alias; `release.unfinished` ends either.

Models are never loaded through mlflow: it can run code from a model folder. The bytes are fetched,
their digest is compared with the one in the version's tags, and `pack.artefact` loads them.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelwright.core.attestation import ATTESTATION, BOM, SIGNATURE
from modelwright.core.errors import (
    ArtefactError,
    MissingExtra,
    NoSuchModel,
    RegistryError,
    did_you_mean,
)
from modelwright.core.records import DatasetRecord, FitRecord, Measured, ReleaseRecord
from modelwright.core.runs import SEARCH_STATE
from modelwright.core.store import is_in_use, locked
from modelwright.pack.artefact import Artefact
from modelwright.pack.convert import input_type
from modelwright.release.cache import CACHE, CACHE_LOCK, checked, keep, scratch
from modelwright.release.flat import flat_graph

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
try:
    import mlflow
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
    from mlflow.exceptions import MlflowException
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, Schema
    from sqlalchemy.exc import SQLAlchemyError
except ImportError as error:
    raise MissingExtra("mlflow", "train") from error

CHAMPION, CHALLENGER = "champion", "challenger"
HOME = Path(".modelwright")
DIGEST, RUN, VERDICT = "modelwright.digest", "modelwright.run", "modelwright.verdict"
_MLFLOW_TYPE = {"float64": "double", "string": "string", "int64": "long"}
_REFERENCE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})(?:@([a-z]+)|/(\d+))?$")


class _Absent(RegistryError):
    """MLflow has no such model, version or alias (old servers call that an invalid parameter)."""


@dataclass(frozen=True)
class Version:
    """A registered version, as the registry knows it."""

    model: str
    number: str
    digest: str
    run: str
    mlflow_run: str
    verdict: str
    created: int
    aliases: tuple[str, ...]


class Registry:
    """The registry of a project folder.

    Args:
        folder: the project folder; without MLFLOW_TRACKING_URI it holds the SQLite store.
    """

    def __init__(self, folder: Path) -> None:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._home = folder / HOME
        self._runs = folder / "runs"
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or self._local_uri()
        with _quiet(self.uri):
            self._client = mlflow.MlflowClient(self.uri)

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether a project has a registry, without making one."""
        return bool(os.environ.get("MLFLOW_TRACKING_URI")) or (folder / HOME / "mlflow.db").exists()

    def log_run(
        self,
        artefact: Artefact,
        dataset: DatasetRecord,
        fit: FitRecord,
        measured: Measured,
        release: ReleaseRecord,
        folder: Path,
    ) -> str:
        """Write run, parameters, metrics, dataset and files; returns MLflow's run id.

        Raises:
            RegistryError: MLflow refused or cannot be reached.
        """
        with _quiet(self.uri):
            run = self._client.create_run(
                self._experiment(release.model), run_name=release.run, tags=_tags(artefact, release)
            )
            run_id: str = run.info.run_id
            self._client.log_batch(
                run_id,
                metrics=_metrics(fit, measured, release),
                params=[Param(k, str(v)[:500]) for k, v in _params(fit).items()],
            )
            described = Dataset(Path(dataset.source).name, dataset.fingerprint, "local",
                                f'{{"uri": "{Path(dataset.source).name}"}}')  # fmt: skip
            tags = [InputTag("mlflow.data.context", "training")]
            tags += [InputTag(f"modelwright.{k}", v) for k, v in dataset.origin.items()]
            self._client.log_inputs(run_id, [DatasetInput(described, tags)])
            with tempfile.TemporaryDirectory() as scratch:
                model = Path(scratch) / "model"
                _save_flavour(artefact, model)
                self._client.log_artifacts(run_id, str(model), "model")
                records = Path(scratch) / "run"  # without what only a resumed search needs
                shutil.copytree(folder, records, ignore=shutil.ignore_patterns(*SEARCH_STATE, ".*"))
                self._client.log_artifacts(run_id, str(records))
            self._client.set_terminated(run_id)
        return run_id

    def register(self, artefact: Artefact, release: ReleaseRecord, mlflow_run: str) -> str:
        """Make a version of a logged run; returns its number.

        Raises:
            RegistryError: MLflow refused or cannot be reached.
        """
        with _quiet(self.uri):
            with contextlib.suppress(MlflowException):
                self._client.create_registered_model(release.model)
            source = f"{self._client.get_run(mlflow_run).info.artifact_uri}/model"
            made = self._client.create_model_version(
                release.model,
                source,
                mlflow_run,
                tags=_tags(artefact, release),
                description=f"Verdict: {release.verdict}. Run {release.run}.",
            )
        return str(made.version)

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point an alias at a version: one upsert, the moment that counts."""
        with _quiet(self.uri):
            self._client.set_registered_model_alias(model, alias, version)

    def remove_alias(self, model: str, alias: str) -> None:
        """Take an alias away."""
        with _quiet(self.uri):
            self._client.delete_registered_model_alias(model, alias)

    def versions(self, model: str) -> list[Version]:
        """Every version, newest first; empty when there is no such model."""
        with _quiet(self.uri):
            found = _pages(self._client.search_model_versions, f"name = '{_name(model)}'")
        versions = [self.version(model, str(v.version)) for v in found]
        return sorted(versions, key=lambda v: int(v.number), reverse=True)

    def version(self, model: str, number: str) -> Version:
        """One version.

        Raises:
            RegistryError: there is none.
        """
        try:
            with _quiet(self.uri):
                return _version(self._client.get_model_version(_name(model), number))
        except _Absent as error:
            raise NoSuchModel(f"There is no version {number} of {model}.") from error

    def aliased(self, model: str, alias: str) -> Version | None:
        """The version that an alias points at, or None."""
        try:
            with _quiet(self.uri):
                found = self._client.get_model_version_by_alias(_name(model), alias)
        except _Absent:
            return None
        return self.version(model, str(found.version))

    def models(self) -> list[str]:
        """Names of all registered models."""
        with _quiet(self.uri):
            return [m.name for m in _pages(self._client.search_registered_models)]

    def resolve(self, reference: str) -> Version:
        """Find `NAME`, `NAME@alias` or `NAME/version`; a bare name means the champion.

        Raises:
            RegistryError: no such model, alias or version; the hint lists what there is.
        """
        match = _REFERENCE.match(reference)
        if not match:
            raise NoSuchModel(
                f"{reference!r} is not a model.", hint="Wanted NAME, NAME@champion or NAME/3."
            )
        name, alias, number = match.groups()
        if number:
            return self.version(name, number)
        found = self.aliased(name, alias or CHAMPION)
        if found:
            return found
        if name not in self.models():
            known = self.models()
            hint = did_you_mean(name, known) or f"Known: {', '.join(known) or 'none yet'}."
            raise NoSuchModel(f"There is no model {name!r} in {self.shown_uri}.", hint=hint)
        raise NoSuchModel(
            f"{name} has no {alias or CHAMPION}.", hint=f"See: modelwright history {name}"
        )

    def fetch(self, version: Version) -> Path:
        """The version's model folder on this machine: its digest verified, and its signature where
        keys are trusted. Nothing of it is run.

        Raises:
            RegistryError: it cannot be downloaded.
            ArtefactError: what came is not what was released, or no trusted key vouches for it.
        """
        cached = self._home / CACHE / version.digest
        for folder in (self._runs / version.run / "artefact", cached):
            with contextlib.suppress(ArtefactError):
                return checked(folder, version.digest, version.model)
        with locked(self._home / CACHE_LOCK):
            with contextlib.suppress(ArtefactError):  # another process may have been faster
                return checked(cached, version.digest, version.model)
            with scratch(self._home) as place, _quiet(self.uri):
                keep(_download(self._client, version.mlflow_run, place), version.digest, cached)
        return checked(cached, version.digest, version.model)

    @property
    def shown_uri(self) -> str:
        """The tracking address without a password."""
        return _without_password(self.uri)

    def _local_uri(self) -> str:
        """The project's SQLite store; made aside and renamed, so that a kill leaves none or all."""
        path = (_made(self._home) / "mlflow.db").resolve()
        with locked(self._home / "mlflow.lock"):
            if not path.exists():
                part = path.with_name(f".{path.name}.part")
                part.unlink(missing_ok=True)
                with _quiet(f"sqlite:///{part}"):
                    mlflow.MlflowClient(f"sqlite:///{part}").search_experiments()
                part.rename(path)
        return f"sqlite:///{path}"

    def _experiment(self, model: str) -> str:
        found = self._client.get_experiment_by_name(model)
        if found:
            return str(found.experiment_id)
        where = None
        if self.uri.startswith("sqlite:"):
            where = (self._home / "mlartifacts").resolve().as_uri()
        return str(self._client.create_experiment(model, artifact_location=where))


def end_abandoned(registry: Registry, model: str, runs: Path) -> int:
    """Mark MLflow's runs as killed whose process is gone, as their folders tell; says how many.

    Runs of other machines, whose folders are not here, are left alone.
    """
    client = registry._client
    with _quiet(registry.uri):
        experiment = client.get_experiment_by_name(model)
        if experiment is None:
            return 0
        found = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
        folders = {run.info.run_id: runs / run.data.tags.get(RUN, "-") for run in found}
        left = [run for run, at in folders.items() if at.is_dir() and not is_in_use(at)]
        for run in left:
            client.set_terminated(run, "KILLED")
    return len(left)


def _download(client: Any, mlflow_run: str, place: Path) -> Path:
    """A run's model folder, with what vouches for it inside."""
    client.download_artifacts(mlflow_run, "artefact", str(place))
    there = {item.path for item in client.list_artifacts(mlflow_run)}
    for name in (ATTESTATION, SIGNATURE, BOM):
        if name in there:
            client.download_artifacts(mlflow_run, name, str(place / "artefact"))
    return place / "artefact"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _pages(search: Callable[..., Any], wanted: str | None = None) -> list[Any]:
    """Everything that a search finds; MLflow answers a page at a time."""
    found, token = [], None
    while True:
        page = search(filter_string=wanted, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _version(found: Any) -> Version:
    tags = found.tags
    return Version(
        found.name,
        str(found.version),
        tags.get(DIGEST, ""),
        tags.get(RUN, ""),
        found.run_id or "",
        tags.get(VERDICT, ""),
        int(found.creation_timestamp),
        tuple(found.aliases),
    )


def _name(model: str) -> str:
    if not _REFERENCE.match(model) or "@" in model or "/" in model:
        raise NoSuchModel(f"{model[:80]!r} is not a model name.")
    return model


def _tags(artefact: Artefact, release: ReleaseRecord) -> dict[str, str]:
    return {DIGEST: artefact.digest, RUN: release.run, VERDICT: release.verdict}


def _params(fit: FitRecord) -> dict[str, Any]:
    return {"family": fit.family, "seed": fit.seed, "budget": fit.budget, "rounds": fit.rounds,
            **{f"{fit.family}.{name}": value for name, value in fit.params.items()}}  # fmt: skip


def _metrics(fit: FitRecord, measured: Measured, release: ReleaseRecord) -> list[Metric]:
    best = next(trial for trial in fit.trials if trial.number == fit.best)
    nan = float("nan")
    values = {
        f"cv_{fit.goal}": nan if best.score is None else best.score,
        "in_process_p50_ms": measured.in_process_p50 * 1e3,
        "size_bytes": float(measured.size),
        "fit_seconds": fit.seconds,
    }
    for finding in release.evidence:
        if finding.check in ("goal", "limit") and finding.interval is not None:
            values[f"holdout_{finding.subject}"] = finding.interval.value
    return [Metric(key, value, 0, 0) for key, value in values.items() if value == value]


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


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


@contextlib.contextmanager
def _quiet(uri: str) -> Iterator[None]:
    """Silence MLflow's chatter and turn its errors into ours."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        except MlflowException as error:
            first = _without_password(str(error)).partition("\n")[0][:300]
            absent = error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
            kind = _Absent if absent else RegistryError
            raise kind(f"MLflow refused: {first}") from error
        except SQLAlchemyError as error:
            first = _without_password(str(error)).partition("\n")[0][:300]
            raise RegistryError(
                f"MLflow's database failed: {first}.", hint="modelwright doctor tells more."
            ) from error
        except OSError as error:
            text = f"MLflow at {uri} cannot be reached: {error}."
            raise RegistryError(_without_password(text)) from error
