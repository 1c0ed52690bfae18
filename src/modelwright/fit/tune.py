"""Optuna's part in the search: suggest parameters, remember what they scored.

The only importer of optuna. The studies lie in one SQLite file of the run, so that a search that
was killed goes on where it was. TPE of Bergstra et al. 2011; with two objectives MOTPE of Ozaki et
al. 2020.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc

from modelwright.core.limits import METRICS
from modelwright.fit.family import Range

OVER = "over"
"""Constraint of a trial: how far it is over the limits on cost, 0 or less when it keeps them."""
PARETO = ", score and cost"
"""Ending of the name of a study with two objectives."""
STARTUP_TRIALS = 5


@dataclass(frozen=True)
class Asked:
    """A trial under way, and the study that wants its result."""

    study: Any
    trial: Any


@dataclass
class Tuner:
    """A study for each family.

    Attributes:
        goal: the metric, which says whether more is better.
        seed: of the sampler.
        path: SQLite file that keeps the studies; None keeps them in memory.
        bounded: whether limits on cost steer the sampler (constrained TPE).
    """

    goal: str
    seed: int
    path: Path | None = None
    bounded: bool = False
    _studies: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._storage: Any = None
        if self.path is not None:
            self._storage = _storage(self.path)

    def ask(
        self, family: str, space: Mapping[str, Range], *, binding: bool = False
    ) -> tuple[Asked, dict[str, Any]]:
        """A new trial of a family, and its parameters.

        Args:
            binding: the best so far breaks a limit on cost. Then score and cost are two objectives,
                so that the whole Pareto line is explored instead of its upper end.
        """
        study = self._study(f"{family}{PARETO}" if binding else family, 2 if binding else 1)
        trial = study.ask()
        return Asked(study, trial), {n: _suggested(trial, n, r) for n, r in space.items()}

    def tell(
        self,
        asked: Asked,
        value: float | None,
        over: float = 0.0,
        cost: float = 0.0,
        pruned_after: int | None = None,
    ) -> None:
        """What became of a trial.

        Args:
            value: what it scored; None when it failed.
            over: how far it is over the limits.
            cost: the logarithm of what it costs.
            pruned_after: folds after which it was given up as hopeless; kept as PRUNED, which the
                sampler ranks behind all complete ones. Where score and cost are two objectives it
                counts as complete, since it may still be the cheapest.
        """
        state = optuna.trial.TrialState
        if self.bounded:
            asked.trial.set_constraint(OVER, over)
        if value is None:
            asked.study.tell(asked.trial, state=state.FAIL)
            return
        if pruned_after is not None and len(asked.study.directions) == 1:
            asked.trial.report(value, pruned_after)
            asked.study.tell(asked.trial, state=state.PRUNED)
            return
        objectives = [value, cost][: len(asked.study.directions)]
        asked.study.tell(asked.trial, objectives, state=state.COMPLETE)

    def number_of(self, family: str) -> int:
        """How many trials a family's study has, those of an earlier process included."""
        return len(self._study(family, 1).get_trials(deepcopy=False))

    def _study(self, name: str, objectives: int) -> Any:
        if name not in self._studies:
            higher = METRICS[self.goal].better == "higher"
            way = optuna.study.StudyDirection
            directions = [way.MAXIMIZE if higher else way.MINIMIZE, way.MINIMIZE]
            study = optuna.create_study(
                study_name=name,
                storage=self._storage,
                load_if_exists=True,
                directions=directions[:objectives],
            )
            # A resumed search must not repeat the draws of the one before.
            known = study.get_trials(deepcopy=False)
            study.sampler = optuna.samplers.TPESampler(
                seed=self.seed + len(known),
                n_startup_trials=STARTUP_TRIALS,
                constant_liar=True,
            )
            for trial in known:
                if trial.state == optuna.trial.TrialState.RUNNING:  # its process was killed
                    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            self._studies[name] = study
        return self._studies[name]


def _storage(path: Path) -> Any:
    """The studies' file; one that a kill left unreadable is begun anew, since the candidates
    themselves are kept elsewhere."""
    try:
        return _opened(path)
    except (sqlite3.DatabaseError, sqlalchemy.exc.SQLAlchemyError, RuntimeError, AssertionError):
        path.unlink(missing_ok=True)
        return _opened(path)


def _opened(path: Path) -> Any:
    return optuna.storages.RDBStorage(f"sqlite:///{path}")


def _suggested(trial: Any, name: str, r: Range) -> float | int:
    if r.integer:
        return int(trial.suggest_int(name, int(r.low), int(r.high), log=r.log))
    return float(trial.suggest_float(name, r.low, r.high, log=r.log))
