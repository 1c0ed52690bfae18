"""Candidates made of others: blends, a student of the best blend, shortened copies."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.core.spec import Spec
from modelwright.data.dataset import Dataset
from modelwright.fit.blend import blended, recipes
from modelwright.fit.family import Family
from modelwright.fit.ledger import MADE, Ledger
from modelwright.fit.trials import Candidate

SHORTER = (0.5, 0.25)
"""Parts of the rounds that shortened models keep."""


STUDENT_COST = 2.5
"""Soft answers can be learned for longer: a student runs more rounds than its model did."""


def make_more(ledger: Ledger, spec: Spec, dataset: Dataset, families: Sequence[Family]) -> None:
    """Add what can be made of the candidates of a search.

    Args:
        ledger: whose complete candidates they are made of.
        spec: whether to blend, and whether quality may be given up for a smaller model.
        dataset: the training rows.
        families: that may learn from a blend.
    """
    singles = [c for c in ledger.complete() if c.origin not in MADE]
    if not singles:
        return
    found = recipes(ledger.scorecard, ledger.folds, singles) if spec.fit.blend else []
    made = [ledger.add(blended(len(ledger.candidates), recipe)) for recipe in found]
    if ledger.bounded:
        for candidate in made:
            ledger.price(candidate)
    if made:
        _distil(ledger, dataset, families, ledger.chooser.ranked(made)[0])
    if spec.pack.drop_at_most is not None or ledger.bounded:
        _shorten(ledger, ledger.chooser.ranked(singles)[0])


def cost_of_more(ledger: Ledger, spec: Spec, dataset: Dataset) -> float:
    """Training seconds that `make_more` will need, as far as candidates so far tell."""
    ranked = ledger.chooser.ranked(ledger.complete())
    able = [c.seconds for c in ranked if _can_learn(c, dataset)][:1] if spec.fit.blend else []
    pupils = [STUDENT_COST * seconds for seconds in able]
    shrink = spec.pack.drop_at_most is not None or ledger.bounded
    shorter = [c.seconds * sum(SHORTER) for c in ranked][:1] if shrink else []
    return sum([*pupils, *shorter])


def _can_learn(candidate: Candidate, dataset: Dataset) -> bool:
    return dataset.schema.target.task in getattr(candidate.family, "soft", ())


def _distil(
    ledger: Ledger, dataset: Dataset, families: Sequence[Family], teacher: Candidate
) -> None:
    """One model that learns the blend's out-of-fold answers (Hinton et al. 2015)."""
    able = [c for c in ledger.chooser.ranked(ledger.complete()) if c.family in families]
    able = [c for c in able if _can_learn(c, dataset)]
    if not able or not ledger.fits(able[0]):
        return
    parts = [member for member, _ in teacher.members]
    if any(o.member is None for part in parts for o in part.outcomes[: ledger.folds.count]):
        return  # taken up from a killed search, which keeps answers but no models
    student = Candidate(
        len(ledger.candidates), able[0].family, "distilled", dict(able[0].params),
        teacher=teacher,
        note=f"taught by candidate {teacher.number}",
    )  # fmt: skip
    ledger.advance([ledger.add(student)], ledger.folds.count)


def _shorten(ledger: Ledger, source: Candidate) -> None:
    """The best single model with fewer rounds: what fewer trees would cost."""
    for part in SHORTER:
        rounds = round(source.rounds * part)
        if rounds >= 1 and ledger.fits(source):
            short = Candidate(
                len(ledger.candidates), source.family, "shortened",
                {**source.params, **source.settled}, fixed_rounds=rounds,
                note=f"{part:.0%} of the rounds of candidate {source.number}",
            )  # fmt: skip
            ledger.advance([ledger.add(short)], ledger.folds.count)
