"""What a search tries next, as far as the candidates so far tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from modelwright.fit.family import NATIVE, TRANSFORM, Family
from modelwright.fit.ledger import MADE, Ledger
from modelwright.fit.trials import Candidate

DEAR = 0.25
"""Part of the time left for the search from which the folds of one default wait for what is
cheap."""
FOLDS_TO_TELL, PLAINLY = 2, 2.0
"""Folds from which differences have a spread, and how many spreads behind are plainly behind."""


def best_start(ledger: Ledger, family: Family) -> dict[str, Any]:
    """The scale of the target, and the form of categories, with which the family's default scored
    best."""
    best = _best_default(ledger, family)
    params = best.params if best is not None else {}
    return {name: params[name] for name in (TRANSFORM, NATIVE) if name in params}


def by_default(ledger: Ledger, families: Sequence[Family]) -> list[Family]:
    """Families by how well their untuned defaults did, the best first."""
    best = {family.name: _best_default(ledger, family) for family in families}
    ranked = ledger.chooser.ranked([c for c in best.values() if c is not None])
    place = {candidate.name: number for number, candidate in enumerate(ranked)}
    return sorted(families, key=lambda family: place.get(family.name, len(place)))


def _best_default(ledger: Ledger, family: Family) -> Candidate | None:
    own = [c for c in ledger.candidates if c.name == family.name]
    own = [c for c in own if c.origin == "default" and c.outcome == "complete"]
    return ledger.chooser.ranked(own)[0] if own else None


def is_behind_its_family(ledger: Ledger, candidate: Candidate) -> bool:
    """Whether the folds that it ran show it plainly behind the best complete one of its family.

    Behind another family it may still be worth its place in a blend.
    """
    own = [c for c in ledger.complete() if c.name == candidate.name and c.origin not in MADE]
    if not own or len(candidate.outcomes) < FOLDS_TO_TELL:
        return False
    best = ledger.chooser.ranked(own)[0]
    return ledger.is_hopeless(candidate, spreads=PLAINLY, beside=best)


def is_dear(ledger: Ledger, candidate: Candidate) -> bool:
    """Whether the rest of a candidate's folds would take a large part of the search."""
    if ledger.budget.trials is not None:
        return False
    missing = ledger.folds.count - len(candidate.outcomes)
    seconds = missing * candidate.seconds_a_fold / ledger.trainer.workers
    return seconds > DEAR * max(0.0, ledger.budget.left - ledger.reserve)


def next_family(ledger: Ledger, families: Sequence[Family], turn: int) -> Family:
    """The leading family every second time, the others in turns."""
    leader = ledger.leader
    leading = [f for f in families if leader is not None and f.name == leader.name]
    others = [f for f in families if f not in leading]
    if leading and (turn % 2 == 0 or not others):
        return leading[0]
    return others[(turn // 2) % len(others)]


def comparable(ledger: Ledger, candidate: Candidate) -> float | None:
    """A candidate's mean as if it had run all folds: those it lacks differ as they do for the
    leader."""
    leader = ledger.leader
    if leader is None:
        return None
    found = ledger.scorecard.comparable(candidate.number, leader.number)
    return None if math.isnan(found) else found
