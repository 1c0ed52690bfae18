"""A model trained anew on what was learned since: `retrain`, beside `lifecycle.run`.

The rows that the champion's run sealed stay sealed and judge once more. Of the answered rows whose
truth is known the newest only judge; the older ones are learned from. What comes out is a
challenger; a canary decides what becomes of it.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from modelwright.core.budget import Spent
from modelwright.core.errors import ArtefactError, DataError, MissingExtra, UsageError
from modelwright.core.progress import Progress, Silent
from modelwright.core.records import Finding
from modelwright.core.runs import GROWN, RECENT, has_ended, keep_spec, spec_of_run
from modelwright.core.schema import Schema, moment_text
from modelwright.core.spec_data import DataSpec
from modelwright.core.spec_file import DEFAULT_NAME, SpecFile, read_spec
from modelwright.core.store import (
    append_line,
    from_json,
    in_use,
    is_held,
    locked_now,
    new_run,
    timestamp,
    to_json,
    write_atomic,
)
from modelwright.core.table import Table
from modelwright.data.answered import Labelled, labelled_of
from modelwright.data.dataset import Dataset
from modelwright.data.dataset import load as load_data
from modelwright.data.grown import Grown, grow, judging
from modelwright.lifecycle import Released, check_all, fit_to_release, ready_registry
from modelwright.pack.artefact import Artefact
from modelwright.release.admission import admitted, begins, begun_before
from modelwright.release.recent import Recent
from modelwright.release.registry import CHAMPION, HOME, Registry, Version
from modelwright.release.sealed import kept_sealed
from modelwright.serve.journal_segment import SHADOW
from modelwright.watch.subject import journal_place
from modelwright.watch.triggers import Past

PLAN = "retrain.json"
FOLDER = HOME / "retrain"
Rows = Any | Callable[[float], Any]
"""Answered rows with their labels (`watch.labels`), or what gives them from a Unix time on."""

NO_ROWS = pl.DataFrame(schema={"label": pl.String, "time": pl.Datetime("us")})


class Retraining(msgspec.Struct, frozen=True):
    """`retrain.json` of a run: what it was trained on, and what judges it.

    `champion` and `champion_run`: whom it is compared with. `source_rows`, `sealed_rows`, `learned`
    and `judging`: rows of the source, those of them that are sealed, answered rows that are learned
    from, and labelled rows that only judge. `window` and `recent`: first and last answer of the
    latter two. `left_out`: why rows are in neither -> how many. `until`: the newest answer that is
    learned from, microseconds since 1970. `problem`: why no answered row can judge, where the
    journal has not what the model reads. `begun`: Unix time.
    """

    model: str
    why: str
    at: str
    champion: str
    champion_run: str
    data: str
    source: str
    source_rows: int
    sealed_rows: int
    learned: int
    judging: int
    window: tuple[str, str] = ("", "")
    recent: tuple[str, str] = ("", "")
    left_out: dict[str, int] = {}
    until: int = 0
    problem: str = ""
    run: str = ""
    begun: float = 0.0

    def note(self) -> Finding:
        """What it was made of, for report and card."""
        out = "".join(f"; {count:,} left out: {why}" for why, count in self.left_out.items())
        return Finding(
            "retrained", f"after version {self.champion}", "pass",
            f"{self.source_rows:,} rows of the source, {self.sealed_rows:,} of them sealed as "
            f"before, and {self.learned:,} answered ones; {self.judging:,} newer ones only "
            f"judge{out}", "", self.why, "", "info",
        )  # fmt: skip


@dataclass(frozen=True)
class Retrained:
    """What was planned and, but for a dry run, what came of it."""

    plan: Retraining
    released: Released | None = None


def retrain(
    spec: str | Path | SpecFile = DEFAULT_NAME,
    *,
    why: str = "",
    rows: Rows | None = None,
    overrides: tuple[str, ...] = (),
    dry_run: bool = False,
    resume: bool = False,
    now: float | None = None,
    progress: Progress | None = None,
) -> Retrained:
    """Train a released model anew, and register it as challenger if it passes its gates.

    Args:
        spec: the spec file; `watch.retrain` says on what.
        why: the reason; goes into the report and the list of retrainings.
        rows: see `Rows`; default `serve.journal` of the spec with the labels that came for it.
        overrides: ``key=value`` texts, as with ``--set``.
        dry_run: only say what would be done; nothing is written.
        resume: go on with the newest retraining of this champion that was cut off.
        now: Unix time; default the present.
        progress: told about stages and trials.

    Raises:
        UsageError: there is no champion, its run is not on this machine, it is being retrained
            already, or the spec splits its table in another way now.
        MissingExtra: the journal cannot be read without duckdb.
        DataError: the source does not hold the champion's sealed rows any more, or its journal has
            not what the model reads.
    """
    tell = progress or Silent()
    spec_file = spec if isinstance(spec, SpecFile) else read_spec(Path(spec), overrides)
    model, folder = spec_file.spec.name, spec_file.folder
    if dry_run:
        return Retrained(_planned(spec_file, rows, why, now, tell)[0])
    told = f"A retraining of {model} is still going on in another process."
    with (
        locked_now(folder / FOLDER / f"{model}.lock", told, "Wait for it, or stop it."),
        admitted(spec_file, "retrain", why=why, resume=resume) as spent,
    ):
        registry = ready_registry(spec_file)
        if resume or begun_before(spec_file):
            return _gone_on(spec_file, registry, tell, spent)
        plan, grown = _planned(spec_file, rows, why, now, tell)
        run = new_run(folder)
        with in_use(run):
            begun = time.time() if now is None else now
            plan = msgspec.structs.replace(plan, run=run.name, begun=begun)
            own = _for_run(spec_file, run, grown)
            _write(run, plan, grown, own)
            _count(spec_file, plan)
            return _trained(own, run, plan, registry, tell, spent)


def goes_on(folder: str | Path, model: str) -> bool:
    """Whether a process retrains a model now."""
    return is_held(Path(folder) / FOLDER / f"{model}.lock")


def past_retrainings(folder: str | Path, model: str) -> tuple[Past, ...]:
    """Every retraining of a model that was begun, the oldest first; for `watch.triggers`."""
    ledger = _ledger(Path(folder), model)
    lines = ledger.read_bytes().splitlines() if ledger.exists() else ()
    found = []
    for line in lines:
        with suppress(msgspec.DecodeError):  # cut short by a kill: its run had not begun
            found.append(msgspec.json.decode(line, type=Past))
    return tuple(found)


def unfinished(folder: str | Path, model: str, champion: str) -> Path | None:
    """The newest retraining against a champion that did not come to its end; see `resume`."""
    for run in sorted((Path(folder) / "runs").glob("[!.]*/"), reverse=True):
        plan = _plan_of(run)
        if plan is not None and (plan.model, plan.champion) == (model, champion):
            return None if has_ended(run) else run
    return None


def _planned(
    spec_file: SpecFile, rows: Rows | None, why: str, now: float | None, tell: Progress
) -> tuple[Retraining, Grown]:
    """What is there to train on, and to judge by."""
    spec, folder = spec_file.spec, spec_file.folder
    tell.stage("data", spec.data.source)
    champion = _champion(folder, spec.name)
    place = _run_of(champion, folder)
    _must_split_alike(spec.data, spec_of_run(place).spec.data)
    sealed = kept_sealed(place)
    if sealed is None:
        raise UsageError(
            f"Run {champion.run} does not tell which rows it sealed.",
            hint="It is of an earlier version: begin anew with modelwright run.",
        )
    schema = Artefact.load(Registry(folder).fetch(champion), digest=champion.digest).schema
    asked, moment = spec.watch.retrain, time.time() if now is None else now
    since = float("-inf") if asked.window is None else moment - asked.window
    given = _table(_journal_of(spec_file) if rows is None else rows, since)
    labelled, problem = _labelled(given, schema, since, asked.data)
    before = _plan_of(place)
    judges = judging(labelled.times, asked, moment, before.until if before else 0)
    grown = grow(spec_file, schema, sealed, labelled, judges)
    if asked.data == "journal" and not grown.learned:
        left = "; ".join(f"{count:,} {reason}" for reason, count in grown.left_out.items())
        raise UsageError(
            f"There is no answered row with a label to learn from (left out: {left or 'none'}).",
            hint="Wait for labels, ask for fewer in watch.retrain.recent, or retrain on the source "
            "alone: watch.retrain.data: source.",
        )
    learned = labelled.times[~judges]
    plan = Retraining(
        model=spec.name,
        why=why,
        at=timestamp(),
        champion=champion.number,
        champion_run=champion.run,
        data=asked.data,
        source=spec.data.source,
        source_rows=grown.source_rows,
        sealed_rows=grown.sealed_rows,
        learned=grown.learned,
        judging=len(grown.judging.target),
        window=_span(learned) if grown.learned else ("", ""),
        recent=_span(grown.judging.times),
        left_out=dict(grown.left_out),
        until=grown.until,
        problem=problem,
    )
    return plan, grown


def _labelled(rows: pl.DataFrame, schema: Schema, since: float, data: str) -> tuple[Labelled, str]:
    """The labelled rows; a retraining on the source alone goes on without them, and says why."""
    try:
        return labelled_of(rows, schema, since), ""
    except DataError as error:
        if data == "journal":
            raise
        return labelled_of(rows.clear(), schema), error.message


def _champion(folder: Path, model: str) -> Version:
    found = Registry(folder).aliased(model, CHAMPION) if Registry.exists(folder) else None
    if found is None:
        raise UsageError(
            f"{model} has no champion that could be retrained.", hint="Begin with modelwright run."
        )
    return found


def _run_of(champion: Version, folder: Path) -> Path:
    place = folder / "runs" / champion.run
    if not place.is_dir():
        raise UsageError(
            f"Run {champion.run} of version {champion.number} is not on this machine, so its "
            "sealed rows are not known here.",
            hint="Retrain where it was made, or begin anew with modelwright run.",
        )
    return place


def _must_split_alike(now: DataSpec, then: DataSpec) -> None:
    """The sealed rows stay the same ones, so nothing may ask for others."""
    for what, one, two in (
        ("data.target", now.target, then.target),
        ("data.seed", now.seed, then.seed),
        ("data.split.method", now.split.method, then.split.method),
        ("data.split.by", now.split.by, then.split.by),
    ):
        if one != two:
            raise UsageError(
                f"{what} is {one!r}; the champion's run had {two!r}.",
                hint="A retraining changes the rows only: begin anew with modelwright run.",
            )


def _journal_of(spec_file: SpecFile) -> Rows:
    """The answers on record with the labels that came for them; none for a source alone that has
    no journal beside it."""
    spec = spec_file.spec
    if spec.serve.journal is None and spec.watch.retrain.data == "source":
        return NO_ROWS
    place = journal_place(spec, spec_file.folder)
    try:
        from modelwright.watch.labels import joined
    except ImportError as error:
        raise MissingExtra("duckdb, which joins the journal with labels,", "watch") from error

    def rows(since: float) -> pl.DataFrame:
        found = pl.from_arrow(joined(place, spec.name, begin=since, labelled=True))
        assert isinstance(found, pl.DataFrame)
        # what a shadow was asked the champion was asked too
        return found.filter(pl.col("arm").cast(pl.String) != SHADOW)

    return rows


def _table(rows: Rows, since: float) -> pl.DataFrame:
    given = rows(since) if callable(rows) else rows
    found = given if isinstance(given, pl.DataFrame) else pl.from_arrow(given)
    assert isinstance(found, pl.DataFrame)
    return found


def _span(times: Any) -> tuple[str, str]:
    if not len(times):
        return "", ""
    return moment_text(float(times[0])), moment_text(float(times[-1]))


def _count(spec_file: SpecFile, plan: Retraining) -> None:
    """Onto the list of those that were begun, once: what is on it can be gone on with."""
    begins(spec_file, plan.run)
    if plan.run not in {past.run for past in past_retrainings(spec_file.folder, plan.model)}:
        past = Past(plan.begun, plan.champion, plan.run, plan.why)
        append_line(_ledger(spec_file.folder, plan.model), past)


def _write(run: Path, plan: Retraining, grown: Grown, spec_file: SpecFile) -> None:
    """The table, the rows that judge and the spec; the plan last, so that with it all is there."""
    for name, table in ((GROWN, grown.table), (RECENT, grown.judging.rows)):
        file = io.BytesIO()
        table.write_parquet(file)
        write_atomic(run / name, file.getvalue())
    keep_spec(run, spec_file)
    write_atomic(run / PLAN, to_json(plan))


def _for_run(spec_file: SpecFile, run: Path, grown: Grown) -> SpecFile:
    """The spec on the run's own table, which is found again wherever the project is moved to."""
    source = f"{run.parent.name}/{run.name}/{GROWN}"
    data = grown.spec.data.model_copy(update={"source": source})
    overrides = {**spec_file.overrides, "data.source": source}
    return SpecFile(grown.spec.model_copy(update={"data": data}), spec_file.path, overrides)


def _gone_on(spec_file: SpecFile, registry: Registry, tell: Progress, spent: Spent) -> Retrained:
    champion = _champion(spec_file.folder, spec_file.spec.name)
    run = unfinished(spec_file.folder, champion.model, champion.number)
    plan = None if run is None else _plan_of(run)
    if run is None or plan is None:
        raise UsageError(
            f"No retraining of {champion.model} was cut short.", hint="Begin one without --resume."
        )
    with in_use(run):
        tell.say(f"going on with run {run.name}")
        _count(spec_file, plan)
        return _trained(spec_of_run(run), run, plan, registry, tell, spent)


def _trained(
    spec_file: SpecFile, run: Path, plan: Retraining, registry: Registry, tell: Progress,
    spent: Spent,
) -> Retrained:  # fmt: skip
    """From the written table to a judged challenger; the run is in use."""
    since = time.monotonic()
    dataset = load_data(spec_file)
    check_all(spec_file, dataset, tell)
    champion = registry.version(plan.model, plan.champion)
    schema = Artefact.load(registry.fetch(champion), digest=champion.digest).schema
    more = _recent(run, schema, dataset, plan.problem), (plan.note(),)
    released = fit_to_release(spec_file, dataset, registry, run, tell, *more, since=since)
    spent.trials = len(released.fit.trials)
    return Retrained(plan, released)


def _recent(run: Path, schema: Schema, dataset: Dataset, problem: str) -> Recent:
    """The rows that judge, as the models take them."""
    found = pl.read_parquet(run / RECENT)
    if not found.height:
        return Recent(Table({}, np.empty(0)), problem or "no labelled rows")
    labelled = labelled_of(found, schema)
    target = labelled.target.astype(np.int64) if schema.target.levels else labelled.target
    unknown = [c.name for c in dataset.schema.features if c.name not in labelled.feeds]
    problem = f"the journal has no {', '.join(unknown[:5])}" if unknown else ""
    return Recent(Table(labelled.feeds, target), problem)


def _plan_of(run: Path) -> Retraining | None:
    try:
        return from_json((run / PLAN).read_bytes(), Retraining)
    except (OSError, ArtefactError):
        return None


def _ledger(folder: Path, model: str) -> Path:
    return folder / FOLDER / f"{model}.jsonl"
