"""Judged runs and registered models: what people do with them after a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelwright.core.errors import NoSuchModel, UsageError
from modelwright.core.principal import acting
from modelwright.core.progress import Progress, Silent
from modelwright.core.records import AuditLine, Judgement, Manifest, ReleaseRecord
from modelwright.core.remembered import Remembered
from modelwright.core.runs import RELEASE, SPEC, find_run, past_runs
from modelwright.core.store import from_json, in_use, write_atomic, write_changed
from modelwright.core.traffic import Step
from modelwright.data.against import judge_rows
from modelwright.data.sources import files_of, open_source
from modelwright.pack.artefact import Artefact
from modelwright.pack.scoring import answer_file
from modelwright.release import traffic as change_traffic
from modelwright.release import trust
from modelwright.release.attest import must_be_as_judged
from modelwright.release.audit import AuditLog
from modelwright.release.compare_page import Line, compare_page, lines
from modelwright.release.practices import score_practices
from modelwright.release.promote import Change
from modelwright.release.promote import promote as promote_version
from modelwright.release.promote import rollback as roll_back
from modelwright.release.registry import Registry, Version
from modelwright.release.release import Judged, release_anyway
from modelwright.release.run_records import RunRecords
from modelwright.release.standings import STANDINGS
from modelwright.release.traffic import TrafficState
from modelwright.release.unfinished import finish, settle
from modelwright.release.unsealed import refuse_sealed_file, refuse_sealed_rows
from modelwright.serve import grafana
from modelwright.serve.clients import client
from modelwright.watch import rules

_JUDGED = Remembered[Judgement](8)
_COMPARED = Remembered[list[Line]](16)


@dataclass(frozen=True)
class Comparison:
    """Two judged runs, and the page that shows both."""

    one: RunRecords
    two: RunRecords
    report: Path

    found: list[Line]

    def differences(self) -> list[Line]:
        """What differs, a line each: figures with intervals, and paired leads where both were
        judged on the same rows."""
        return self.found


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
    return trust.load_trusted(found, digest=version.digest if version else None)


def locate(reference: str, *, folder: str | Path = ".") -> tuple[Path, Version | None]:
    """Where a model's folder is, and its version when it is a registered one."""
    if len(reference) < 4096 and (Path(reference) / "manifest.json").is_file():
        return Path(reference), None
    registry = _registry(folder, reference)
    version = registry.resolve(reference)
    return registry.fetch(version), version


def dashboard(reference: str, *, folder: str | Path = ".") -> tuple[dict[str, Any], str]:
    """A Grafana dashboard of a model with its limits, and how Prometheus is told of its server.

    Args:
        reference: see `load`.
        folder: the project folder.

    Returns:
        (the dashboard to import, an entry of `scrape_configs`).
    """
    place, manifest, _ = _described(reference, folder)
    spec = from_json((place / "spec.json").read_bytes(), dict, where="spec.json")
    serve = spec.get("serve", {})
    scrape = grafana.scrape_config(manifest.model, serve if isinstance(serve, dict) else {})
    return grafana.dashboard(manifest), scrape


def alert_rules(reference: str, *, folder: str | Path = ".") -> str:
    """Alerting rules for Prometheus, YAML for `rule_files`, from a model's `limits` and
    `watch.limits`.

    Args:
        reference: see `load`.
        folder: the project folder.
    """
    place, manifest, _ = _described(reference, folder)
    spec = from_json((place / "spec.json").read_bytes(), dict, where="spec.json")
    aims = rules.Aims.of(spec.get("watch", {}).get("limits", {}))
    return rules.rule_file(manifest.model, manifest.limits, aims)


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
    left, right = (replace(run, practices=score_practices(run)) for run in (first, second))

    def made() -> list[Line]:
        found = lines(left, right)
        write_changed(out, compare_page(left, right, found).encode())
        return found

    files = [out, left.folder / STANDINGS, right.folder / STANDINGS]
    key = out.resolve(), left.digest(), right.digest()
    return Comparison(first, second, out, _COMPARED.get(key, files, made))


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
        must_be_as_judged(place, found.release.artefact, found.release)  # before its model runs
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


def traffic(model: str, *, folder: str | Path = ".") -> TrafficState:
    """Who answers a model's requests now: canary, A/B test, shadow."""
    return change_traffic.show(_registry(folder, model), Path(folder), model)


def canary(
    model: str,
    version: str,
    *,
    weight: float | None = None,
    steps: Sequence[Step] = (),
    seed: int | None = None,
    why: str = "",
    folder: str | Path = ".",
) -> TrafficState:
    """Give a version a share of the requests. See `release.traffic.canary`."""
    return change_traffic.canary(
        _registry(folder, model), Path(folder), model, version,
        weight=weight, steps=steps, seed=seed, why=why,
    )  # fmt: skip


def ab_test(
    model: str,
    arms: Mapping[str, float],
    *,
    seed: int | None = None,
    why: str = "",
    folder: str | Path = ".",
) -> TrafficState:
    """Share all requests between versions. See `release.traffic.ab_test`."""
    return change_traffic.ab_test(
        _registry(folder, model), Path(folder), model, arms, seed=seed, why=why
    )


def shadow(model: str, version: str, *, why: str = "", folder: str | Path = ".") -> TrafficState:
    """Let a version answer along, unseen. See `release.traffic.shadow`."""
    return change_traffic.shadow(_registry(folder, model), Path(folder), model, version, why=why)


def stop_traffic(
    model: str,
    what: str = "",
    *,
    why: str = "",
    folder: str | Path = ".",
) -> TrafficState:
    """End canary, A/B test and shadow, or one of them. See `release.traffic.stop`."""
    return change_traffic.stop(_registry(folder, model), Path(folder), model, what, why=why)


def history(model: str, *, folder: str | Path = ".") -> tuple[list[Version], list[AuditLine]]:
    """Every version, newest first, and every change of its champion, oldest first.

    Raises:
        RegistryError: there is no such model.
    """
    registry = _registry(folder, model)
    settle(registry, Path(folder), model)
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
        Refused: an agent asks about rows that a run sealed.
    """
    if Path(out).resolve() == Path(source).resolve():
        raise UsageError(f"{out} is the file to predict.", hint="Name another file to write.")
    model = _shared(reference, folder)
    if acting().is_agent:
        refuse_sealed_file(Path(folder), Path(source), model.schema)
    return answer_file(model, str(source), Path(out))


def predict_rows(
    reference: str, rows: Sequence[dict[str, Any]], *, folder: str | Path = "."
) -> list[dict[str, Any]]:
    """Answer some rows.

    Args:
        reference: see `load`.
        rows: a record each.
        folder: the project folder.

    Raises:
        RowsError: rows that do not fit, each named.
        Refused: an agent asks about rows that a run sealed.
    """
    model = _shared(reference, folder)
    if acting().is_agent:
        refuse_sealed_rows(Path(folder), rows, model.schema)
    answers: list[dict[str, Any]] = model.predict(list(rows))
    return answers


def write_client(
    reference: str, language: str, out: str | Path = ".", *, folder: str | Path = "."
) -> Path:
    """Write a typed client of a model: one file, which needs no library.

    Args:
        reference: see `load`.
        language: python or typescript.
        out: the folder to write it to; a file that was made before is replaced.
        folder: the project folder.
    """
    _, manifest, _ = _described(reference, folder)
    name, text = client(manifest, language)
    path = Path(out) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())
    return path


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
    _, manifest, digest = _described(reference, folder)

    def judged() -> Judgement:
        opened = open_source(str(source), Path())
        told = progress or Silent()
        return judge_rows(opened, manifest.schema, manifest.baseline, reference, told)

    files = files_of(str(source), Path())
    if files is None:
        return judged()
    return _JUDGED.get((str(source), Path.cwd(), reference, digest), files, judged)


def _shared(reference: str, folder: str | Path) -> Artefact:
    """A model that stays with us: as `load`, but ONNX Runtime loads the same bytes only once."""
    found, version = locate(reference, folder=folder)
    return trust.load_trusted(found, digest=version.digest if version else None, shared=True)


def _described(reference: str, folder: str | Path) -> tuple[Path, Manifest, str]:
    """Folder, manifest and digest of a model that is not asked to answer; see `load`."""
    found, version = locate(reference, folder=folder)
    return found, *trust.described(found, digest=version.digest if version else None)


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
