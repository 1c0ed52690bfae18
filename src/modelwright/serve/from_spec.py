"""The `serve` part of a spec, and names of models, to the settings of a server process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from modelwright.core.errors import ModelwrightError, NoSuchModel, SpecError, UsageError
from modelwright.core.records import Finding
from modelwright.core.spec_file import DEFAULT_NAME, read_spec
from modelwright.core.spec_serve import JournalSpec, ServeSpec
from modelwright.core.store import from_json
from modelwright.pack.artefact import MANIFEST
from modelwright.release import trust
from modelwright.serve.as_released import unlike
from modelwright.serve.follow import Follower
from modelwright.serve.settings import (
    Breaking,
    Caching,
    Journaling,
    Settings,
    Source,
    journal_place,
)
from modelwright.serve.tokens import tokens_from

CHAMPION = "champion"
DATABASE, PENDING = Path(".modelwright/mlflow.db"), Path(".modelwright/pending.json")


def server_settings(
    references: Sequence[str], *, folder: str | Path = ".", **said: Any
) -> Settings:
    """What a server process needs to serve models; see `serve.server.serve`.

    The `serve` part of the spec that the first model was made with decides, then `said`.

    Args:
        references: `NAME` follows its champion as it changes, `NAME@challenger` that alias;
            `NAME/3` and a model folder stay as they are.
        folder: the project folder.
        said: fields of `Settings` in place of the spec's; None for its own. As `journal` a place is
            enough: see `settings_from`.

    Raises:
        RegistryError: there is no such model.
        ArtefactError: its files were changed, or no trusted key vouches for them.
        UsageError: two models of one name, or a token's variable is missing.
    """
    project = Path(folder)
    found = [_source(reference, project) for reference in references]
    names = [source.name for source, *_ in found]
    if len(set(names)) < len(names):
        raise UsageError(
            f"Two models of one name: {', '.join(names)}.",
            hint="To compare versions of a model, see modelwright traffic.",
        )
    saved = from_json((found[0][1] / "spec.json").read_bytes(), dict, where="spec.json")
    spec = ServeSpec.model_validate(saved.get("serve", {}))
    sources = tuple(source for source, *_ in found)
    return settings_from(spec, sources, os.environ, folder=project, **said)


def as_released(reference: str, *, folder: str | Path = ".", **said: Any) -> tuple[Finding, ...]:
    """Where `modelwright.yaml` says what is not in force, since a version goes by what it was
    released with; see `serve.as_released.unlike`.

    Args:
        reference: as for `server_settings`.
        folder: the project folder; its file counts where it is about this model.
        said: for a server that begins: what its command line gave, as for `server_settings`.

    Raises:
        RegistryError, ArtefactError: as for `server_settings`.
    """
    project = Path(folder)
    try:
        spec = read_spec(project / DEFAULT_NAME).spec
    except SpecError:  # none, or a broken one: neither keeps a server from serving
        return ()
    source, place, number = _source(reference, project)
    if source.name != spec.name:
        return ()
    named = f"version {number}" if number else "the model folder"
    return unlike(place, named, spec, project, said)


def _source(reference: str, project: Path) -> tuple[Source, Path, str]:
    """What is served, the model folder that it has now, and its version where one is known."""
    if len(reference) < 4096 and (Path(reference) / MANIFEST).is_file():
        place = Path(reference)
        artefact = trust.load_trusted(place)
        source = Source(name=artefact.manifest.model, folder=str(place), digest=artefact.digest)
        return source, place, ""
    found = _followed(reference, project)
    return found if found is not None else _looked_up(reference, project)


def _followed(reference: str, project: Path) -> tuple[Source, Path, str] | None:
    """The usual case without MLflow, which takes seconds to import and is not on every server.

    None where more is to be done or said: another kind of reference, a change that a kill cut off,
    no such model, files that are not here.
    """
    name, _, alias = reference.partition("@")
    registry = bool(os.environ.get("MLFLOW_TRACKING_URI")) or (project / DATABASE).is_file()
    if "/" in reference or not registry or (project / PENDING).exists():
        return None
    source = Source(name=name, project=str(project.resolve()), alias=alias or CHAMPION)
    try:
        follower = Follower(source)
        known = follower.state()
        follower.close()
    except ModelwrightError:
        return None
    place = known.place(known.champion)
    if place is None:
        return None
    trust.load_trusted(Path(place.folder), digest=place.digest, model=name)
    return source, Path(place.folder), known.champion


def _looked_up(reference: str, project: Path) -> tuple[Source, Path, str]:
    """The same with all that the registry knows, and can say when there is no such model."""
    from modelwright.release.registry import Registry
    from modelwright.release.unfinished import settle

    if not Registry.exists(project):
        raise NoSuchModel(
            f"There is no model {reference[:80]!r}: {project.resolve()} has no registry.",
            hint="Begin with modelwright run, or name the project's folder (--project).",
        )
    registry = Registry(project)
    settle(registry, project, reference.partition("@")[0].partition("/")[0])  # what a kill cut off
    version = registry.resolve(reference)
    place = registry.fetch(version)
    trust.load_trusted(place, digest=version.digest, model=version.model)
    if "/" in reference:
        return (
            Source(
                name=version.model, folder=str(place), version=version.number, digest=version.digest
            ),
            place,
            version.number,
        )
    alias = reference.partition("@")[2] or CHAMPION
    source = Source(name=version.model, project=str(project.resolve()), alias=alias)
    return source, place, version.number


def settings_from(
    spec: ServeSpec,
    sources: tuple[Source, ...],
    environ: Mapping[str, str],
    *,
    folder: Path = Path(),
    **said: Any,
) -> Settings:
    """Settings as a spec has them.

    Args:
        spec: its `serve` part.
        sources: what to serve.
        environ: holds the tokens that the spec names.
        folder: that the paths of TLS files are relative to.
        said: fields of `Settings` that the command line gives; None for those that it does not.
            A text as `journal` is where it is kept, in place of `serve.journal.to`.

    Raises:
        UsageError: a token's variable is missing or cannot be used; the journal has no place.

    Example:
        >>> settings_from(ServeSpec(workers=2), (), {}, port=0).port
        0
    """
    tls, place = spec.tls, None
    if isinstance(said.get("journal"), str):
        place = said.pop("journal")
    found = Settings(
        models=sources,
        host=spec.host,
        port=spec.port,
        grpc_port=spec.grpc_port,
        metrics_port=spec.metrics_port,
        workers=spec.workers,
        max_body=spec.max_body,
        max_rows=spec.max_rows,
        tokens=tokens_from(spec, environ),
        certificate=str(folder / tls.certificate) if tls is not None else None,
        key_file=str(folder / tls.key) if tls is not None else None,
        unknown_columns=spec.unknown_columns,
        unseen_levels=spec.unseen_levels,
        out_of_range=spec.out_of_range,
        deadline=spec.deadline,
        queue=spec.queue,
        drain=spec.drain,
        fallback=tuple(spec.fallback),
        constant=spec.constant,
        breaker=Breaking(**spec.breaker.model_dump()),
        cache=Caching(**spec.cache.model_dump()),
        journal=_journal(spec, folder, place),
        access_log=spec.access_log,
        key=spec.key,
    )
    given = {name: value for name, value in said.items() if value is not None}
    return msgspec.structs.replace(found, **given)


def _journal(spec: ServeSpec, folder: Path, place: str | None) -> Journaling:
    told = spec.journal
    if place is not None:
        to = journal_place(place, folder)
        told = told.model_copy(update={"to": to}) if told is not None else JournalSpec(to=to)
    if told is None:
        return Journaling()
    return Journaling(**{**told.model_dump(), "to": journal_place(told.to, folder)})
