"""The search: untuned defaults of every family first, then strong presets, then Optuna; then what
can be made of the candidates (blends, a student, shortened models). All within the budget.

Defaults stay candidates to the end, since on real tables a one-holdout search beat its own default
on one set of six (shared notes, "What was learned", 1).
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelwright.core.errors import FitError
from modelwright.core.goals import goal_of
from modelwright.core.progress import Progress
from modelwright.core.records import Origin
from modelwright.core.spec import FitSpec, Spec
from modelwright.data.dataset import Dataset
from modelwright.fit.aside import set_aside
from modelwright.fit.budget import Budget
from modelwright.fit.choose import excess
from modelwright.fit.family import (
    BASELINES,
    NATIVE,
    TRANSFORM,
    Family,
    Range,
    family_of,
    presets_of,
)
from modelwright.fit.finish import cost_matrix
from modelwright.fit.folds import folds_for
from modelwright.fit.found import Found, StoppedBy
from modelwright.fit.ledger import MADE, Ledger
from modelwright.fit.made import cost_of_more, make_more
from modelwright.fit.memory import workers_that_fit
from modelwright.fit.outputs import is_skewed
from modelwright.fit.pipeline import Pricing
from modelwright.fit.plan import (
    best_start,
    by_default,
    comparable,
    is_behind_its_family,
    is_dear,
    next_family,
)
from modelwright.fit.saved import STUDIES, restore
from modelwright.fit.settings import by_family, monotone_signs
from modelwright.fit.trials import Candidate, Trainer
from modelwright.fit.tune import Tuner

FAR_BEHIND = 5.0
"""Spreads by which a family's default may be behind before no trial is spent on it."""
REPEATED = 6
"""How many of the best candidates run the further repeats on small tables."""
CERTAIN = 4
"""Families whose first fold runs however small the budget is: the baselines and two more."""
NATIVE_LEVELS = 255
"""Most levels of a category that is tried as such; one with more has target means."""
SIDE_BY_SIDE = 2
"""Optuna's suggestions that are tried at a time."""


def search(
    spec: Spec,
    dataset: Dataset,
    progress: Progress,
    pricing: Pricing,
    run_folder: Path | None = None,
    since: float | None = None,
) -> Found:
    """Find candidates for a release.

    Args:
        spec: families, budget, parameters, limits.
        dataset: its training part is used, the holdout is not.
        progress: told after every few folds.
        pricing: says what a candidate would cost to serve.
        run_folder: where candidates are kept; those of an earlier, killed search are taken up.
        since: moment of `time.monotonic` from which the budget counts; now by default.

    Returns:
        Every candidate with its out-of-fold answers; `.finalists()` are worth packing. Ctrl-C ends
        the search and keeps what was found, once a candidate has run.

    Raises:
        FitError: no candidate finished a fold, or no family of the spec could be trained.
        UsageError: unknown family, or parameters that a library refuses.
    """
    dataset, aside = set_aside(spec.fit, dataset)
    made = _begin(spec, dataset, progress, pricing, run_folder, since)
    stopped_by = made.run()
    made.ledger.folds.forget()
    return Found(spec, dataset, made.ledger, stopped_by, aside)


def _begin(
    spec: Spec,
    dataset: Dataset,
    progress: Progress,
    pricing: Pricing,
    run: Path | None,
    since: float | None,
) -> _Search:
    fit, schema, seed = spec.fit, dataset.schema, dataset.record.seed
    goal = goal_of(spec, schema.target)
    names = dict.fromkeys([*BASELINES, *fit.families])
    families = [family_of(name) for name in names]
    known = dict(zip(names, families, strict=True))
    folds = folds_for(fit, dataset)
    threads = fit.threads or len(os.sched_getaffinity(0))
    workers = workers_that_fit(dataset, min(threads, 2 * folds.count))
    signs = monotone_signs(fit, schema)
    trainer = Trainer(schema, fit, seed, max(1, threads // workers), workers, signs)
    kept: list[Candidate] = []
    spent = 0.0
    if run is not None:
        kept, spent = restore(run, {f.name: f for f in families}, folds.name)
    ledger = Ledger(
        schema, goal, spec.parsed_limits(), cost_matrix(fit.costs, schema.target),
        by_family(fit.params, known, "params"), folds, trainer,
        Budget(fit.budget, spent, since), pricing, progress, run, kept,
    )  # fmt: skip
    studies = run / STUDIES if run is not None else None
    tuner = Tuner(goal, seed, studies, ledger.bounded)
    return _Search(spec, dataset, families, by_family(fit.space, known, "space"), ledger, tuner)


@dataclass
class _Search:
    spec: Spec
    dataset: Dataset
    families: list[Family]
    space: Mapping[str, Mapping[str, Any]]
    ledger: Ledger
    tuner: Tuner
    dear: list[Candidate] = field(default_factory=list)

    def run(self) -> StoppedBy:
        stopped_by: StoppedBy = "done"
        self.ledger.later = lambda: cost_of_more(self.ledger, self.spec, self.dataset)
        try:
            self._defaults()
            self._transforms()
            self._presets()
            self._natives()
            self._the_dear()
            stopped_by = self._tune()
            self._repeat()
            self.ledger.later = float
            make_more(self.ledger, self.spec, self.dataset, self._searched())
        except KeyboardInterrupt:
            if not any(c.outcomes for c in self.ledger.candidates):
                raise
            stopped_by = "interrupt"
            self.ledger.progress.say(
                "Stopped by Ctrl-C: going on with the best so far. Once more ends it all."
            )
        if self.ledger.leader is None:
            raise FitError("No candidate finished a fold.", hint="Give a larger fit.budget.")
        return stopped_by

    def _defaults(self) -> None:
        """One fold of every family first, so that they can be compared early; then the rest of the
        best, of those that it has not left far behind, and of the baselines. What would take a
        large part of the time waits until what is cheap has its folds."""
        ledger, every = self.ledger, self.ledger.folds.count
        known = {c.name for c in ledger.candidates if c.origin == "default"}
        for family in self.families:
            if family.name not in known:
                ledger.open(family, "default", {})
        defaults = [c for c in ledger.candidates if c.origin == "default"]
        ledger.advance(defaults[:CERTAIN], 1, whatever=True)
        ledger.advance(defaults, 1)
        _must_have_trained(self.spec.fit, defaults)
        ranked = ledger.chooser.ranked([c for c in defaults if c.outcomes])
        leader = ledger.leader
        self.dear = [c for c in ranked if c.name not in BASELINES and is_dear(ledger, c)]
        cheap = [c for c in ranked if c not in self.dear]
        ledger.advance([c for c in cheap if c is leader], every)
        alive = [c for c in cheap if not ledger.is_hopeless(c, spreads=FAR_BEHIND)]
        ledger.advance(alive, every)
        if leader in self.dear:  # better than all that is cheap, so before their presets
            self.dear.remove(leader)
            ledger.advance([leader], every)
        ledger.advance([c for c in cheap if c.name in BASELINES], every)

    def _the_dear(self) -> None:
        """The defaults that waited until what is cheap had its turn."""
        for candidate in self.dear:
            if not self.ledger.is_hopeless(candidate):
                self.ledger.advance([candidate], self.ledger.folds.count)

    def _transforms(self) -> None:
        """The defaults again on a logarithmic scale, where the target has a long tail."""
        if self.dataset.schema.target.levels or not is_skewed(self.dataset.train.target):
            return
        families = by_default(self.ledger, self._searched())
        waiting = [f for f in families if TRANSFORM not in self.ledger.fixed[f.name]]
        while waiting and not self._is_over():
            size = self._room_for(self.ledger.trainer.workers)
            self._compete([(family, "default", {TRANSFORM: "log"}) for family in waiting[:size]])
            waiting = waiting[size:]

    def _natives(self) -> None:
        """The defaults again with categories handed over as such, to families that know them."""
        wide = [c for c in self.dataset.schema.features if c.kind == "category"]
        if not any(len(column.levels) > 2 for column in wide):
            return
        for family in self._searched():
            known = (
                getattr(family, "native", False) and NATIVE not in self.ledger.fixed[family.name]
            )
            if known and not self._is_over():
                scale = best_start(self.ledger, family)
                self._compete([(family, "default", {**scale, NATIVE: NATIVE_LEVELS})])

    def _presets(self) -> None:
        """The settings of each family that are strong on many tables, the families in turns and the
        better first, as many at a time as there are workers."""
        families = by_default(self.ledger, self._searched())
        turns = itertools.zip_longest(*[[(f, p) for p in presets_of(f)] for f in families])
        waiting = list(filter(None, itertools.chain.from_iterable(turns)))
        while waiting and not self._is_over():
            size = self._room_for(self.ledger.trainer.workers)
            self._compete([(family, "preset", preset) for family, preset in waiting[:size]])
            waiting = waiting[size:]

    def _tune(self) -> StoppedBy:
        """Optuna's suggestions, two at a time, the leading family every second time."""
        turn = sum(c.origin == "search" for c in self.ledger.candidates)
        while not self._is_over():
            ran = [c for c in self.ledger.candidates if c.outcomes and self.ledger.fits(c)]
            able = {c.name for c in ran}
            families = [f for f in self._searched() if self._space_of(f) and f.name in able]
            if not families:
                return "budget"
            family = next_family(self.ledger, families, turn)
            turn += 1
            count = self._room_for(SIDE_BY_SIDE)
            binding = self.ledger.chooser.binding(self.ledger.complete())
            space = self._space_of(family)
            asked = [self.tuner.ask(family.name, space, binding=binding) for _ in range(count)]
            made = self._compete([(family, "search", params) for _, params in asked])
            for (trial, _), candidate in zip(asked, made, strict=True):
                over = cost = 0.0
                if candidate.price is not None:
                    over = excess(self.ledger.limits, candidate.price)
                    cost = math.log(candidate.price.in_process)
                after = len(candidate.outcomes) if candidate.outcome == "pruned" else None
                failed = candidate.outcome == "failed"
                value = None if failed else comparable(self.ledger, candidate)
                self.tuner.tell(trial, value, over, cost, after)
        return "budget" if self.ledger.budget.trials is None else "trials"

    def _repeat(self) -> None:
        """The best candidates on further cuts of a small table, which one cut misjudges."""
        ledger = self.ledger
        best = [c for c in ledger.chooser.ranked(ledger.complete()) if c.family is not None]
        for cut in range(2, ledger.folds.repeats + 1):
            for candidate in best[:REPEATED]:
                ledger.advance([candidate], cut * ledger.folds.count)

    def _compete(
        self, given: Sequence[tuple[Family, Origin, Mapping[str, Any]]]
    ) -> list[Candidate]:
        """Run new candidates side by side; those that cannot win end after their first fold, and
        Optuna's half-way where they are plainly behind what their family has."""
        count = self.ledger.folds.count
        made = [self._opened(*one) for one in given]
        self.ledger.advance(made, 1)
        alive = [c for c in made if not self.ledger.is_hopeless(c)]
        if all(origin == "search" for _, origin, _ in given):
            self.ledger.advance(alive, (count + 1) // 2)
            alive = [c for c in alive if not is_behind_its_family(self.ledger, c)]
        self.ledger.advance(alive, count)
        for candidate in made:
            if candidate.outcome == "failed":
                continue
            if candidate not in alive:
                candidate.outcome = "pruned"
            elif candidate.outcome == "stopped":
                candidate.note = "out of time"
        return made

    def _opened(self, family: Family, origin: Origin, params: Mapping[str, Any]) -> Candidate:
        """A new candidate, or the same one as a killed search left it."""
        scale = {} if origin == "default" else best_start(self.ledger, family)
        wanted = {**family.defaults, **scale, **params, **self.ledger.fixed[family.name]}
        for known in self.ledger.candidates:
            if (known.name, known.origin, known.params) == (family.name, origin, wanted):
                return known
        return self.ledger.open(family, origin, {**scale, **params})

    # -- what may still be tried

    def _searched(self) -> list[Family]:
        """The families that the spec names, without those that failed or are far behind."""
        named = {family_of(name).name for name in self.spec.fit.families}
        found = []
        for family in self.families:
            own = [c for c in self.ledger.candidates if c.name == family.name]
            own = [c for c in own if c.origin == "default" and self.ledger.may_win(c)]
            own = [c for c in own if c.outcome != "failed"]
            hopeless = all(self.ledger.is_hopeless(c, spreads=FAR_BEHIND) for c in own)
            if family.name in named and own and not hopeless:
                found.append(family)
        return found

    def _space_of(self, family: Family) -> dict[str, Range]:
        """The ranges to search, the spec's in place of the family's, without what is fixed."""
        given = {
            name: Range(r.low, r.high, r.log, r.integer)
            for name, r in self.space[family.name].items()
        }
        fixed = self.ledger.fixed[family.name]
        return {n: r for n, r in {**family.space, **given}.items() if n not in fixed}

    def _counted(self) -> int:
        return sum(c.origin not in MADE for c in self.ledger.candidates)

    def _room_for(self, count: int) -> int:
        """So many candidates, or as many as a budget of trials has left."""
        trials = self.ledger.budget.trials
        return count if trials is None else min(count, trials - self._counted())

    def _is_over(self) -> bool:
        trials = self.ledger.budget.trials
        if trials is not None:
            return self._counted() >= trials
        return self.ledger.budget.left <= self.ledger.reserve


def _must_have_trained(fit: FitSpec, defaults: Sequence[Candidate]) -> None:
    """Refuse to answer with the baselines alone where all that was asked for failed."""
    named = {family_of(name).name for name in fit.families}
    asked = [c for c in defaults if c.name in named]
    if all(c.outcome == "failed" for c in asked):
        said = "; ".join(f"{c.name}: {c.note}" for c in asked)
        raise FitError(
            f"No family of fit.families could be trained: {said}",
            hint="Look at modelwright check, or name other families.",
        )
