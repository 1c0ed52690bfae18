"""Runs of a graph, the requests that share one, and how each is read and told of its part."""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from modelwright.core.intake import Feeds
from modelwright.pack.artefact import ORT_ERRORS, Answers
from modelwright.serve.engine import Engine, Inputs
from modelwright.serve.messages import Question
from modelwright.serve.outputs import columns_of
from modelwright.serve.rows import Odd, RowReader

_LOG = logging.getLogger("modelwright.serve")


class ModelFailed(Exception):
    """The graph could not answer these rows, or not with finite numbers."""


class NotFinite(ModelFailed):
    """The graph's answer has a NaN or an infinity."""


class Failures:
    """Requests that a graph could not answer: how many, and what it said of the last.

    `not_finite`: the cell in which those are counted whose answer was no finite number.
    """

    def __init__(self) -> None:
        self.count, self.last = 0, ""
        self.not_finite: list[float] = [0]

    def note(self, failed: ModelFailed) -> None:
        """One more."""
        self.count, self.last = self.count + 1, str(failed)
        self.not_finite[0] += isinstance(failed, NotFinite)


class Ran:
    """One run, as its requests see it.

    Attributes:
        whole: whether `inputs` tell all that its typed rows said; see `RowReader`.
        kept, base: the journal's own: where it keeps this run, and the run's first row there.
    """

    __slots__ = (
        "_objects", "answers", "base", "inputs", "kept", "rows", "seconds", "whole",
    )  # fmt: skip

    def __init__(
        self, answers: Answers, rows: int, seconds: float, inputs: Inputs, whole: bool
    ) -> None:
        self.answers = answers
        self.inputs = inputs
        self.rows = rows
        self.seconds = seconds
        self.whole = whole
        self._objects: list[Any] | None = None
        self.kept: Any = None
        self.base = 0

    def objects(self, make: Callable[[list[list[Any]]], list[Any]]) -> list[Any]:
        """What is written of each row of the whole run, made once of `Answers.columns()`."""
        if self._objects is None:
            self._objects = make(columns_of(self.answers))
        return self._objects

    def part(self, start: int, stop: int) -> Answers:
        """The answers to some of its rows."""
        if start == 0 and stop == self.rows:
            return self.answers
        found = self.answers

        def cut(values: Any) -> Any:
            return None if values is None else values[start:stop]

        return Answers(
            found.schema, cut(found.values), cut(found.low), cut(found.high), cut(found.codes),
            cut(found.probabilities),
        )  # fmt: skip


def together(parts: Sequence[Answers]) -> Answers:
    """The answers of some runs of one version, one behind the other."""
    if len(parts) == 1:
        return parts[0]

    def whole(name: str) -> Any:
        found = [getattr(part, name) for part in parts]
        return None if found[0] is None else np.concatenate(found)

    return Answers(
        parts[0].schema, whole("values"), whole("low"), whole("high"), whole("codes"),
        whole("probabilities"),
    )  # fmt: skip


Done = Callable[[Ran | BaseException, int, int], None]
"""Told the run, and which of its rows are those of the request; or what went wrong."""


class Waiting(ABC):
    """One request that waits for its run: typed rows, or feeds that the careful intake made."""

    __slots__ = (
        "alone", "count", "deadline", "feeds", "over", "rows", "submitted",
    )  # fmt: skip

    def __init__(
        self,
        count: int,
        rows: Sequence[Any] | None,
        feeds: Feeds | None,
        deadline: float | None,
    ) -> None:
        self.count = count
        self.rows = rows
        self.feeds = feeds
        self.deadline = deadline
        self.submitted = 0.0
        self.over = False
        self.alone = False  # it was in a batch that failed: tried again by itself

    @abstractmethod
    def done(self, outcome: Ran | BaseException, start: int, stop: int) -> None:
        """See `Done`."""

    @abstractmethod
    def careful(self) -> Question:
        """Read the request again, with all leniency: its typed rows turned out odd."""

    def end(self, outcome: Ran | BaseException, start: int = 0, stop: int = 0) -> None:
        """Tell the request how it went, once; a fault in telling it harms no other, and is what it
        is told instead."""
        if self.over:
            return
        self.over = True
        try:
            self.done(outcome, start, stop)
        except Exception as error:  # noqa: BLE001  told to who asked, who logs and answers it
            self._instead(error)

    def _instead(self, fault: Exception) -> None:
        try:
            self.done(fault, 0, 0)
        except Exception:  # noqa: BLE001  logged: nobody is left to tell, but others of the batch
            _LOG.exception("a request of %d rows could not be told its answer", self.count)


class Item(Waiting):
    """A request of which whoever asked is told by a function; see `Waiting`."""

    __slots__ = ("_careful", "_done")

    def __init__(
        self,
        count: int,
        done: Done,
        *,
        rows: Sequence[Any] | None = None,
        feeds: Feeds | None = None,
        careful: Callable[[], Question] | None = None,
        deadline: float | None = None,
    ) -> None:
        super().__init__(count, rows, feeds, deadline)
        self._done, self._careful = done, careful

    def done(self, outcome: Ran | BaseException, start: int, stop: int) -> None:
        """See `Waiting`."""
        self._done(outcome, start, stop)

    def careful(self) -> Question:
        """See `Waiting`."""
        assert self._careful is not None
        return self._careful()


def gathered(items: list[Waiting], reader: RowReader, engine: Engine) -> tuple[Inputs | None, bool]:
    """One set of arrays for all of them, and whether they tell all that typed rows said; those that
    cannot be read are told and taken out."""
    rows: list[Any] = []
    for item in items:
        if item.rows is None:
            break
        rows += item.rows
    else:
        try:
            return reader.inputs(rows), reader.whole
        except Odd:  # no fault: some row needs the careful way, and each is read by itself
            pass
        except Exception:  # noqa: BLE001  logged; each is read by itself, and only its own fails
            _LOG.exception("%d rows of a batch could not be read together", len(rows))
    parts = []
    for item in list(items):
        try:
            parts.append(_read_one(item, reader, engine))
        except Exception as error:  # noqa: BLE001  told its refusal; who asked logs a fault
            items.remove(item)
            item.end(error)
    if not parts:
        return None, False
    if len(parts) == 1:
        return parts[0], False
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, False


def _read_one(item: Waiting, reader: RowReader, engine: Engine) -> Inputs:
    if item.rows is not None:
        try:
            return reader.inputs(item.rows)
        except Odd:
            question = item.careful()
            item.rows, item.feeds = None, question.feeds
    assert item.feeds is not None
    return engine.inputs(item.feeds)


def tell(items: list[Waiting], outcome: Ran) -> None:
    """Hand every request its rows."""
    start = 0
    for item in items:
        stop = start + item.count
        item.end(outcome, start, stop)
        start = stop


def fault(items: list[Waiting], error: Exception) -> None:
    """A fault of ours: nobody waits for ever."""
    _LOG.error("a batch of %d requests met a fault", len(items), exc_info=error)
    for item in items:
        item.end(error)


def run_feeds(engine: Engine, feeds: Feeds) -> Ran | ModelFailed:
    """Answer checked rows in this thread, however many there are."""
    return run(engine, engine.inputs(feeds))


def run(engine: Engine, inputs: Inputs, whole: bool = False) -> Ran | ModelFailed:
    """Answer arrays in this thread; `whole` as in `Ran`."""
    started = time.perf_counter()
    try:
        answers = engine.run(inputs)
        seconds = time.perf_counter() - started
        raw = answers.raw
        # a sum that is finite has only finite parts, and is a third of the price
        if not math.isfinite(np.add.reduce(raw, axis=None)) and not np.isfinite(raw).all():
            return NotFinite("an answer is not a finite number")
        return Ran(answers, len(raw), seconds, inputs, whole)
    except ORT_ERRORS as error:
        return ModelFailed((str(error).splitlines() or [type(error).__name__])[0][:200])
    except Exception as error:  # noqa: BLE001  out of memory, an output that is none of ours, ...
        _LOG.exception("a run of %d rows met a fault", len(next(iter(inputs.values()))))
        return ModelFailed(type(error).__name__)
