"""The search: untuned defaults of every family first, then Optuna, all within the budget.

The only importer of optuna. Defaults stay candidates to the end, since on real tables a one-holdout
search beat its own default on one set of six (shared notes, "What was learned", 1).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import optuna

from modelwright.core.errors import FitError, UsageError, did_you_mean
from modelwright.core.goals import goal_of
from modelwright.core.limits import METRICS
from modelwright.core.progress import Progress
from modelwright.core.records import FitRecord
from modelwright.core.spec import Spec
from modelwright.data.dataset import Dataset
from modelwright.fit.family import BASELINES, Family, Range, family_of
from modelwright.fit.pipeline import Fit
from modelwright.fit.trials import (
    Budget,
    Candidate,
    Folds,
    Trainer,
    default_of,
    fold_count,
    is_hopeless,
    leader_of,
)

FAR_BEHIND = 5.0
"""Spreads by which a family's default may be behind before no trial is spent on it."""
StoppedBy = Literal["budget", "trials", "interrupt", "done"]
REFIT_COST = 1.4
"""A last fit sees K/(K-1) of a fold's rows and needs an encoder: time of a fold times this."""


def search(spec: Spec, dataset: Dataset, progress: Progress) -> Fit:
    """Find and train the best candidate.

    Args:
        spec: families, budget, parameters.
        dataset: its training part is used, the holdout is not.
        progress: told after every fold.

    Returns:
        The chosen pipeline with the baselines beside it. Ctrl-C ends the search and keeps what
        was found, once a candidate has run.

    Raises:
        FitError: no candidate finished a fold.
        UsageError: unknown family, or parameters that the library refuses.
    """
    return _Search(spec, dataset, progress).run()


@dataclass
class _Search:
    spec: Spec
    dataset: Dataset
    progress: Progress
    candidates: list[Candidate] = field(default_factory=list)
    best: Candidate | None = None
    stopped_by: StoppedBy = "done"

    def __post_init__(self) -> None:
        fit = self.spec.fit
        self.goal = goal_of(self.spec, self.dataset.schema.target)
        self.budget = Budget(fit.budget)
        names = dict.fromkeys([*BASELINES, *fit.families])
        self.families = [family_of(name) for name in names]
        self.fixed = _fixed_params(fit.params, dict(zip(names, self.families, strict=True)))
        self.folds = Folds(self.dataset, fold_count(fit, self.dataset.train.rows))
        self.trainer = Trainer(
            self.dataset.schema,
            fit,
            self.dataset.record.seed,
            fit.threads or len(os.sched_getaffinity(0)),
            self.goal,
        )

    def run(self) -> Fit:
        try:
            self._defaults()
            self._optuna()
        except KeyboardInterrupt:
            if self.best is None:
                raise
            self.stopped_by = "interrupt"
            self.progress.say(
                "Stopped by Ctrl-C: going on with the best so far. Once more ends it all."
            )
        return self._finish()

    def _defaults(self) -> None:
        """One fold of every family first, so that they can be compared early; then the rest."""
        for family in self.families:
            self._open(family, "default", {})
        for number in range(self.folds.count):
            for candidate in self.candidates:
                if number and not self._fits(candidate):
                    continue
                if len(candidate.scores) == number:
                    self._run_fold(candidate)
        for candidate in self.candidates:
            if len(candidate.scores) == self.folds.count:
                candidate.outcome = "complete"

    def _optuna(self) -> None:
        """Suggest, run fold by fold, drop what cannot win; TPE of Bergstra et al. 2011."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        named = [family_of(name).name for name in self.spec.fit.families]
        studies = {f.name: self._study() for f in self.families if f.space and f.name in named}
        turn = 0
        while studies:
            if self.budget.trials is not None and len(self.candidates) >= self.budget.trials:
                self.stopped_by = "trials"
                return
            family = self._next_family(list(studies), turn)
            if family is None:
                self.stopped_by = "budget"
                return
            turn += 1
            study = studies[family.name]
            trial = study.ask()
            self._search_trial(study, trial, family)

    def _search_trial(self, study: Any, trial: Any, family: Family) -> None:
        fixed = self.fixed[family.name]
        space = {name: r for name, r in family.space.items() if name not in fixed}
        params = {name: _suggest(trial, name, r) for name, r in space.items()}
        candidate = self._open(family, "search", params)
        while len(candidate.scores) < self.folds.count:
            if not self._fits(candidate):
                candidate.note = "out of time"
                break
            self._run_fold(candidate)
            if self.best is not candidate and is_hopeless(self.goal, candidate, self._best()):
                candidate.outcome = "pruned"
                break
        else:
            candidate.outcome = "complete"
        failed = not candidate.scores or math.isnan(candidate.freeze().score)
        study.tell(
            trial,
            None if failed else _comparable(candidate, default_of(self.candidates, family)),
            state=optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE,
        )

    def _study(self) -> Any:
        higher = METRICS[self.goal].better == "higher"
        sampler = optuna.samplers.TPESampler(seed=self.trainer.seed, n_startup_trials=5)
        return optuna.create_study(direction="maximize" if higher else "minimize", sampler=sampler)

    def _next_family(self, names: list[str], turn: int) -> Family | None:
        """Families whose next fold fits take turns; the leading one gets every second trial."""
        affordable = [
            c.family
            for c in self.candidates
            if c.origin == "default"
            and c.family.name in names
            and self._fits(c)
            and not is_hopeless(self.goal, c, self._best(), spreads=FAR_BEHIND)
        ]
        if not affordable:
            return None
        leader = self._best().family.name
        leading = [family for family in affordable if family.name == leader]
        others = [family for family in affordable if family.name != leader]
        if leading and (turn % 2 == 0 or not others):
            return leading[0]
        return others[(turn // 2) % len(others)]

    def _open(self, family: Family, origin: Literal["default", "search"], params: Any) -> Candidate:
        fixed = self.fixed[family.name]
        chosen = {**family.defaults, **params, **fixed}
        candidate = Candidate(len(self.candidates), family, origin, chosen)
        self.candidates.append(candidate)
        return candidate

    def _run_fold(self, candidate: Candidate) -> None:
        self.trainer.run_fold(candidate, self.folds, self._seconds())
        self.best = leader_of(self.goal, self.candidates)
        best = self._best()
        score = best.freeze().score
        note = f"best {best.family.name} {self.goal} {score:.4f}{self._limit_note(score)}"
        tried = sum(bool(c.scores) for c in self.candidates)
        trials = self.budget.trials
        done, total = (tried, trials) if trials else (self.budget.spent, self.budget.total)
        self.progress.step(done, total, f"{tried} candidates, {note}")

    def _limit_note(self, score: float) -> str:
        """Whether the best so far keeps the limit on the goal metric, where there is one."""
        for limit in self.spec.parsed_limits():
            if limit.metric == self.goal and not limit.relative and not limit.slice_column:
                return f", limit {'met' if limit.met_by(score) else 'not met'}"
        return ""

    def _fits(self, candidate: Candidate) -> bool:
        """Whether the next fold and the last fit of the best one still fit into the budget."""
        siblings = [c for c in self.candidates if c.family is candidate.family and c.scores]
        fold = max((c.seconds_a_fold for c in siblings), default=0.0)
        return self.budget.allows(fold + self._reserve())

    def _seconds(self) -> float:
        """Time for one fold: what is left, shared with the families that have not run yet and
        with the last fits, which cost about as much as two folds."""
        waiting = sum(not c.scores for c in self.candidates if c.family.name not in BASELINES)
        return self.budget.left / (2 + max(1, waiting))

    def _reserve(self) -> float:
        wanted = {id(c): c for c in self.candidates if c.family.name in BASELINES}
        if self.best is not None:
            wanted[id(self.best)] = self.best
        return REFIT_COST * sum(c.seconds_a_fold for c in wanted.values())

    def _best(self) -> Candidate:
        if self.best is None:
            raise FitError("No candidate finished a fold.", hint="Give a larger fit.budget.")
        return self.best

    def _finish(self) -> Fit:
        """Train the chosen candidate and the baselines on all training rows."""
        best = self._best()
        self.progress.stage("refit", best.family.name)
        baselines = {
            c.family.name: self.trainer.refit(c, self.dataset)
            for c in self.candidates
            if c.family.name in BASELINES and c.origin == "default" and c.scores
        }
        chosen = baselines.get(best.family.name) if best.origin == "default" else None
        pipeline = chosen or self.trainer.refit(best, self.dataset)
        trial = best.freeze()
        record = FitRecord(
            goal=self.goal,
            family=trial.family,
            params=trial.params,
            best=trial.number,
            rounds=trial.rounds,
            folds=self.folds.name,
            seed=self.trainer.seed,
            budget=self.budget.text,
            seconds=round(self.budget.spent, 2),
            trials=tuple(c.freeze() for c in self.candidates),
            stopped_by=self.stopped_by,
        )
        return Fit(record, pipeline, baselines)


def _comparable(candidate: Candidate, reference: Candidate) -> float:
    """A candidate's mean as if it had run all folds: those it lacks differ as they do for the
    reference, its family's default."""
    run = len(candidate.scores)
    mean = candidate.freeze().score
    if run >= len(reference.scores):
        return mean
    return mean + reference.freeze().score - float(np.mean(reference.scores[:run]))


def _fixed_params(
    given: Mapping[str, dict[str, Any]], families: Mapping[str, Family]
) -> dict[str, dict[str, Any]]:
    """`fit.params` by family name; a family of your own goes by its name in the spec too."""
    known = {name: family.name for name, family in families.items()}
    known |= {family.name: family.name for family in families.values()}
    found: dict[str, dict[str, Any]] = {family.name: {} for family in families.values()}
    for name, params in given.items():
        if name not in known:
            hint = did_you_mean(name, known) or f"Families of this spec: {', '.join(families)}."
            raise UsageError(f"fit.params names the family {name!r}.", hint=hint)
        found[known[name]] |= params
    return found


def _suggest(trial: Any, name: str, r: Range) -> float | int:
    if r.integer:
        return int(trial.suggest_int(name, int(r.low), int(r.high), log=r.log))
    return float(trial.suggest_float(name, r.low, r.high, log=r.log))
