"""The choice: the best candidate that keeps every limit, and by how little it could be cheaper.

A lead counts only beyond its paired noise; within it the cheaper candidate wins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelwright.core.limits import METRICS, Limit, show
from modelwright.core.records import Finding, Interval, Measured, Price
from modelwright.fit.noise import Scorecard
from modelwright.fit.score import better, gain
from modelwright.fit.trials import Candidate

NOISE = 1.0
"""Standard errors of the paired difference that a lead must exceed to count."""
SHOWN = 0.005
"""Part of a figure that its three digits may leave out."""
SHRUNK = ("shortened", "distilled", "quantised", "narrowed")
COSTS = ("latency_p95", "throughput", "memory", "size")


def costs_of(found: Price | Measured) -> dict[str, float]:
    """The figures that limits can be set on, those that are known."""
    values = {name: getattr(found, name, None) for name in COSTS}
    return {
        name: value.value if isinstance(value, Interval) else float(value)
        for name, value in values.items()
        if value is not None
    }


def broken_by(limits: Sequence[Limit], found: Price | Measured) -> tuple[Limit, ...]:
    """The limits on cost that these figures break."""
    values = costs_of(found)
    return tuple(
        limit
        for limit in limits
        if limit.metric in values and not limit.met_by(values[limit.metric])
    )


def excess(limits: Sequence[Limit], found: Price | Measured) -> float:
    """How far over the limits on cost, the relative excesses added up; 0 or less within them."""
    values = costs_of(found)
    over = []
    for limit in limits:
        if limit.metric in values:
            ratio = max(values[limit.metric], 1e-12) / max(limit.bound, 1e-12)
            over.append(math.log(ratio) * (1 if limit.direction == "at_most" else -1))
    positive = sum(o for o in over if o > 0)
    return positive if positive else max(over, default=0.0)


@dataclass(frozen=True)
class Chooser:
    """Ranks candidates.

    Attributes:
        scorecard: their scores and how sure they are.
        limits: all of the spec.
        measured: candidate number -> the real server's figures, where they were taken.
        bias: how much being the best of all flatters; a smaller lead counts for nothing.
        drop_at_most: lead that is given up for a smaller model, one of `SHRUNK`.
    """

    scorecard: Scorecard
    limits: tuple[Limit, ...]
    measured: Mapping[int, Measured]
    bias: float = 0.0
    drop_at_most: float = 0.0

    def cost(self, candidate: Candidate) -> Price | Measured | None:
        """What is known of a candidate's costs, the measured before the expected."""
        return self.measured.get(candidate.number) or candidate.price

    def broken(self, candidate: Candidate, without: Limit | None = None) -> tuple[Limit, ...]:
        """The limits on cost that it breaks, one of them perhaps left out."""
        found = self.cost(candidate)
        kept = [limit for limit in self.limits if limit is not without]
        return broken_by(kept, found) if found is not None else ()

    def ranked(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Best score first; those without one last. One that lacks folds is compared, on those that
        it ran, with the one that ran most."""
        card = self.scorecard
        most = max((len(card.entries.get(c.number, [])) for c in candidates), default=0)
        full = [c.number for c in candidates if len(card.entries.get(c.number, [])) == most]
        sign = -1.0 if METRICS[self.scorecard.goal].better == "higher" else 1.0

        def place(candidate: Candidate) -> tuple[bool, float, int]:
            score = sign * card.comparable(candidate.number, min(full))
            return bool(np.isnan(score)), score, candidate.number

        return sorted(candidates, key=place)

    def binding(self, candidates: Sequence[Candidate]) -> bool:
        """Whether the best score belongs to a candidate that breaks a limit on cost."""
        ranked = self.ranked(candidates)
        return bool(ranked) and not ranked[0].feasible

    def best_within_noise(self, candidates: Sequence[Candidate]) -> Candidate:
        """The simplest of those that the best does not beat by more than its noise.

        A single model must also lead by more than being the best of many flatters it. One model is
        simpler than a blend, an untuned one simpler than a tuned one; then one that leaves columns
        out; then the cheaper counts (equally cheap within a factor of 2), then the score.
        """
        ranked = self.ranked(candidates)
        near = [c for c in ranked if c is ranked[0] or self._is_near(ranked[0], c)]
        return min(near, key=lambda c: (*_simplicity(c), near.index(c)))

    def _is_near(self, best: Candidate, other: Candidate) -> bool:
        lead, error = self.scorecard.lead(best.number, other.number)
        flattery = 0.0 if best.members else self.bias
        given_up = self.drop_at_most if other.origin in SHRUNK else 0.0
        return lead <= max(NOISE * error, flattery, given_up)

    def choice(self, candidates: Sequence[Candidate]) -> Candidate:
        """The best that keeps all limits on cost; where none does, the nearest."""
        feasible = [c for c in candidates if not self.broken(c)]
        if feasible:
            return self.best_within_noise(feasible)
        return min(candidates, key=lambda c: (self._excess(c), candidates.index(c)))

    def _excess(self, candidate: Candidate) -> float:
        found = self.cost(candidate)
        return excess(self.limits, found) if found is not None else math.inf

    def pareto(self, candidates: Sequence[Candidate]) -> set[int]:
        """Numbers of those than which nothing is both better and faster."""
        front: set[int] = set()
        fastest = math.inf
        for candidate in self.ranked(candidates):
            seconds = self.seconds(candidate)
            if seconds is not None and seconds < fastest:
                front.add(candidate.number)
                fastest = seconds
        return front

    def seconds(self, candidate: Candidate) -> float | None:
        """One row in process."""
        found = self.cost(candidate)
        if isinstance(found, Measured):
            return found.in_process_p50
        return found.in_process if found is not None else None

    def relaxations(self, chosen: Candidate, candidates: Sequence[Candidate]) -> list[Finding]:
        """What giving up each limit on cost would buy: its shadow price, as far as it was seen."""
        costly = [limit for limit in self.limits if limit.metric in COSTS]
        findings = []
        for limit in costly:
            winners = self._winners(limit, candidates)
            for other in {c.number: c for c in (*winners[:1], *winners[-1:])}.values():
                findings.append(self._relaxed(limit, chosen, other))
        kept = [finding for finding in findings if finding is not None]
        return kept or [self._missed(limit, chosen) for limit in self.broken(chosen)]

    def _missed(self, limit: Limit, chosen: Candidate) -> Finding:
        """Where one limit alone does not help: what the nearest candidate would need of each."""
        cost = self.cost(chosen)
        assert cost is not None
        value = show(limit.metric, costs_of(cost)[limit.metric])
        return Finding(
            "relax", limit.metric, "pass", f"{chosen.name} needs {value}", str(limit),
            "no single limit stands in the way, so all of these must give", "", "info",
        )  # fmt: skip

    def _winners(self, limit: Limit, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that would be the choice if the limit just let them in, the nearest to it first."""
        sign = 1.0 if limit.direction == "at_most" else -1.0

        def far(candidate: Candidate) -> float:
            cost = self.cost(candidate)
            return sign * costs_of(cost)[limit.metric] if cost is not None else math.inf

        allowed = [c for c in candidates if not self.broken(c)]
        shut_out = [c for c in candidates if self.broken(c) == (limit,)]
        winners = []
        for candidate in sorted(shut_out, key=far):
            allowed.append(candidate)
            if self.best_within_noise(allowed) is candidate:
                winners.append(candidate)
        return winners

    def _relaxed(self, limit: Limit, chosen: Candidate, other: Candidate) -> Finding | None:
        goal = self.scorecard.goal
        mine, theirs = (self.scorecard.mean(c.number) for c in (chosen, other))
        cost = self.cost(other)
        assert cost is not None
        value = costs_of(cost)[limit.metric]
        nearest = bool(self.broken(chosen))
        won, error = self.scorecard.lead(other.number, chosen.number)
        if not nearest and not better(goal, theirs, mine):
            return None
        how = "measured" if other.number in self.measured else "expected"
        apart = show(limit.metric, abs(value - limit.bound))
        word = "+" if limit.direction == "at_most" else "-"
        bought = f"{word}{apart} buys {show(goal, gain(goal, theirs, mine))} {goal}"
        if nearest:
            bought = f"{word}{apart} makes {other.name} feasible, {goal} {show(goal, theirs)}"
        return Finding(
            "relax", limit.metric, "pass",
            f"{bought}: {other.name} (candidate {other.number}) at "
            f"{'' if how == 'measured' else 'about '}{show(limit.metric, value)}, {how}",
            str(limit),
            f"cross-validated {show(goal, theirs)} against {show(goal, mine)}",
            f"limits.{limit.metric} of {show(limit.metric, _beyond(limit, value))} would allow it",
            "info",
            Interval(won, won - 2 * error, won + 2 * error),
        )  # fmt: skip


def _beyond(limit: Limit, value: float) -> float:
    """A bound that lets the value in even after it was shown with three digits."""
    return value * (1 + SHOWN if limit.direction == "at_most" else 1 - SHOWN)


def _simplicity(candidate: Candidate) -> tuple[int, int, int, int]:
    """(models in it, how much it was tuned, less the columns it leaves out, size in doublings of
    its nodes), the less the simpler.

    A shortened, distilled, quantised or narrowed model is a cheaper stand-in: it is as plain as a
    default.
    """
    tuned = {"preset": 1, "search": 2}.get(candidate.origin, 0)
    price = candidate.price
    magnitude = 99 if price is None else round(math.log2(max(1, price.nodes)))
    return max(1, len(candidate.members)), tuned, -len(candidate.left_out), magnitude
