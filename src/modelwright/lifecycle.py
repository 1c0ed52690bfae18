"""The stages in order: read this file first."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from modelwright.core.errors import NoSuchModel, UsageError
from modelwright.core.goals import check_slices, goal_of
from modelwright.core.intake import Feeds
from modelwright.core.limits import Limit
from modelwright.core.progress import Progress, Silent
from modelwright.core.records import (
    AuditLine,
    DatasetRecord,
    FitRecord,
    Judgement,
    Measured,
    ReleaseRecord,
    Reproduced,
)
from modelwright.core.runs import SPEC, SavedSpec, find_run, past_runs, spec_of_run
from modelwright.core.spec_file import DEFAULT_NAME, SpecFile, read_spec
from modelwright.core.store import from_json, in_use, new_run, to_json, write_atomic
from modelwright.data.against import judge_rows
from modelwright.data.dataset import Dataset
from modelwright.data.dataset import load as load_data
from modelwright.data.scoring import open_rows, scored_batches
from modelwright.data.sources import open_source
from modelwright.data.writing import write_batches
from modelwright.fit.again import fit_again
from modelwright.fit.search import check_settings, search
from modelwright.pack.artefact import Artefact
from modelwright.pack.build import Maker, compared
from modelwright.pack.finalists import choose_finalist
from modelwright.pack.price import PriceList
from modelwright.release import trust
from modelwright.release.audit import AuditLog
from modelwright.release.promote import Change
from modelwright.release.promote import promote as promote_version
from modelwright.release.promote import rollback as roll_back
from modelwright.release.registry import Registry, Version, end_abandoned
from modelwright.release.release import Judged, judge_and_register
from modelwright.release.unfinished import finish


class Released:
    """A judged model, alive: its record, and answers to rows.

    Attributes:
        record: the frozen release with its evidence.
        run: the run's folder with every record and the report.
    """

    def __init__(
        self, record: ReleaseRecord, fit: FitRecord, measured: Measured, run: Path
    ) -> None:
        self.record = record
        self.fit = fit
        self.measured = measured
        self.run = run
        self._artefact: Artefact | None = None

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.run / self.record.report

    def predict(self, data: Any) -> Any:
        """Answer a DataFrame, records or columns; see `Artefact.predict`."""
        if self._artefact is None:
            self._artefact = Artefact.load(self.run / "artefact", digest=self.record.artefact)
        return self._artefact.predict(data)

    def __repr__(self) -> str:
        record = self.record
        return f"<Released {record.model} version {record.version or 'none'}: {record.verdict}>"


def run(
    spec: str | Path | SpecFile = DEFAULT_NAME,
    *,
    overrides: tuple[str, ...] = (),
    resume: bool = False,
    progress: Progress | None = None,
) -> Released:
    """Take a spec from its table to a registered release.

    Args:
        spec: the spec file.
        overrides: ``key=value`` texts, as with ``--set``.
        resume: go on with the newest run of the same spec and data that did not come to its end, or
            that Ctrl-C cut short; its candidates and the time it used count.
        progress: told about stages and trials.

    Returns:
        The judged model; `.record.verdict` says whether it was released.

    Raises:
        ModelwrightError: see `core.errors`; a run folder that was begun is kept.
    """
    tell = progress or Silent()
    spec_file = spec if isinstance(spec, SpecFile) else read_spec(Path(spec), overrides)
    tell.stage("data", spec_file.spec.data.source)
    dataset = load_data(spec_file)
    dataset.must_be_learnable()
    goal = goal_of(spec_file.spec, dataset.schema.target)
    check_settings(spec_file.spec, dataset)
    check_slices(spec_file.spec.parsed_limits(), dataset.schema)
    for finding in dataset.record.findings:
        if finding.severity != "info":
            tell.say(f"! {finding.check}, {finding.subject}: {finding.measured}; {finding.advice}")
    registry = Registry(spec_file.folder)
    # an unreachable registry or a wrong key is better found before the search than after it
    registry.models()
    trust.check_keys()
    finish(registry, spec_file.folder)
    end_abandoned(registry, spec_file.spec.name, spec_file.folder / "runs")
    folder = _run_folder(spec_file, dataset.record, resume, tell)
    with in_use(folder):
        return _fit_to_release(spec_file, dataset, goal, registry, folder, tell)


def _fit_to_release(
    spec_file: SpecFile,
    dataset: Dataset,
    goal: str,
    registry: Registry,
    folder: Path,
    tell: Progress,
) -> Released:
    """All that writes to the run's folder."""
    write_atomic(folder / "dataset.json", to_json(dataset.record))
    write_atomic(
        folder / SPEC,
        to_json(
            SavedSpec(spec_file.spec.model_dump(mode="json"), spec_file.digest, spec_file.overrides)
        ),
    )
    tell.stage("fit", f"{dataset.record.train_rows:,} rows, budget {spec_file.spec.fit.budget}")
    limits = spec_file.spec.parsed_limits()
    maker = Maker(spec_file, dataset, goal)
    prices = PriceList(maker, folder, dataset.train.feeds, limits)
    found = search(spec_file.spec, dataset, tell, prices, folder)
    tell.stage("pack", f"finalists to ONNX, measured on the {spec_file.spec.pack.measure}")
    chosen = choose_finalist(found, maker, folder, tell)
    write_atomic(folder / "fit.json", to_json(chosen.fit.record))
    write_atomic(folder / "measured.json", to_json(chosen.measured))
    tell.step(1, 1, _costs_met(limits, chosen.measured))
    tell.stage("release", "gates, report, registry")
    judged = Judged(spec_file, dataset, chosen.fit, chosen.artefact, chosen.measured, folder)
    release = judge_and_register(judged, registry)
    return Released(release, chosen.fit.record, chosen.measured, folder)


def reproduce(
    run_folder: str | Path, *, folder: str | Path = ".", progress: Progress | None = None
) -> Reproduced:
    """Make the model of a run once more from its table, and compare the two.

    Nothing is searched again: the chosen candidate is trained with its recorded parameters, rounds,
    weights and seed, on the table as it is now.

    Args:
        run_folder: the run, by its name under `runs/` or its path.
        folder: the project folder.
        progress: told about the stages.

    Returns:
        Whether the model file has the same digest, and every difference found.

    Raises:
        UsageError: no such run, or one that never came to a model.
    """
    tell = progress or Silent()
    place = find_run(Path(folder), str(run_folder))
    tell.stage("data", place.name)
    spec_file = spec_of_run(place)
    record = from_json((place / "fit.json").read_bytes(), FitRecord, where="fit.json")
    dataset = load_data(spec_file, thorough=False)
    tell.stage("fit", f"{record.family}, without a search")
    pipeline = fit_again(spec_file.spec, dataset, record)
    tell.stage("pack", "to ONNX")
    chosen = next(trial for trial in record.trials if trial.number == record.best)
    with tempfile.TemporaryDirectory() as scratch:
        maker = Maker(spec_file, dataset, record.goal)
        made = maker.write(pipeline, chosen, Path(scratch) / "artefact")
        return compared(Artefact.load(place / "artefact"), made, place.name)


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
    model = load(reference, folder=folder)
    batches = scored_batches(open_rows(str(source)), model.schema)
    return write_batches(_answered(model, batches), Path(out))


def _answered(model: Artefact, batches: Iterable[Feeds]) -> Iterator[pl.DataFrame]:
    """Answers in the order of the batches; a core each works on those that wait."""
    cores = len(os.sched_getaffinity(0))
    waiting: deque[Future[pl.DataFrame]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        for feeds in batches:
            waiting.append(pool.submit(_frame_of, model, feeds))
            if len(waiting) > cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _frame_of(model: Artefact, feeds: Feeds) -> pl.DataFrame:
    return pl.DataFrame(model.answer(feeds).columns())


def _costs_met(limits: tuple[Limit, ...], measured: Measured) -> str:
    """How many limits on latency, throughput, memory and size the measured values keep."""
    found = {name: getattr(measured, name) for name in ("latency_p95", "throughput", "memory")}
    values = {name: interval.value for name, interval in found.items() if interval is not None}
    values["size"] = float(measured.size)
    asked = [limit for limit in limits if limit.metric in values]
    met = sum(limit.met_by(values[limit.metric]) for limit in asked)
    return f"{met} of {len(asked)} limits on cost met" if asked else ""


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


def _run_folder(spec_file: SpecFile, dataset: DatasetRecord, resume: bool, tell: Progress) -> Path:
    """A new run's folder, or that of the run to go on with."""
    unfinished = [run for run in past_runs(spec_file.folder) if run.may_go_on(spec_file, dataset)]
    if not resume:
        if unfinished and not unfinished[0].ended:
            name = unfinished[0].folder.name
            tell.say(f"! run {name} of this spec was cut off; run --resume would go on with it")
        return new_run(spec_file.folder)
    if not unfinished:
        raise UsageError(
            "No run of this spec on this data was cut short.",
            hint="Begin one without --resume.",
        )
    past = unfinished[0]
    kept = len(list((past.folder / "trials").glob("*.npz")))
    tell.say(f"going on with run {past.folder.name}: {kept} trials kept")
    if not past.ended:
        return past.folder
    folder = new_run(spec_file.folder)
    past.hand_over(folder)
    return folder
