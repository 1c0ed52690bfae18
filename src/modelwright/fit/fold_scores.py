"""Scoring the folds of candidates, each under the threshold that the others would set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelwright.core.intake import Array
from modelwright.core.limits import Limit, Task
from modelwright.fit.finish import best_threshold
from modelwright.fit.folds import Folds
from modelwright.fit.noise import Scorecard, scored
from modelwright.fit.outputs import Outputs
from modelwright.fit.score import LABEL_METRICS, decided
from modelwright.fit.trials import Candidate


@dataclass(frozen=True)
class FoldScores:
    """Fills a scorecard."""

    scorecard: Scorecard
    task: Task
    limits: Sequence[Limit]
    costs: Array | None
    folds: Folds

    def note(self, candidate: Candidate) -> None:
        """Score the folds that are new; a metric of the label under the threshold of the others."""
        goal = self.scorecard.goal
        entries = self.scorecard.entries.setdefault(candidate.number, [])
        tuned = goal in LABEL_METRICS and self.task == "binary"
        if tuned:
            entries.clear()
        for number in range(len(entries), len(candidate.outcomes)):
            answers = candidate.outcomes[number].answers
            if tuned:
                answers = self._labelled(candidate, number)
            y, clusters = self.folds.truth(number), self.folds.clusters(number)
            entries.append(scored(goal, y, answers, clusters))

    def _labelled(self, candidate: Candidate, number: int) -> Array:
        others = [n for n in range(len(candidate.outcomes)) if n != number] or [number]
        truth = np.concatenate([self.folds.truth(n) for n in others])
        p = np.concatenate([candidate.outcomes[n].answers[:, 1] for n in others])
        goal = self.scorecard.goal
        threshold = best_threshold(goal, self.limits, self.costs, truth, p)
        answers = candidate.outcomes[number].answers
        return decided(goal, answers, Outputs(threshold=threshold).labels(answers))
