"""The contract of a model family: data about itself, and one method, `fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelwright.core.errors import UsageError
from modelwright.core.extend import resolve
from modelwright.core.intake import Array
from modelwright.core.limits import Task
from modelwright.fit.decision import Decision
from modelwright.fit.features import Encoding

FAMILIES = {
    "dummy": "modelwright.fit.families.dummy:Dummy",
    "linear": "modelwright.fit.families.linear:Linear",
    "lightgbm": "modelwright.fit.families.lightgbm:LightGBM",
    "catboost": "modelwright.fit.families.catboost:CatBoost",
    "xgboost": "modelwright.fit.families.xgboost:XGBoost",
    "extra_trees": "modelwright.fit.families.forests:ExtraTrees",
    "random_forest": "modelwright.fit.families.forests:RandomForest",
    "network": "modelwright.fit.families.network:Network",
}
BASELINES = ("dummy", "linear")
TRANSFORM = "target.transform"
FAMILY_PARTS = ("name", "encoding", "defaults", "space", "fit")


@dataclass(frozen=True)
class Range:
    """A numeric hyperparameter's search range, both ends included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False


def never() -> bool:
    """The stop signal of a training that may take its time."""
    return False


@dataclass(frozen=True)
class FitJob:
    """One training: what to learn from and under which settings.

    Attributes:
        x: features, float64 [rows, features]; NaN is missing.
        y: class index (int64), value (float64) or, with `soft`, chance of class 1 a row.
        x_valid, y_valid: rows for early stopping; None when `rounds` is fixed.
        task: binary, multiclass or regression.
        classes: how many classes; 1 for regression.
        params: hyperparameters in the library's own terms.
        rounds: exact number of boosting rounds, or None for early stopping.
        patience: rounds without gain before stopping.
        stop: asked after each round; when it says yes, a booster keeps what it has.
        seed, threads: handed to the library.
        monotone: -1, 0 or 1 a feature: the answer may only fall, do as it likes, or only rise.
        soft: `y` are chances of class 1, to learn from another model's answers.
    """

    x: Array
    y: Array
    task: Task
    classes: int
    params: Mapping[str, Any]
    seed: int
    threads: int
    x_valid: Array | None = None
    y_valid: Array | None = None
    rounds: int | None = None
    patience: int = 50
    stop: Callable[[], bool] = never
    monotone: tuple[int, ...] = ()
    soft: bool = False


class Fitted(Protocol):
    """A trained model, alive in this process only."""

    rounds: int
    """Boosting rounds used; 0 where there is no such thing."""
    settled: Mapping[str, Any]
    """Parameters that the library chose itself and that a refit must repeat."""

    def answer(self, x: Array) -> Array:
        """The library's own prediction: probabilities [rows, classes], or values [rows]."""

    def decision(self) -> Decision:
        """The same function, in the neutral form that `pack` turns into ONNX."""


class Family(Protocol):
    """A kind of model. See CONTRIBUTING.md, "Add a family in 10 minutes".

    Three more attributes are optional. `presets`: settings that are strong on many tables, tried
    before the search. `monotone`: whether `FitJob.monotone` is kept. `soft`: tasks for which it
    learns from chances and values of another model (distilling).
    """

    name: str
    encoding: Encoding
    defaults: Mapping[str, Any]
    space: Mapping[str, Range]

    def fit(self, job: FitJob) -> Fitted:
        """Train one model."""


@dataclass(frozen=True)
class Settings:
    """A candidate's parameters: the library's, the encoder's, and the target's transform."""

    library: dict[str, Any] = field(default_factory=dict)
    encoding: dict[str, Any] = field(default_factory=dict)
    transform: str = "none"


def presets_of(family: Family) -> Sequence[Mapping[str, Any]]:
    """A family's strong settings, the best first; none for a family without."""
    return getattr(family, "presets", ())


def family_of(name: str) -> Family:
    """The family that a name in `fit.families` stands for.

    Raises:
        UsageError: unknown name, a class that cannot be imported, or one that is no family.
    """
    found: Any = resolve(name, FAMILIES, kind="family")
    family: Family = found() if isinstance(found, type) else found
    absent = [part for part in FAMILY_PARTS if not hasattr(family, part)]
    if absent:
        raise UsageError(
            f"{name} is no family: it lacks {', '.join(absent)}.",
            hint="CONTRIBUTING.md has a complete one, 'Add a family in 10 minutes'.",
        )
    return family


def split_params(params: Mapping[str, Any]) -> Settings:
    """Tell `encoding.clip: 10` and `target.transform: log` from parameters of the library.

    Example:
        >>> split_params({"C": 1.0, "encoding.clip": 10}).encoding
        {'clip': 10}
    """
    prefix = "encoding."
    return Settings(
        {k: v for k, v in params.items() if not k.startswith(prefix) and k != TRANSFORM},
        {k.removeprefix(prefix): v for k, v in params.items() if k.startswith(prefix)},
        params.get(TRANSFORM, "none"),
    )
