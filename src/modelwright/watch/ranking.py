"""Every column of a model by how far it is from its reference, for people who look for the cause.

It alarms nothing: that is what `watch.drift` does, with chance and the usual swings in mind.
"""

from __future__ import annotations

import msgspec

from modelwright.watch import distances
from modelwright.watch.counted import Counts, Frame, Reference
from modelwright.watch.drift import ColumnPolicy, Policy


class Ranked(msgspec.Struct, frozen=True):
    """One column now and then.

    Attributes:
        name: in the journal.
        distance, p: of its distribution, see `watch.distances`.
        missing: share of rows, now and in the reference.
        strange: the same of unseen categories, or of numbers far outside.
        size: the largest of its changes, in units of the least that matters; 1 may alarm.
        ignored: the spec asks nothing of it.
    """

    name: str
    kind: str
    distance: float
    p: float
    missing: tuple[float, float]
    strange: tuple[float, float]
    size: float
    ignored: bool = False


def ranked(now: Frame, reference: Reference, policy: Policy) -> list[Ranked]:
    """All columns, those that changed most first.

    Args:
        now: any time of the same version.
        reference: what it is held against.
        policy: the floors.
    """
    found = [
        _of(name, now.columns[name], reference, policy)
        for name in reference.kinds
        if name in now.columns and now.columns[name].rows
    ]
    return sorted(found, key=lambda one: (one.ignored, -one.size))


def _of(name: str, seen: Counts, reference: Reference, policy: Policy) -> Ranked:
    known, kind = reference.whole.columns[name], reference.kinds[name]
    distance = distances.numbers if kind == "number" else distances.categories
    effect, p = distance(seen.bins, known.bins)
    missing = _share(seen.missing, seen), _share(known.missing, known)
    what = "far" if kind == "number" else "unseen"
    strange = _share(getattr(seen, what), seen), _share(getattr(known, what), known)
    size = max(
        effect / _floor(policy, name, "distance"),
        abs(missing[0] - missing[1]) / _floor(policy, name, "missing"),
        max(0.0, strange[0] - strange[1]) / _floor(policy, name, what),
    )
    ignored = policy.columns.get(name, ColumnPolicy()).ignore
    return Ranked(name, kind, effect, p, missing, strange, size, ignored)


def _share(count: int, of: Counts) -> float:
    return count / of.rows if of.rows else 0.0


def _floor(policy: Policy, name: str, what: str) -> float:
    return max(policy.floor(name, what), 1e-9)
