"""The stages in order: read this file first."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelwright.core.ctrl_c import first_press_noted
from modelwright.core.errors import UsageError
from modelwright.core.goals import check_slices, goal_of
from modelwright.core.limits import Limit
from modelwright.core.progress import Progress, Silent
from modelwright.core.records import (
    NOT_LOOKED_AT,
    DatasetRecord,
    Finding,
    FitRecord,
    Measured,
    ReleaseRecord,
    Reproduced,
)
from modelwright.core.runs import REPRODUCED, find_run, keep_spec, past_runs, spec_of_run
from modelwright.core.spec_file import DEFAULT_NAME, SpecFile, read_spec
from modelwright.core.store import from_json, in_use, new_run, to_json, write_atomic
from modelwright.data.dataset import Dataset
from modelwright.data.dataset import load as load_data
from modelwright.fit.again import fit_again
from modelwright.fit.search import search
from modelwright.fit.settings import check_settings
from modelwright.pack.artefact import Artefact, verified
from modelwright.pack.baseline import pack_baseline
from modelwright.pack.build import Maker, compared
from modelwright.pack.finalists import Chosen, choose_finalist
from modelwright.pack.price import PriceList
from modelwright.release import trust
from modelwright.release.admission import admitted, admitted_again, begins, begun_before
from modelwright.release.recent import Recent
from modelwright.release.registry import Registry
from modelwright.release.release import Judged, judge_and_register
from modelwright.release.tracking import end_abandoned
from modelwright.release.unfinished import settle
from modelwright.watch.reference import keep_reference


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
    since: float | None = None,
) -> Released:
    """Take a spec from its table to a registered release.

    Args:
        spec: the spec file.
        overrides: ``key=value`` texts, as with ``--set``.
        resume: go on with the newest run of the same spec and data that did not come to its end, or
            that Ctrl-C cut short; its candidates and the time it used count.
        progress: told about stages and trials.
        since: moment of `time.monotonic` from which a budget of seconds counts; now by default.

    Returns:
        The judged model; `.record.verdict` says whether it was released.

    Raises:
        ModelwrightError: see `core.errors`; a run folder that was begun is kept.
    """
    since = time.monotonic() if since is None else since
    tell = progress or Silent()
    spec_file = spec if isinstance(spec, SpecFile) else read_spec(Path(spec), overrides)
    with admitted(spec_file, "run", resume=resume) as spent:
        tell.stage("data", spec_file.spec.data.source)
        dataset = load_data(spec_file)
        check_all(spec_file, dataset, tell)
        registry = ready_registry(spec_file)
        folder = _run_folder(spec_file, dataset.record, resume, tell)
        with in_use(folder):
            begins(spec_file, folder.name)
            released = fit_to_release(spec_file, dataset, registry, folder, tell, since=since)
        spent.trials = len(released.fit.trials)
        return released


def check_all(spec_file: SpecFile, dataset: Dataset, tell: Progress) -> None:
    """Refuse, before any search, what could not be learned from; say what was found in the data."""
    dataset.must_be_learnable()
    goal_of(spec_file.spec, dataset.schema.target)
    check_settings(spec_file.spec, dataset)
    check_slices(spec_file.spec.parsed_limits(), dataset.schema)
    for finding in dataset.record.findings:
        if finding.severity != "info":
            tell.say(f"! {finding.check}, {finding.subject}: {finding.measured}; {finding.advice}")


def ready_registry(spec_file: SpecFile) -> Registry:
    """The project's registry, with all ended that a kill cut off: an unreachable registry or a
    wrong key is better found before the search than after it."""
    registry = Registry(spec_file.folder)
    registry.models()
    trust.check_keys()
    settle(registry, spec_file.folder, spec_file.spec.name)
    end_abandoned(registry, spec_file.spec.name, spec_file.folder / "runs")
    return registry


def fit_to_release(
    spec_file: SpecFile,
    dataset: Dataset,
    registry: Registry,
    folder: Path,
    tell: Progress,
    recent: Recent | None = None,
    notes: tuple[Finding, ...] = (),
    *,
    since: float,
) -> Released:
    """All that writes to the run's folder, which is in use.

    Args:
        recent, notes: of a retraining, see `release.release.Judged`.
        since: moment of `time.monotonic` from which the budget counts.
    """
    goal = goal_of(spec_file.spec, dataset.schema.target)
    write_atomic(folder / "dataset.json", to_json(dataset.record))
    keep_spec(folder, spec_file)
    tell.stage("fit", f"{dataset.record.train_rows:,} rows, budget {spec_file.spec.fit.budget}")
    limits = spec_file.spec.parsed_limits()
    maker = Maker(spec_file, dataset, goal)
    prices = PriceList(maker, folder, dataset.train.feeds, limits)
    found = search(spec_file.spec, dataset, tell, prices, folder, since)
    was_pressed = found.stopped_by == "interrupt"  # then the next one ends it all, as was said
    noted = first_press_noted(found.ledger.trainer.halt.set)
    with contextlib.nullcontext(bool) if was_pressed else noted as pressed:
        tell.stage("pack", f"finalists to ONNX, measured on the {spec_file.spec.pack.measure}")
        chosen = choose_finalist(found, maker, folder, tell, pressed)
        write_atomic(folder / "fit.json", to_json(chosen.fit.record))
        write_atomic(folder / "measured.json", to_json(chosen.measured))
        tell.step(1, 1, _costs_met(limits, chosen.measured))
        try:
            tell.stage("release", "gates, report, registry")
            release = _released(
                spec_file, dataset, registry, maker, chosen, folder, recent, notes, tell, pressed
            )
        except KeyboardInterrupt:
            tell.say(f"The search is kept: {spec_file.resuming} goes on with it.")
            raise
    return Released(release, chosen.fit.record, chosen.measured, folder)


def _released(
    spec_file: SpecFile,
    dataset: Dataset,
    registry: Registry,
    maker: Maker,
    chosen: Chosen,
    folder: Path,
    recent: Recent | None,
    notes: tuple[Finding, ...],
    tell: Progress,
    pressed: Callable[[], bool],
) -> ReleaseRecord:
    """The chosen model judged on the sealed rows; the first Ctrl-C only shortens it."""
    baseline = pack_baseline(maker, chosen.fit, folder)
    keep_reference(
        folder, chosen.artefact.manifest, chosen.artefact.digest, chosen.fit,
        dataset.train.feeds, dataset.train.target,
    )  # fmt: skip
    judged = Judged(
        spec_file, dataset.record, chosen.fit.record, chosen.measured, chosen.artefact, folder,
        baseline, recent, notes,
    )  # fmt: skip
    release = judge_and_register(judged, dataset, chosen.fit, registry, pressed)
    left_out = [f.subject for f in release.evidence if f.check == NOT_LOOKED_AT]
    if left_out:
        tell.say(f"Ctrl-C: judged by every gate, without {', '.join(left_out)}.")
    return release


def reproduce(
    run_folder: str | Path, *, folder: str | Path = ".", progress: Progress | None = None
) -> Reproduced:
    """Make the model of a run once more from its table, and compare the two.

    Nothing is searched again: the chosen candidate is trained with its recorded parameters, rounds,
    weights and seed, on the table as it is now. What came out is kept with the run, for its report.

    Args:
        run_folder: the run, by its name under `runs/` or its path.
        folder: the project folder.
        progress: told about the stages.

    Returns:
        Whether the model file has the same digest, and every difference found.

    Raises:
        UsageError: no such run, or one that never came to a model.
        Refused: another process writes in the project, or the agents' budget is used up.
    """
    tell = progress or Silent()
    place = find_run(Path(folder), str(run_folder))
    with admitted_again(Path(folder)) as spent:
        tell.stage("data", place.name)
        found = _made_again(place, tell)
        spent.trials = 1
        write_atomic(place / REPRODUCED, to_json(found))
    return found


def _made_again(place: Path, tell: Progress) -> Reproduced:
    """The model of a run, trained once more and compared with the first."""
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
        then, _, _ = verified(place / "artefact")  # looked at, not run
        return compared(then, made.manifest, place.name)


def _costs_met(limits: tuple[Limit, ...], measured: Measured) -> str:
    """How many limits on latency, throughput, memory and size the measured values keep."""
    found = {name: getattr(measured, name) for name in ("latency_p95", "throughput", "memory")}
    values = {name: interval.value for name, interval in found.items() if interval is not None}
    values["size"] = float(measured.size)
    asked = [limit for limit in limits if limit.metric in values]
    met = sum(limit.met_by(values[limit.metric]) for limit in asked)
    return f"{met} of {len(asked)} limits on cost met" if asked else ""


def _run_folder(spec_file: SpecFile, dataset: DatasetRecord, resume: bool, tell: Progress) -> Path:
    """A new run's folder, or that of the run to go on with."""
    alike = [run for run in past_runs(spec_file.folder) if run.is_alike(spec_file, dataset)]
    begun = begun_before(spec_file)
    same = [run for run in alike if run.may_go_on and run.folder.name == begun]
    # what is older than one that came to its end was done again, or gone on with
    unfinished = [*itertools.takewhile(lambda run: run.may_go_on, alike)]
    if not (resume or same):
        if unfinished and not unfinished[0].ended:
            name = unfinished[0].folder.name
            tell.say(f"! run {name} of this spec was cut off; run --resume would go on with it")
        return new_run(spec_file.folder)
    if not unfinished:
        raise UsageError(
            "No run of this spec on this data was cut short.",
            hint="Begin one without --resume.",
        )
    past = (same or unfinished)[0]
    kept = len(list((past.folder / "trials").glob("*.npz")))
    tell.say(f"going on with run {past.folder.name}: {kept} trial(s) kept")
    if not past.ended:
        return past.folder
    folder = new_run(spec_file.folder)
    past.hand_over(folder)
    return folder
