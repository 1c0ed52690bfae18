"""MLflow as index and blob store; with `release.tracking` the only importer of mlflow.

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
from modelwright.core.records import ReleaseRecord
from modelwright.core.store import locked
from modelwright.pack.artefact import Artefact
from modelwright.release.cache import CACHE, CACHE_LOCK, checked, keep, scratch
from modelwright.release.seen import seen
from modelwright.release.verdict import headline

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # saves a request a run
try:
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError
except ImportError as error:
    raise MissingExtra("mlflow", "train") from error

CHAMPION, CHALLENGER = "champion", "challenger"
HOME = Path(".modelwright")
DIGEST, RUN, VERDICT = "modelwright.digest", "modelwright.run", "modelwright.verdict"
GOAL, AGAINST = "modelwright.goal", "modelwright.against"
BASELINE = "modelwright.baseline"
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
    against: str | None = None
    baseline: str = ""


class Registry:
    """The registry of a project folder.

    Args:
        folder: the project folder; without MLFLOW_TRACKING_URI it holds the SQLite store.
    """

    def __init__(self, folder: Path) -> None:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.folder = folder
        self.home = folder / HOME
        self._runs = folder / "runs"
        named = os.environ.get("MLFLOW_TRACKING_URI")
        self.is_local, self.uri = not named, named or self._local_uri()
        with _quiet(self.uri):
            self._client = mlflow.MlflowClient(self.uri)

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether a project has a registry, without making one."""
        return bool(os.environ.get("MLFLOW_TRACKING_URI")) or (folder / HOME / "mlflow.db").exists()

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """MLflow's client; its errors become ours, its chatter is silenced.

        Raises:
            RegistryError: MLflow refused or cannot be reached.
        """
        with _quiet(self.uri):
            yield self._client

    def register(
        self,
        artefact: Artefact,
        release: ReleaseRecord,
        mlflow_run: str,
        *,
        intent: str = "",
    ) -> str:
        """Make a version of a logged run; returns its number.

        Args:
            intent: what the model is for, the description of the registered model.

        Raises:
            RegistryError: MLflow refused or cannot be reached.
        """
        with _quiet(self.uri):
            _describe(self._client, release.model, intent)
            source = f"{self._client.get_run(mlflow_run).info.artifact_uri}/model"
            made = self._client.create_model_version(
                release.model,
                source,
                mlflow_run,
                tags=tags_of(artefact, release) | {GOAL: goal_in_words(release)},
                description=description_of(release),
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

    @seen
    def versions(self, model: str) -> list[Version]:
        """Every version, newest first; empty when there is no such model."""
        with _quiet(self.uri):
            found = _pages(self._client.search_model_versions, f"name = '{_name(model)}'")
        versions = [self.version(model, str(v.version)) for v in found]
        return sorted(versions, key=lambda v: int(v.number), reverse=True)

    @seen
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

    @seen
    def aliased(self, model: str, alias: str) -> Version | None:
        """The version that an alias points at, or None."""
        try:
            with _quiet(self.uri):
                found = self._client.get_model_version_by_alias(_name(model), alias)
        except _Absent:
            return None
        return self.version(model, str(found.version))

    @seen
    def models(self) -> list[str]:
        """Names of all registered models."""
        with _quiet(self.uri):
            return [m.name for m in _pages(self._client.search_registered_models)]

    def resolve(self, reference: str) -> Version:
        """Find `NAME`, `NAME@alias` or `NAME/version`; a bare name means the champion.

        Raises:
            RegistryError: no such model, alias or version; the hint lists what there is.
        """
        match = _REFERENCE.fullmatch(reference)
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
            none = "none yet. A judged run becomes one by: modelwright release RUN"
            hint = did_you_mean(name, known) or f"Known: {', '.join(known) or none}."
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
        return _brought(self, version, version.digest, "artefact")

    @property
    def shown_uri(self) -> str:
        """The tracking address without a password."""
        return _without_password(self.uri)

    def _local_uri(self) -> str:
        """The project's SQLite store; made aside and renamed, so that a kill leaves none or all."""
        path = (_made(self.home) / "mlflow.db").resolve()
        with locked(self.home / "mlflow.lock"):
            if not path.exists():
                part = path.with_name(f".{path.name}.part")
                part.unlink(missing_ok=True)
                with _quiet(f"sqlite:///{part}"):
                    mlflow.MlflowClient(f"sqlite:///{part}").search_experiments()
                part.rename(path)
        return f"sqlite:///{path}"

    def experiment(self, model: str) -> str:
        """The id of the model's experiment, made when there is none."""
        found = self._client.get_experiment_by_name(model)
        if found:
            return str(found.experiment_id)
        where = None
        if self.uri.startswith("sqlite:"):
            where = (self.home / "mlartifacts").resolve().as_uri()
        return str(self._client.create_experiment(model, artifact_location=where))


def fetch_baseline(registry: Registry, version: Version) -> Path:
    """The baseline beside a version, as `Registry.fetch` brings the version itself.

    Raises:
        RegistryError: its run made none, or it cannot be downloaded.
        ArtefactError: as for `Registry.fetch`.
    """
    if not version.baseline:
        raise NoSuchModel(f"Version {version.number} of {version.model} has no baseline.")
    return _brought(registry, version, version.baseline, "baseline")


def _brought(registry: Registry, version: Version, digest: str, what: str) -> Path:
    home, cached = registry.home, registry.home / CACHE / digest
    for folder in (registry._runs / version.run / what, cached):
        with contextlib.suppress(ArtefactError):
            return checked(folder, digest, version.model)
    with locked(home / CACHE_LOCK):
        with contextlib.suppress(ArtefactError):  # another process may have been faster
            return checked(cached, digest, version.model)
        with scratch(home) as place, _quiet(registry.uri):
            came = _download(registry._client, version.mlflow_run, place, what)
            try:
                keep(came, digest, cached)
            except ArtefactError as error:
                raise ArtefactError(
                    f"The registry's own copy of {version.model} {version.number} is not what was "
                    f"released: {error.message.replace(f'{came}/', '')}",
                    hint="No good copy is left here. Promote another version (modelwright history "
                    f"{version.model}), or run and release again.",
                ) from error
    return checked(cached, digest, version.model)


def _download(client: Any, mlflow_run: str, place: Path, what: str) -> Path:
    """A model folder of a run, with what vouches for it inside."""
    client.download_artifacts(mlflow_run, what, str(place))
    there = {item.path for item in client.list_artifacts(mlflow_run)}
    for name in (ATTESTATION, SIGNATURE, BOM):
        if name in there:
            client.download_artifacts(mlflow_run, name, str(place / what))
    return place / what


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


def _describe(client: Any, model: str, intent: str) -> None:
    """Make the registered model, or give one that exists its new description."""
    try:
        client.create_registered_model(model, description=intent or None)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        if intent:
            client.update_registered_model(model, intent)


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
        tags.get(AGAINST),
        tags.get(BASELINE, ""),
    )


def _name(model: str) -> str:
    if not _REFERENCE.fullmatch(model) or "@" in model or "/" in model:
        hint = "The version is an argument of its own: NAME VERSION." if "/" in model else ""
        raise NoSuchModel(f"{model[:80]!r} is not a model name.", hint=hint)
    return model


def tags_of(artefact: Artefact, release: ReleaseRecord) -> dict[str, str]:
    """What ties a run or version in MLflow to a run folder and the bytes in it."""
    tags = {
        DIGEST: artefact.digest, RUN: release.run, VERDICT: release.verdict,
        AGAINST: release.replaces,
    }  # fmt: skip
    return tags | ({BASELINE: release.baseline} if release.baseline else {})


def description_of(release: ReleaseRecord) -> str:
    """What a version says of itself: the verdict, the goal with its interval, the run."""
    goal = goal_in_words(release)
    return "\n\n".join(filter(None, (headline(release), goal, f"Run {release.run}.")))


def goal_in_words(release: ReleaseRecord) -> str:
    """The goal metric with its interval.

    Example:
        >>> from modelwright.core.records import Finding
        >>> found = (Finding("goal", "f1", "pass", "0.9000 (90%: 0.8800 to 0.9200)"),)
        >>> goal_in_words(ReleaseRecord("m", "r", "pass", "a", found, "t"))
        'f1 0.9000 (90%: 0.8800 to 0.9200)'
    """
    return next((f"{f.subject} {f.measured}" for f in release.evidence if f.check == "goal"), "")


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
