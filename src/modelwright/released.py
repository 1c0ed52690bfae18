"""Judged runs and registered models: what people do with them after a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelwright.core.errors import NoSuchModel, UsageError
from modelwright.core.progress import Progress, Silent
from modelwright.core.records import AuditLine, Judgement, ReleaseRecord
from modelwright.core.runs import RELEASE, SPEC, find_run, past_runs
from modelwright.core.store import in_use, write_atomic
from modelwright.data.against import judge_rows
from modelwright.data.sources import open_source
from modelwright.pack.artefact import Artefact
from modelwright.pack.scoring import answer_file
from modelwright.release import trust
from modelwright.release.audit import AuditLog
from modelwright.release.compare_page import compare_page, lines
from modelwright.release.promote import Change
from modelwright.release.promote import promote as promote_version
from modelwright.release.promote import rollback as roll_back
from modelwright.release.registry import Registry, Version
from modelwright.release.release import Judged, release_anyway
from modelwright.release.run_records import RunRecords
from modelwright.release.unfinished import finish


@dataclass(frozen=True)
class Comparison:
    """Two judged runs, and the page that shows both."""

    one: RunRecords
    two: RunRecords
    report: Path

    def differences(self) -> list[tuple[str, str, str, str]]:
        """(what, its value in the one, in the other, which is better as far as intervals tell)."""
        return lines(self.one, self.two)


def load(reference: str, *, folder: str | Path = ".") -> Artefact:
    """Load a registered model, or a model folder.

    Args:
        reference: `NAME` (its champion), `NAME@challenger`, `NAME/3`, or a folder.
        folder: the project folder.

    Raises:
        RegistryError: there is no such model.
        ArtefactError: its files were changed, or no trusted key vouches for them.
    """
    found, version = locate(reference, folder=folder)
    model = Artefact.load(found, digest=version.digest if version else None)
    trust.verify(found, model.digest, model.manifest.model)
    return model


def locate(reference: str, *, folder: str | Path = ".") -> tuple[Path, Version | None]:
    """Where a model's folder is, and its version when it is a registered one."""
    if len(reference) < 4096 and (Path(reference) / "manifest.json").is_file():
        return Path(reference), None
    registry = _registry(folder, reference)
    version = registry.resolve(reference)
    return registry.fetch(version), version


def records_of(reference: str | Path = "", *, folder: str | Path = ".") -> RunRecords:
    """Everything that a judged run has written.

    Args:
        reference: a run's name or folder, or `NAME`, `NAME@challenger`, `NAME/3`; empty for the
            newest judged run.
        folder: the project folder.

    Raises:
        UsageError: no such run, or it is not on this machine.
        RegistryError: no such model.
    """
    project, name = Path(folder), str(reference)
    if not name:
        judged = [run.folder for run in past_runs(project) if (run.folder / RELEASE).exists()]
        if not judged:
            raise UsageError("No run was judged here yet.", hint="Begin with modelwright run.")
        return RunRecords.read(judged[0])
    if (Path(name) / SPEC).is_file() or (project / "runs" / name / SPEC).is_file():
        return RunRecords.read(find_run(project, name))
    version = _registry(folder, name).resolve(name)
    place = project / "runs" / version.run
    if not place.is_dir():
        raise UsageError(
            f"Run {version.run} of {name} is not on this machine.",
            hint="Its report is among the run's artifacts in MLflow.",
        )
    return RunRecords.read(place)


def compare_releases(one: str, two: str, *, folder: str | Path = ".") -> Comparison:
    """Two judged runs on one page, which is written to `runs/`.

    Args:
        one, two: see `records_of`.
        folder: the project folder.
    """
    first, second = records_of(one, folder=folder), records_of(two, folder=folder)
    out = Path(folder) / "runs" / f"compare-{first.release.run}-{second.release.run}.html"
    write_atomic(out, compare_page(first, second).encode())
    return Comparison(first, second, out)


def release_run(
    run_folder: str | Path, *, allow: Sequence[str] = (), why: str = "", folder: str | Path = "."
) -> ReleaseRecord:
    """Release a run whose gates left it undecided, on your word; see `release_anyway`.

    Args:
        run_folder: the run, by its name under `runs/` or its path.
        allow: names of the gates to let through.
        why: the reason, for the audit.
        folder: the project folder.
    """
    place = find_run(Path(folder), str(run_folder))
    if place.resolve().parent != (Path(folder) / "runs").resolve():
        raise UsageError(
            f"Run {place.name} belongs to another project: {place.resolve().parents[1]}.",
            hint="Go there, or name it with --project.",
        )
    with in_use(place):
        found = RunRecords.read(place)
        artefact = Artefact.load(place / "artefact", digest=found.release.artefact)
        judged = Judged(found.spec_file, found.dataset, found.fit, found.measured, artefact, place)
        registry = Registry(Path(folder))
        return release_anyway(judged, found.evaluation, found.release, registry, allow, why)


def promote(
    model: str, version: str | None = None, *, why: str = "", folder: str | Path = "."
) -> Change:
    """Make a version the champion; default the challenger. See `release.promote`."""
    return promote_version(_registry(folder, model), Path(folder), model, version, why=why)


def rollback(model: str, *, why: str = "", folder: str | Path = ".") -> Change:
    """Make the champion before the present one the champion again."""
    return roll_back(_registry(folder, model), Path(folder), model, why=why)


def history(model: str, *, folder: str | Path = ".") -> tuple[list[Version], list[AuditLine]]:
    """Every version, newest first, and every change of its champion, oldest first.

    Raises:
        RegistryError: there is no such model.
    """
    registry = _registry(folder, model)
    versions = registry.versions(model)
    if not versions:
        registry.resolve(model)
    return versions, AuditLog(Path(folder)).lines(model)


def predict_file(
    reference: str, source: str | Path, out: str | Path, *, folder: str | Path = "."
) -> int:
    """Answer a file: `prediction` and a `p_<label>` column a class, rows in their order.

    Args:
        reference: see `load`.
        source: a file, folder, glob or URL of any format that `data.source` reads; it is streamed.
        out: CSV or Parquet file by its ending; appears whole or not at all.
        folder: the project folder.

    Returns:
        How many rows were answered.

    Raises:
        RowsError: rows that do not fit, each named; nothing is written.
    """
    if Path(out).resolve() == Path(source).resolve():
        raise UsageError(f"{out} is the file to predict.", hint="Name another file to write.")
    return answer_file(load(reference, folder=folder), str(source), Path(out))


def check_against(
    source: str | Path,
    reference: str,
    *,
    folder: str | Path = ".",
    progress: Progress | None = None,
) -> Judgement:
    """Hold a file against a released model: its schema, its contract, its distributions.

    Args:
        source: whatever `data.source` reads.
        reference: see `load`.
        folder: the project folder.
        progress: told how far it is.

    Returns:
        Findings: severity error for what the model would refuse, warning for what has moved.
    """
    model = load(reference, folder=folder)
    opened = open_source(str(source), Path())
    manifest = model.manifest
    return judge_rows(opened, model.schema, manifest.baseline, reference, progress or Silent())


def _registry(folder: str | Path, model: str) -> Registry:
    """The registry of a project that has one; looking for a model makes none."""
    if not Registry.exists(Path(folder)):
        raise NoSuchModel(
            f"There is no model {model[:80]!r}: {Path(folder).resolve()} has no registry.",
            hint="Begin with modelwright run, or name the project's folder (--project).",
        )
    registry = Registry(Path(folder))
    finish(registry, Path(folder))  # what a kill cut off
    return registry
