"""The loss that answers lead one to expect, added up as they are read.

The estimate's window moves on with each look. What it needs of an answer are a few sums, so they
are kept by slots of time, and each look reads only what was answered since the one before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from modelwright.core.intake import Array
from modelwright.core.records import Finding, Interval
from modelwright.watch import estimate
from modelwright.watch.answered import said
from modelwright.watch.reference import Live
from modelwright.watch.subject import Subject

SLOTS = 240
"""A window has about so many, however long it is."""
HITS = 2
"""Expected hits and their variance stand first in the sums of classes."""
MOST_CLASSES = 5
"""Of more the expected confusion matrix is not kept: it is added up for each slot."""


class Sums(msgspec.Struct, frozen=True, array_like=True):
    """What some answers lead one to expect; adds up exactly.

    Attributes:
        rows: answers.
        of: classes: expected hits, their variance, and the expected confusion matrix row by row
            (`MOST_CLASSES`). Values: rows in each step of the loss curve.
    """

    rows: int = 0
    of: tuple[float, ...] = ()

    def __add__(self, other: Sums) -> Sums:
        if not self.rows or not other.rows:
            return self if self.rows else other
        one, more = self.of, other.of
        # slots of an older watcher have no matrix, and then nor has the sum
        if HITS in (len(one), len(more)):
            one, more = one[:HITS], more[:HITS]
        of = tuple(a + b for a, b in zip(one, more, strict=True))
        return Sums(self.rows + other.rows, of)

    def loss(self, live: Live) -> Interval:
        """Mean loss that is to be expected, see `reference.Live.loss`."""
        if live.calibrator is not None:
            hit = estimate.accuracy_of(float(self.rows), *self.of[:HITS])
            return Interval(1 - hit.value, 1 - hit.high, 1 - hit.low)
        assert live.curve is not None
        found = live.curve.estimate_of(np.array(self.of))
        return Interval(found.value / live.scale, found.low / live.scale, found.high / live.scale)

    def matrix(self, live: Live, levels: Sequence[str], why: str) -> list[Finding]:
        """The expected confusion matrix in words; nothing where there is none. It raises
        no alarm: the loss does.

        Args:
            levels: the classes.
            why: the back-test of the loss, which comes of the same probabilities.
        """
        cells = self.of[HITS:] if live.calibrator is not None else ()
        if not cells:
            return []
        confusion = np.array(cells).reshape(len(levels), len(levels))
        metrics = estimate.from_confusion(confusion)
        told = [f"{name} {value:.3f}" for name, value in metrics.items() if math.isfinite(value)]
        said = zip(levels, confusion.sum(axis=0), np.diag(confusion), strict=True)
        told += [f"{many:,.0f} said to be {one}, {right:,.0f} rightly" for one, many, right in said]
        told += ["without labels"]
        return [
            Finding(
                "estimate", "confusion matrix", "pass", "; ".join(told), why=why, severity="info"
            )
        ]  # fmt: skip


class Expected(msgspec.Struct, frozen=True):
    """A window that moves on.

    Attributes:
        read: Unix time before which answers are in it.
        slots: begin of a stretch of time -> its sums.
    """

    read: float = 0.0
    slots: dict[int, Sums] = {}

    @property
    def total(self) -> Sums:
        """Of the whole window."""
        return sum(self.slots.values(), Sums())

    @property
    def rows(self) -> int:
        """Answers in it."""
        return sum(one.rows for one in self.slots.values())


def of(answers: Array, codes: Array | None, live: Live) -> Sums:
    """What answers lead one to expect.

    Args:
        answers: probabilities [rows, classes] or values [rows].
        codes: class index that was said; None for values.
        live: what the version was like in the reference.
    """
    if live.calibrator is not None and codes is not None:
        scores = answers[:, 1] if answers.shape[1] == 2 else answers
        probabilities = live.calibrator.probabilities(scores)
        rows, *found = estimate.hits(probabilities, codes)
        if probabilities.shape[1] <= MOST_CLASSES:
            found += estimate.expected_confusion(probabilities, codes).ravel().tolist()
        return Sums(int(rows), tuple(found))
    assert live.curve is not None
    counts = live.curve.counts(answers)
    return Sums(int(counts.sum()), tuple(map(float, counts)))


def grown(before: Expected, subject: Subject, live: Live, begin: float, end: float) -> Expected:
    """The window from `begin` to `end`, of what is known and what was answered since.

    Args:
        before: the window of the last look.
        subject, live: the champion, and what it was like in the reference.
        begin, end: Unix times; the begin is exact to a slot.
    """
    grain = subject.spec.watch.grain
    length = max(1, math.ceil(subject.spec.watch.window / SLOTS / grain)) * grain
    slots = {at: one for at, one in before.slots.items() if begin - length < at < end}
    start = max(before.read, begin)
    for times, answers, codes in said(subject, start, end) if start < end else ():
        place = (times // length * length).astype(np.int64)
        for at in np.unique(place).tolist():
            same = place == at
            chosen = None if codes is None else codes[same]
            slots[at] = slots.get(at, Sums()) + of(answers[same], chosen, live)
    return Expected(max(before.read, end), slots)
