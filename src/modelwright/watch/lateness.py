"""How many answers have a truth, and how late truths come: every metric of labels says both."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from modelwright.core.intake import Array
from modelwright.watch.subject import Subject

KEPT = 200
"""Newest delays that are remembered, for their median."""


class Truths(msgspec.Struct, frozen=True):
    """Truths of one arm of the traffic: how many came, and how late the newest of them did."""

    labelled: int = 0
    delays: tuple[float, ...] = ()


def newest(before: tuple[float, ...], delays: Array) -> tuple[float, ...]:
    """The last delays to come; of more at once than are kept, some of all of them.

    Args:
        before: those of earlier looks, the oldest first.
        delays: seconds from answer to truth, in the order in which truths came.

    Example:
        >>> newest((1.0, 2.0), np.array([3.0]))
        (1.0, 2.0, 3.0)
    """
    evenly = np.linspace(0, len(delays) - 1, min(len(delays), KEPT)).astype(int)
    return (*before, *np.round(delays[evenly], 3).tolist())[-KEPT:]


def in_words(labelled: int, answers: int, delay: float) -> str:
    """Labelled share and label delay.

    Args:
        labelled: answers that have a truth.
        answers: all of them; what is labelled and not counted yet is among them.
        delay: median seconds from answer to truth.

    Example:
        >>> in_words(190, 400, 3600.0)
        '48% of 400 answers have a truth, median 3,600 s later'
    """
    many = max(answers, labelled)
    share = labelled / many if many else 0.0
    told = f"{share:{'.0%' if share >= 0.01 else '.2%'}}"
    return f"{told} of {many:,} answers have a truth, median {delay:,.0f} s later"


def more_truths(before: Mapping[str, Truths], arms: Array, delays: Array) -> dict[str, Truths]:
    """Truths of each arm, with some more.

    Args:
        before: arm -> those of earlier looks.
        arms: [n] texts, who answered.
        delays: [n] seconds from answer to truth.

    Example:
        >>> more_truths({}, np.array(["canary"]), np.array([3.0]))
        {'canary': Truths(labelled=1, delays=(3.0,))}
    """
    found = dict(before)
    for arm in sorted(set(arms.tolist())):
        known, own = found.get(arm, Truths()), delays[arms == arm]
        found[arm] = Truths(known.labelled + len(own), newest(known.delays, own))
    return found


def of_arms(
    truths: Mapping[str, Truths], numbers: Mapping[str, str], begin: int, end: int, subject: Subject
) -> str:
    """Labelled share and label delay of each arm that has a truth.

    Args:
        truths: by arm.
        numbers: arm -> its version.
        begin, end: Unix times of the answers, in whole minutes.
        subject: whose answers are counted.
    """
    told = []
    for arm, number in numbers.items():
        if found := truths.get(arm):
            answers = _answers(subject, number, begin, end)
            delay = float(np.median(found.delays))
            told.append(f"{arm}: {in_words(found.labelled, answers, delay)}")
    return "; ".join(told)


def _answers(subject: Subject, number: str, begin: int, end: int) -> int:
    """Of a version in a time, with a truth or without; if it was released anew, all of it."""
    store, name = subject.store, subject.name
    return sum(
        store.answers(name, number, digest, begin, end)
        for model, version, digest in store.versions()
        if (model, version) == (name, number)
    )
