"""Candidates made of others: blends, a student of the best blend, shortened, rounded and narrowed
copies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from modelwright.core.limits import Limit
from modelwright.core.spec import Spec
from modelwright.data.dataset import Dataset
from modelwright.fit.blend import blended, recipes
from modelwright.fit.choose import NOISE, broken_by, costs_of
from modelwright.fit.decision import Stored
from modelwright.fit.family import WITHOUT, Family
from modelwright.fit.ledger import MADE, Ledger
from modelwright.fit.outputs import TINY
from modelwright.fit.trials import Candidate
from modelwright.fit.useless import useless_columns

SHORTER = (0.5, 0.25)
"""Parts of the rounds that shortened models keep."""

SHORTENED, SHORTENED_SHARE = 3, 0.05
"""Most models that are shortened; and most of a budget in seconds that each beside the best may
take."""
WITHIN, LEAST_PART = 0.9, 0.03
"""Part that is taken of the rounds that limits let in, for costs are estimates; and the least part
of a model's rounds that is worth trying."""

SMALLER: tuple[Stored, ...] = ("float16", "int8")
"""How the weights of networks are tried to be kept."""
STUDENT_COST = 2.5
"""Soft answers can be learned for longer: a student runs more rounds than its model did."""
STUDENT_SHARE = 0.08
"""Most of a budget in seconds that a student may take: candidates of their own bring more."""


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
    sources = _worth_shortening(ledger, singles)
    shut_out = bool(sources[0].broken)
    if shut_out:  # what limits may let in comes before blends, which cost more than what is in them
        _shorten_all(ledger, sources)
    found = recipes(ledger.scorecard, ledger.folds, singles) if spec.fit.blend else []
    made = [ledger.add(blended(len(ledger.candidates), recipe)) for recipe in found]
    if ledger.bounded:
        for candidate in made:
            ledger.price(candidate)
    if made:
        _distil(ledger, dataset, families, ledger.chooser.ranked(made)[0])
    if spec.pack.drop_at_most is not None or ledger.bounded:
        _shorten_all(ledger, [] if shut_out else sources)
        best = ledger.chooser.ranked([*singles, *made])[0]
        for stored in SMALLER:
            _quantise(ledger, dataset, best, stored)
    if spec.pack.drop_at_most is not None:
        best = ledger.chooser.best_within_noise([*singles, *made])
        _narrow(ledger, best if _has_time_for(ledger, best) else ledger.chooser.ranked(singles)[0])


def cost_of_more(ledger: Ledger, spec: Spec, dataset: Dataset) -> float:
    """Training seconds that `make_more` will need, as far as candidates so far tell."""
    ranked = ledger.chooser.ranked(ledger.complete())
    able = [c for c in ranked if _can_learn(ledger, c, dataset)][:1] if spec.fit.blend else []
    pupils = [STUDENT_COST * c.seconds for c in able]
    shrink = spec.pack.drop_at_most is not None or ledger.bounded
    sources = _worth_shortening(ledger, ranked) if shrink else []
    shorter = [c.seconds * sum(SHORTER) for c in sources]
    narrower = [c.seconds for c in ranked][:1] if spec.pack.drop_at_most is not None else []
    return sum([*pupils, *shorter, *narrower])


def _can_learn(ledger: Ledger, candidate: Candidate, dataset: Dataset) -> bool:
    """Whether its family learns from answers, and this one fast enough."""
    if dataset.schema.target.task not in getattr(candidate.family, "soft", ()):
        return False
    seconds = STUDENT_COST * candidate.seconds / ledger.trainer.workers
    return ledger.budget.trials is not None or seconds <= STUDENT_SHARE * ledger.budget.total


def _distil(
    ledger: Ledger, dataset: Dataset, families: Sequence[Family], teacher: Candidate
) -> None:
    """One model that learns the blend's out-of-fold answers (Hinton et al. 2015).

    A blend that does not lead by more than its noise is not chosen, and has nothing to teach but
    where limits on cost are set: what it knows may fit into less.
    """
    ranked = [c for c in ledger.chooser.ranked(ledger.complete()) if c.origin not in MADE]
    lead, error = ledger.scorecard.lead(teacher.number, ranked[0].number)
    able = [c for c in ranked if c.family in families and _can_learn(ledger, c, dataset)]
    in_vain = lead <= NOISE * error and not ledger.bounded
    if in_vain or not able or not ledger.fits(able[0]):
        return
    taught = min(_folds_with_models(member) for member, _ in teacher.members)
    if taught < ledger.folds.count:
        return  # taken up from a killed search, which keeps answers but no models
    student = Candidate(
        len(ledger.candidates), able[0].family, "distilled", dict(able[0].params),
        teacher=teacher,
        note=f"taught by candidate {teacher.number}",
    )  # fmt: skip
    ledger.advance([ledger.add(student)], taught)


def _folds_with_models(candidate: Candidate) -> int:
    """How many folds, from the first on, still have their models."""
    kept = itertools.takewhile(lambda outcome: outcome.member is not None, candidate.outcomes)
    return sum(1 for _ in kept)


def _worth_shortening(ledger: Ledger, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The best single model; where it breaks limits on cost also the best of other families that
    do and are better than all that keeps them."""
    ranked = ledger.chooser.ranked(candidates)
    shut_out = itertools.takewhile(lambda candidate: candidate.broken, ranked)
    firsts = {c.name: c for c in reversed([*shut_out])}
    most = SHORTENED_SHARE * ledger.budget.total * ledger.trainer.workers / sum(SHORTER)
    others = [c for c in ranked if firsts.get(c.name) is c and c.seconds <= most]
    chosen = {c.number: c for c in [*ranked[:1], *others]}.values()
    return sorted(list(chosen)[:SHORTENED], key=lambda c: c.seconds)


def _shorten_all(ledger: Ledger, sources: Sequence[Candidate]) -> None:
    for source in sources:
        _shorten(ledger, source)


def _shorten(ledger: Ledger, source: Candidate) -> None:
    """A single model with fewer rounds: what fewer trees would cost; where limits on cost shut it
    out, also with as many as they are expected to let in."""
    made = [source]
    for part in SHORTER:
        made += _of_fewer_rounds(ledger, source, round(part * source.rounds))
    pairs = list(itertools.pairwise(made))
    if source.broken and pairs:
        around = next((pair for pair in pairs if not pair[1].broken), pairs[-1])
        part = WITHIN * _rounds_within(ledger.limits, *around) / source.rounds
        if part >= LEAST_PART:
            _of_fewer_rounds(ledger, source, round(_on_a_grid(part) * source.rounds))


def _on_a_grid(part: float) -> float:
    """The next lower of four steps an octave: costs are estimates, and two searches whose estimates
    differ by a little should make the same model."""
    return float(2 ** (math.floor(4 * math.log2(part)) / 4))


def _of_fewer_rounds(ledger: Ledger, source: Candidate, rounds: int) -> list[Candidate]:
    part = rounds / source.rounds if source.rounds else 0.0
    seconds = part * source.seconds / ledger.trainer.workers
    if rounds < 1 or ledger.budget.spent + seconds + ledger.reserve > ledger.budget.total:
        return []
    short = Candidate(
        len(ledger.candidates), source.family, "shortened",
        {**source.params, **source.settled}, fixed_rounds=rounds,
        note=f"{part:.0%} of the rounds of candidate {source.number}",
    )  # fmt: skip
    ledger.advance([ledger.add(short)], len(source.outcomes), whatever=True)
    return [short]


def _rounds_within(limits: Sequence[Limit], more: Candidate, less: Candidate) -> float:
    """Rounds at which all limits on cost are expected to be just kept: two models that differ only
    in their rounds lie on a straight line of rounds and cost."""
    if more.price is None or less.price is None:
        return 0.0
    costs, lower = costs_of(more.price), costs_of(less.price)
    found = [float(more.rounds)]
    for limit in broken_by(limits, more.price):
        points = [costs[limit.metric], lower[limit.metric], limit.bound]
        if limit.direction == "at_least":  # of rows a second; a row's seconds are what adds up
            points = [1 / max(point, TINY) for point in points]
        most, some, bound = points
        saved = (most - bound) / max(most - some, TINY)
        found.append(more.rounds - saved * (more.rounds - less.rounds))
    return min(found)


def _quantise(ledger: Ledger, dataset: Dataset, source: Candidate, stored: Stored) -> None:
    """The best model with the weights of its networks in fewer bytes; nothing is trained again,
    but where a network's models were dropped."""
    parts = source.members or ((source, 1.0),)
    if not any(stored in getattr(part.family, "storable", ()) for part, _ in parts):
        return
    smaller = []
    for part, weight in parts:
        made: Candidate | None = part
        if stored in getattr(part.family, "storable", ()):
            made = _rounded(ledger, dataset, part, stored)
        if made is None:
            return
        smaller.append((made, weight))
    if source.members:
        whole = blended(len(ledger.candidates), tuple(smaller))
        whole.origin = "quantised"
        whole.note = f"candidate {source.number} with weights in {stored}"
        ledger.add(whole)
        if ledger.bounded:
            ledger.price(whole)


def _has_time_for(ledger: Ledger, source: Candidate) -> bool:
    """Whether all folds of a candidate, of a blend those of all members, can be run once more."""
    seconds = ledger.folds.count * source.seconds_a_fold / ledger.trainer.workers
    return ledger.budget.spent + seconds + ledger.reserve <= ledger.budget.total


def _narrow(ledger: Ledger, source: Candidate) -> None:
    """The best model trained again without the columns that it can do without."""
    parts = source.members or ((source, 1.0),)
    if not _has_time_for(ledger, source):
        return
    columns = useless_columns(ledger, source)
    if not columns:
        return
    note = f"candidate {source.number} without {len(columns)} of its columns"
    narrow: list[tuple[Candidate, float]] = []
    for part, weight in parts:
        left_out = [*part.params.get(WITHOUT, ()), *columns]
        made = Candidate(
            len(ledger.candidates), part.family, "narrowed", {**part.params, WITHOUT: left_out},
            source=source, note=note,
        )  # fmt: skip
        ledger.advance([ledger.add(made)], len(part.outcomes))
        if made.outcome != "complete":
            return
        narrow.append((made, weight))
    if source.members:
        whole = blended(len(ledger.candidates), tuple(narrow))
        whole.origin, whole.source, whole.note = "narrowed", source, note
        ledger.add(whole)
        if ledger.bounded:
            ledger.price(whole)


def _rounded(
    ledger: Ledger, dataset: Dataset, source: Candidate, stored: Stored
) -> Candidate | None:
    """A single network with rounded weights; None where there is no time for it."""
    made = Candidate(
        len(ledger.candidates), source.family, "quantised", {**source.params, "stored": stored},
        note=f"candidate {source.number} with weights in {stored}",
    )  # fmt: skip
    if any(o.member is None for o in source.outcomes):
        if not ledger.fits(source):
            return None
        ledger.advance([ledger.add(made)], len(source.outcomes))
        return made if made.outcome == "complete" else None
    for number, outcome in enumerate(source.outcomes):
        assert outcome.member is not None
        model: Any = outcome.member.model
        member = replace(outcome.member, model=model.kept_as(stored))
        answers = member.answer(dataset.train.take(ledger.folds.valid(number)).feeds)
        made.outcomes.append(replace(outcome, answers=answers, member=member, seconds=0.0))
    made.outcome = "complete"
    ledger.add(made)
    if ledger.bounded:
        ledger.price(made)
    return made
