"""Blends: a few candidates whose answers are averaged, chosen on out-of-fold answers.

The greedy selection with replacement of Caruana et al. (2004): start from the best, add whoever
helps most, and count how often each was added. Nobody's answers are those of rows it learned from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelwright.core.intake import Array
from modelwright.fit.folds import Folds
from modelwright.fit.noise import Scorecard
from modelwright.fit.pipeline import mixture
from modelwright.fit.score import better, score
from modelwright.fit.trials import Candidate, Outcome

SIZES = (2, 3, 5)
STEPS = 12
POOL = 10
MOST_ROWS = 20_000
"""Rows that the selection looks at; more cost time and change no weight worth having."""
Recipe = tuple[tuple[Candidate, float], ...]


def recipes(scorecard: Scorecard, folds: Folds, candidates: Sequence[Candidate]) -> list[Recipe]:
    """The best blends of at most 2, 3 and 5 members, each different; none where blending does not
    help.

    Args:
        scorecard: scores of the candidates.
        folds: the first repeat is used.
        candidates: single models that ran all folds.
    """
    pool = _pool(scorecard, candidates)
    if len(pool) < 2:
        return []
    every = max(1, len(candidates[0].outcomes[0].answers) * folds.count // MOST_ROWS)
    truths = [folds.truth(n)[::every] for n in range(folds.count)]
    answers = {c.number: [a[::every] for a in c.answers(folds.count)] for c in pool}
    weights = scorecard.weights[: folds.count]

    def value(parts: Sequence[Array]) -> float:
        scores = [score(scorecard.goal, y, a) for y, a in zip(truths, parts, strict=True)]
        return float(np.average(scores, weights=weights))

    found: dict[tuple[tuple[int, int], ...], Recipe] = {}
    for size in SIZES:
        counts = _greedy(scorecard.goal, pool, answers, value, size)
        if len(counts) > 1:
            total = sum(counts.values())
            recipe = tuple((c, counts[c.number] / total) for c in pool if c.number in counts)
            found[tuple(sorted(counts.items()))] = recipe
    return list(found.values())


def _pool(scorecard: Scorecard, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The best of each family, then the best of all, best first."""

    def place(candidate: Candidate) -> float:
        value = scorecard.mean(candidate.number)
        return -value if better(scorecard.goal, 1.0, 0.0) else value

    ranked = sorted(
        (c for c in candidates if np.isfinite(scorecard.mean(c.number))),
        key=lambda c: (place(c), c.number),
    )
    firsts = list({c.name: c for c in reversed(ranked)}.values())
    chosen = {c.number for c in [*firsts, *ranked][:POOL]}
    return [c for c in ranked if c.number in chosen]


def _greedy(
    goal: str,
    pool: Sequence[Candidate],
    answers: dict[int, list[Array]],
    value: object,
    size: int,
) -> dict[int, int]:
    """How often each was added, at the best step."""
    assert callable(value)
    first = pool[0].number
    counts = {first: 1}
    sums = list(answers[first])
    best_counts, best_value = dict(counts), value(sums)
    for step in range(1, STEPS):
        tried = []
        for candidate in pool:
            if len(counts) == size and candidate.number not in counts:
                continue
            mixed = [
                (s + a) / (step + 1) for s, a in zip(sums, answers[candidate.number], strict=True)
            ]
            tried.append((value(mixed), candidate.number))
        found, number = max(tried) if better(goal, 1.0, 0.0) else min(tried)
        counts[number] = counts.get(number, 0) + 1
        sums = [s + a for s, a in zip(sums, answers[number], strict=True)]
        if better(goal, found, best_value):
            best_counts, best_value = dict(counts), found
    return best_counts


def blended(number: int, recipe: Recipe) -> Candidate:
    """A candidate that answers with the weighted mean of others."""
    common = min(len(member.outcomes) for member, _ in recipe)
    weights = tuple(weight for _, weight in recipe)
    made = Candidate(number, None, "blend", {}, members=recipe, outcome="complete")
    for fold in range(common):
        parts = [member.outcomes[fold].answers for member, _ in recipe]
        made.outcomes.append(Outcome(mixture(parts, weights), 0, {}, 0.0))
    return made


def out_of_fold(candidate: Candidate, folds: Folds, rows: int) -> Array:
    """Answers for all training rows, the mean over repeats; NaN for rows in no validation part."""
    width = candidate.outcomes[0].answers.shape[1:]
    total, seen = np.zeros((rows, *width)), np.zeros(rows)
    for number, outcome in enumerate(candidate.outcomes):
        place = folds.valid(number)
        total[place] += outcome.answers
        seen[place] += 1
    with np.errstate(invalid="ignore"):
        return np.asarray(total / seen.reshape(-1, *[1] * len(width)))
