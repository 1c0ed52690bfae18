"""One candidate after the other over the same folds, within the budget."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from modelwright.core.errors import ModelwrightError, UsageError
from modelwright.core.intake import Array, Feeds
from modelwright.core.records import Origin, Price, Trial
from modelwright.core.schema import Schema
from modelwright.core.spec import FitSpec
from modelwright.data.dataset import Dataset
from modelwright.fit.family import (
    WITHOUT,
    Family,
    FitJob,
    Fitted,
    Settings,
    encoding_of,
    split_params,
)
from modelwright.fit.features import Encoder, fit_encoder, monotone_of
from modelwright.fit.folds import Folds
from modelwright.fit.lessons import lesson_of
from modelwright.fit.outputs import Transform, transform_for
from modelwright.fit.pipeline import Member, mixture


@dataclass(frozen=True)
class Outcome:
    """One fold of one candidate.

    Attributes:
        answers: on the validation rows, on the target's own scale.
        member: the model with its encoder, to be priced and to teach; dropped from candidates
            that fall behind.
    """

    answers: Array
    rounds: int
    settled: Mapping[str, Any]
    seconds: float
    member: Member | None = None


@dataclass
class Candidate:
    """A trial under way; `freeze` gives its record.

    Attributes:
        family: of a single model; None for a blend.
        members: (candidate, weight) of a blend.
        outcomes: of its folds, in their order.
        teacher: whose answers it learns, for a distilled one.
        lesson: those answers on all training rows, for the last fit; see `lesson_of`.
        fixed_rounds: of a shortened one, which does not stop early.
        growth: how many times the rounds of a fold the last fit gets, for it has more rows.
        source: the candidate that a narrowed one was made of.
    """

    number: int
    family: Family | None
    origin: Origin
    params: dict[str, Any]
    members: tuple[tuple[Candidate, float], ...] = ()
    teacher: Candidate | None = None
    lesson: Array | None = None
    fixed_rounds: int | None = None
    growth: float = 1.0
    source: Candidate | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    outcome: Literal["complete", "pruned", "failed", "stopped"] = "stopped"
    note: str = ""
    price: Price | None = None
    broken: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The family's name; for a blend the names of its members."""
        if self.family is not None:
            return self.family.name
        return " + ".join(dict.fromkeys(member.name for member, _ in self.members))

    @property
    def left_out(self) -> frozenset[str]:
        """Columns that none of its models reads (`encoding.without`)."""
        parts = [member for member, _ in self.members] or [self]
        return frozenset.intersection(*(frozenset(part.params.get(WITHOUT, ())) for part in parts))

    @property
    def seconds(self) -> float:
        """Training time over all folds, added up; of all members for a blend."""
        if self.members:
            return sum(member.seconds for member, _ in self.members)
        return sum(outcome.seconds for outcome in self.outcomes)

    @property
    def seconds_a_fold(self) -> float:
        """Mean cost of a fold so far; of all members for a blend."""
        if self.members:
            return sum(member.seconds_a_fold for member, _ in self.members)
        return self.seconds / max(1, len(self.outcomes))

    @property
    def rounds(self) -> int:
        """Boosting rounds for the last fit: the mean over the folds, more for more rows."""
        if self.fixed_rounds is not None:
            return self.fixed_rounds
        rounds = [outcome.rounds for outcome in self.outcomes]
        return round(self.growth * float(np.mean(rounds))) if rounds else 0

    @property
    def settled(self) -> dict[str, Any]:
        """What the library chose itself, as in the last fold."""
        return dict(self.outcomes[-1].settled) if self.outcomes else {}

    @property
    def feasible(self) -> bool:
        """Whether no limit on cost is expected to break."""
        return not self.broken

    def answers(self, folds: int) -> list[Array]:
        """Out-of-fold answers of the first so many folds."""
        return [outcome.answers for outcome in self.outcomes[:folds]]

    def freeze(self, scores: Sequence[float], score: float, error: float) -> Trial:
        """The record of this trial."""
        return Trial(
            number=self.number,
            family=self.name,
            origin=self.origin,
            params={**self.params, **self.settled},
            scores=tuple(scores),
            seconds=round(self.seconds, 3),
            outcome=self.outcome,
            rounds=self.rounds,
            note=self.note,
            score=score if np.isfinite(score) else None,
            error=error if np.isfinite(error) else None,
            members=tuple((member.number, weight) for member, weight in self.members),
            teacher=self.teacher.number if self.teacher else None,
            price=self.price,
            broken=self.broken,
        )


class NotTrained(UsageError):
    """A library refused to train, or what it trained gives no numbers; `why` says what it said."""

    def __init__(self, family: Family, why: str) -> None:
        super().__init__(
            f"Family {family.name} could not be trained: {why}",
            hint=f"Look at fit.params.{family.name}, or leave it out of fit.families.",
        )
        self.why = why


@dataclass(frozen=True)
class Task:
    """A fold of a candidate to train, in about `seconds` at most."""

    candidate: Candidate
    fold: int
    seconds: float = float("inf")


@dataclass
class Trainer:
    """Trains candidates on folds, several at once with a thread or two each, or on everything.

    One thread a model is not only fair to neighbours: on 2 cores LightGBM needs 1.3 s for five
    folds of Adult two at a time, and 6.5 s one after the other with two threads.
    """

    schema: Schema
    spec: FitSpec
    seed: int
    threads: int
    workers: int
    monotone: Mapping[str, int]

    def __post_init__(self) -> None:
        self.halt = threading.Event()
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="fit")

    def close(self) -> None:
        """Ask what still runs to end, without waiting for it."""
        self.halt.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def run(
        self,
        tasks: Iterable[Task],
        folds: Folds,
        noted: Callable[[Candidate], None],
        failed: Callable[[Candidate, NotTrained], None],
    ) -> None:
        """Fit folds side by side; the next begins as soon as a worker is free.

        Args:
            tasks: asked for the next one each time; a candidate's folds come in their order.
            folds: of the training rows.
            noted: told about a candidate after each fold that is kept, in the order of its folds.
            failed: told about a fold that could not be trained; what it raises ends them all.

        Raises:
            UsageError: an encoding that the family cannot use.
        """
        waiting, running = iter(tasks), dict[Future[Outcome], Task]()
        early: dict[tuple[int, int], Outcome] = {}
        with warnings.catch_warnings(), self._ended_by_errors(running):
            warnings.simplefilter("ignore", ConvergenceWarning)
            while True:
                for task in itertools.islice(waiting, self.workers - len(running)):
                    running[self._pool.submit(self._fold, task, folds)] = task
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    task = running.pop(future)
                    candidate = task.candidate
                    try:
                        early[candidate.number, task.fold] = future.result()
                    except NotTrained as error:
                        failed(candidate, error)
                    while (candidate.number, len(candidate.outcomes)) in early:
                        place = candidate.number, len(candidate.outcomes)
                        candidate.outcomes.append(early.pop(place))
                        noted(candidate)

    def first_fold(self, candidate: Candidate, folds: Folds) -> Outcome:
        """The first fold again, with its model, of a candidate that was restored without it."""
        [outcome] = self._all([lambda: self._fold(Task(candidate, 0), folds)])
        candidate.outcomes[0] = replace(candidate.outcomes[0], member=outcome.member)
        return candidate.outcomes[0]

    def on_shares(
        self, candidate: Candidate, folds: Folds, shares: Sequence[float]
    ) -> list[list[Array]]:
        """Answers on the widest fold's validation rows, learned from a part of its rows each.

        Returns:
            For each share, answers of two models that have no training row in common; where rows
            are in time order of one, which learned from the newest rows.
        """
        rows = folds.cuts[folds.widest][0]
        counts = [max(2, int(share * len(rows))) for share in shares]
        if folds.dataset.ordered:
            parts = [[rows[-count:]] for count in counts]
        else:
            mixed = np.random.default_rng(self.seed).permutation(rows)
            parts = [[mixed[:count], mixed[-count:]] for count in counts]
        answers = iter(self._all([
            lambda p=part: self._learned(candidate, folds, p, self.schema)
            for two in parts for part in two
        ]))  # fmt: skip
        return [[next(answers) for _ in two] for two in parts]

    def with_schemas(
        self, candidate: Candidate, folds: Folds, schemas: Sequence[Schema]
    ) -> list[Array]:
        """Answers on the widest fold's validation rows, learned from columns of each schema."""
        rows = folds.cuts[folds.widest][0]
        return self._all(
            [lambda s=schema: self._learned(candidate, folds, rows, s) for schema in schemas]
        )

    def _learned(self, candidate: Candidate, folds: Folds, rows: Array, schema: Schema) -> Array:
        """Answers on the widest fold's validation rows, learned from these rows and columns."""
        assert candidate.family is not None
        dataset = folds.dataset
        table, valid = dataset.train.take(rows), dataset.train.take(folds.valid(folds.widest))
        settings = split_params(candidate.params)
        encoding = encoding_of(candidate.family, settings)
        encoder, x = fit_encoder(schema, table, encoding, self.seed)
        transform = self._transform(settings, table.target)
        x_valid = encoder.transform(valid.feeds)
        job = replace(
            self._job(settings, encoder, x, transform.forward(table.target)),
            x_valid=x_valid, y_valid=transform.forward(valid.target),
            rounds=candidate.fixed_rounds, stop=self.halt.is_set,
        )  # fmt: skip
        return transform.back(_fit(candidate.family, job).answer(x_valid))

    def refit(self, candidates: Sequence[Candidate], dataset: Dataset) -> list[Member]:
        """Train single candidates on all training rows, with the rounds that their folds chose."""
        return self._all([lambda c=c: self._everything(c, dataset) for c in candidates])

    def _all(self, calls: Sequence[Any]) -> list[Any]:
        """Results in order; Ctrl-C asks the calls to end and goes on up."""
        futures = dict.fromkeys(self._pool.submit(call) for call in calls)
        with warnings.catch_warnings(), self._ended_by_errors(futures):
            warnings.simplefilter("ignore", ConvergenceWarning)
            return [future.result() for future in futures]

    @contextlib.contextmanager
    def _ended_by_errors(self, futures: Mapping[Future[Any], Any]) -> Iterator[None]:
        """Ctrl-C or an error of one ends all of them and goes on up."""
        try:
            yield
        except (KeyboardInterrupt, ModelwrightError):
            self.halt.set()
            for future in futures:
                future.cancel()
            wait(futures, timeout=5.0)
            self.halt.clear()
            raise

    def _fold(self, task: Task, folds: Folds) -> Outcome:
        candidate, number = task.candidate, task.fold
        started = time.monotonic()
        assert candidate.family is not None
        settings = split_params(candidate.params)
        encoding = encoding_of(candidate.family, settings)
        fold = folds.get(number, encoding)
        transform = self._transform(settings, fold.y)
        taught = fold.y
        if candidate.teacher is not None:
            taught = taught_by(candidate.teacher, folds.training(number), number)
        job = self._job(settings, fold.encoder, fold.x, transform.forward(taught))
        end = time.monotonic() + task.seconds
        job = replace(
            job,
            x_valid=fold.x_valid,
            y_valid=transform.forward(fold.y_valid),
            soft=candidate.teacher is not None,
            rounds=candidate.fixed_rounds,
            stop=lambda: self.halt.is_set() or time.monotonic() > end,
        )
        fitted = _fit(candidate.family, job)
        member = Member(candidate.family.name, fold.encoder, fitted, transform)
        answers = transform.back(fitted.answer(fold.x_valid))
        if not np.isfinite(answers).all():
            raise NotTrained(candidate.family, "it answers with NaN or infinity.")
        spent = time.monotonic() - started
        return Outcome(answers, fitted.rounds, fitted.settled, spent, member)

    def _everything(self, candidate: Candidate, dataset: Dataset) -> Member:
        assert candidate.family is not None
        settings = split_params({**candidate.params, **candidate.settled})
        encoding = encoding_of(candidate.family, settings)
        encoder, x = fit_encoder(self.schema, dataset.train, encoding, self.seed)
        transform = self._transform(settings, dataset.train.target)
        taught = dataset.train.target if candidate.lesson is None else candidate.lesson
        job = self._job(settings, encoder, x, transform.forward(taught))
        job = replace(job, rounds=candidate.rounds or None, soft=candidate.lesson is not None)
        fitted = _fit(candidate.family, job)
        return Member(candidate.family.name, encoder, fitted, transform)

    def _transform(self, settings: Settings, y: Array) -> Transform:
        if settings.transform == "none" or self.schema.target.levels:
            return Transform()
        return transform_for(settings.transform, y) or Transform()

    def _job(self, settings: Settings, encoder: Encoder, x: Array, y: Array) -> FitJob:
        return FitJob(
            x=x,
            y=y,
            task=self.schema.target.task,
            classes=max(1, len(self.schema.target.levels)),
            params=settings.library,
            seed=self.seed,
            threads=self.threads,
            patience=self.spec.patience,
            monotone=monotone_of(encoder, self.monotone),
            categories=encoder.categories,
        )


def taught_by(teacher: Candidate, feeds: Feeds, number: int) -> Array:
    """What a student learns in a fold: the answers of the teacher as that fold trained it, so that
    nothing of the validation rows is in them.

    Answers on rows that the teacher had not seen would come from models that had seen the
    validation rows: a student of those scored .937 on Adult where its teacher has .930.
    """
    parts = teacher.members or ((teacher, 1.0),)
    members = [part.outcomes[number].member for part, _ in parts]
    answers = [member.answer(feeds) for member in members if member is not None]
    return lesson_of(mixture(answers, tuple(weight for _, weight in parts)))


def _fit(family: Family, job: FitJob) -> Fitted:
    try:
        return family.fit(job)
    except ModelwrightError:
        raise
    except Exception as error:  # raised again: libraries, and families of anybody, share no base
        raise NotTrained(family, f"{type(error).__name__}: {error}".rstrip(".") + ".") from error
