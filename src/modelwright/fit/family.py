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
NATIVE = "encoding.native_levels"
WITHOUT = "encoding.without"
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
        y: class index (int64) or value (float64) a row; with `soft` and classes the chance of
            class 1 of two, or chances [rows, classes] of more.
        x_valid, y_valid: rows for early stopping; None when `rounds` is fixed.
        task: binary, multiclass or regression.
        classes: how many classes; 1 for regression.
        params: hyperparameters in the library's own terms.
        rounds: exact number of boosting rounds, or trees of a forest; None for early stopping.
        patience: rounds without gain before stopping.
        stop: asked every few rounds; when it says yes, a booster or forest keeps what it has.
        seed, threads: handed to the library.
        monotone: -1, 0 or 1 a feature: the answer may only fall, do as it likes, or only rise.
        soft: `y` are chances, or values, of another model that is to be learned from.
        categories: numbers of the features that are categories (`encoding.native_levels`).
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
    categories: tuple[int, ...] = ()


def rounds_of(job: FitJob, names: Sequence[str], most: int) -> tuple[dict[str, Any], int]:
    """(parameters without the library's names for the number of rounds, how many there are to be).

    What the spec gives under one of these names is the most that any training of it gets: libraries
    prefer it to their argument, so that a shortened model's number would be lost.

    Args:
        job: whose parameters are meant.
        names: aliases of the number of rounds.
        most: rounds where neither job nor parameters say anything.

    Raises:
        ValueError: it is no whole number above 0.
    """
    params = dict(job.params)
    given = {name: params.pop(name) for name in names if name in params}
    for name, value in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}: wanted a whole number of rounds above 0, found {value!r}")
    bounds = [*given.values()] + ([job.rounds] if job.rounds else [])
    return params, min(bounds, default=most)


class Fitted(Protocol):
    """A trained model, alive in this process only.

    A method is optional: `grown(rows)`, how many times as large it would be had it learned from
    `rows` times as many rows; without it the size is taken to depend on the rounds alone.
    """

    rounds: int
    """Boosting rounds, or trees of a forest; 0 where there is no such thing."""
    settled: Mapping[str, Any]
    """Parameters that the library chose itself and that a refit must repeat."""

    def answer(self, x: Array) -> Array:
        """The library's own prediction: probabilities [rows, classes], or values [rows]."""

    def decision(self) -> Decision:
        """The same function, in the neutral form that `pack` turns into ONNX."""


class Family(Protocol):
    """A kind of model. See CONTRIBUTING.md, "Add a family in 10 minutes".

    Six more attributes are optional. `presets`: settings that are strong on many tables, tried
    before the search. `boosted`: it adds rounds until the validation loss stops falling, so the
    last fit, which has more rows, gets more of them. `monotone`: whether `FitJob.monotone` is kept.
    `soft`: tasks for which it learns from chances and values of another model (distilling).
    `native`: whether it splits on sets of levels of `FitJob.categories`. `storable`: forms in which
    its models can keep their weights, by a method `kept_as`.
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


def encoding_of(family: Family, settings: Settings) -> Encoding:
    """How a candidate's columns become features.

    Raises:
        UsageError: a parameter that does not exist, or that the family cannot use.
    """
    found = family.encoding.changed(settings.encoding)
    if found.native_levels and not getattr(family, "native", False):
        raise UsageError(
            f"encoding.native_levels is {found.native_levels}, but {family.name} does not know "
            "categories.",
            hint="lightgbm does; the other families get one-hot columns and target means.",
        )
    return found


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
