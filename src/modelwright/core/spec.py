"""The one file, `modelwright.yaml`: its keys, their defaults, and what each does."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from modelwright.core.errors import did_you_mean
from modelwright.core.limits import AT_MOST_ONE, METRICS, QUALITY, Limit, parse_quantity
from modelwright.core.spec_data import DataSpec, ExpectSpec, Strict
from modelwright.core.spec_release import PRACTICES, ReleaseSpec
from modelwright.core.spec_serve import ServeSpec
from modelwright.core.spec_watch import WatchSpec

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(
            "wanted up to 64 letters, digits, dots, dashes or underscores, "
            "the first a letter or digit"
        )
    return text


def _budget(text: object) -> str:
    """Normalise '60s', '5 min' or '40 trials'; a bare number is refused."""
    if isinstance(text, str) and (match := re.match(r"^\s*(\d+)\s*trials?\s*$", text)):
        if int(match[1]) == 0:
            raise ValueError("a budget must be at least 1 trial")
        return f"{int(match[1])} trials"
    try:
        seconds, _ = parse_quantity(text, "seconds")
    except ValueError as error:
        raise ValueError(f"wanted a time such as '60s' or '40 trials', found {text!r}") from error
    if seconds <= 0:
        raise ValueError("a budget must be longer than 0 s")
    return f"{seconds:g}s"


def _level(given: object) -> object:
    """A share such as 0.9, or 90 %."""
    if given is None:
        return None
    text = str(given).strip()
    try:
        level = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        level = 0.0
    if isinstance(given, bool) or not 0.5 < level < 1:
        raise ValueError(f"wanted a share between 0.5 and 1, such as 0.9 or 90 %, found {given!r}")
    return level


class LimitSpec(Strict):
    """A limit spelled out; a bare quantity is short for at_least or at_most."""

    at_least: str | float | None = Field(None, description="The measured value may not be lower.")
    at_most: str | float | None = Field(None, description="The measured value may not be higher.")
    slices: dict[str, str | float] = Field(
        {}, description="column: bound that each of its levels must meet."
    )
    worse_than_champion: str | float | None = Field(
        None, description="The most that may be lost against the champion."
    )


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"wanted a quantity such as '10 ms', found {value!r}")
    return value


LimitValue = Annotated[str | float | LimitSpec, BeforeValidator(_no_boolean)]


class RangeSpec(Strict):
    """A hyperparameter's search range, both ends included."""

    low: float
    high: float
    log: bool = Field(False, description="Search its logarithm.")
    integer: bool = Field(False, description="Whole numbers only.")

    @model_validator(mode="after")
    def _ends_in_order(self) -> RangeSpec:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("wanted low below high, and low above 0 with log")
        return self


class FitSpec(Strict):
    """How to search."""

    families: list[str] = Field(
        ["linear", "lightgbm", "xgboost", "catboost", "extra_trees"],
        min_length=1,
        description="Short names, or 'package.module:Name' of your own. The baselines dummy and "
        "linear always run.",
    )
    budget: Annotated[str, BeforeValidator(_budget)] = Field(
        "60s",
        description="Time for reading, search, refit, measuring and report together, or "
        "'N trials'.",
    )
    folds: int | None = Field(
        None, ge=2, le=20, description="Cross-validation folds; default 5, 3 above 100,000 rows."
    )
    threads: int | None = Field(
        None, ge=1, le=512, description="Threads for training; default: the cores of this process."
    )
    patience: int = Field(
        50, ge=1, description="Early stopping: rounds without gain before a booster stops."
    )
    params: dict[str, dict[str, Any]] = Field(
        {}, description="family: parameters in the library's own terms, fixed for every trial."
    )
    space: dict[str, dict[str, RangeSpec]] = Field(
        {},
        description="family: parameter: the range to search, in place of or beside the family's.",
    )
    monotone: dict[str, Literal["increasing", "decreasing"]] = Field(
        {},
        description="number column: the answer may only rise, or only fall, with it. Families "
        "that cannot promise it are left out.",
    )
    blend: bool = Field(True, description="Whether the average of 2 to 5 models may be the result.")
    calibrate: bool = Field(
        True, description="Correct probabilities where that lowers log loss out of fold."
    )
    costs: dict[str, dict[str, float]] = Field(
        {}, description="actual class: predicted class: what such a row costs; sets the label."
    )
    interval: Annotated[float | None, BeforeValidator(_level)] = Field(
        None,
        gt=0.5,
        lt=1,
        description="Regression: give low and high that hold this share of "
        "true values, such as 0.9 or 90 %.",
    )
    interval_method: Literal["split_conformal", "out_of_fold"] | None = Field(
        None,
        description="split_conformal: the width comes from training rows that no model learns "
        "from, 1,000 or a fifth of them (default from 10,000 training rows on, but where "
        "data.split is by time); out_of_fold: from the errors of the folds, and models learn from "
        "all rows (default otherwise).",
    )


class PackSpec(Strict):
    """How the model is packed and measured."""

    measure: Literal["server", "process"] = Field(
        "server",
        description="server: latency, throughput and memory of the real HTTP server; process: "
        "only the model in process (limits on the server then stay undecided).",
    )
    seconds: float = Field(
        4.0, ge=0.2, le=600, description="How long to load the server while measuring, in seconds."
    )
    drop_at_most: float | None = Field(
        None,
        ge=0,
        description="Quality in the goal metric that a smaller model may cost: fewer rounds, fewer "
        "columns, one model that learned a blend, or a network's weights in float16 or int8.",
    )


class Spec(Strict):
    """modelwright.yaml: one model from its table to its service."""

    name: Annotated[str, AfterValidator(_name)] = Field(description="The model's name everywhere.")
    intent: str = Field("", description="What the model is for, in a sentence.")
    out_of_scope: str = Field("", description="What it must not be used for.")
    owner: str = Field("", description="Who answers for it.")
    ethics: str = Field("", description="Who could be harmed by it, and what was done about that.")
    license: str = Field("", description="Licence of the model, for its card.")
    practices: dict[str, str] = Field(
        {},
        description="test of the ML Test Score, such as D3: what is done about it by hand, and "
        "where that is written down.",
    )
    data: DataSpec
    expect: dict[str, ExpectSpec] = Field(
        {}, description="column: what its values must be, in training, scoring and serving."
    )
    goal: str | None = Field(
        None, description="Metric to improve: roc_auc, log_loss, rmse, ...; default by task."
    )
    limits: dict[str, LimitValue] = Field(
        {}, description="metric: quantity. Quality, latency_p95, throughput, memory, size."
    )
    fit: FitSpec = FitSpec()
    pack: PackSpec = PackSpec()
    release: ReleaseSpec = ReleaseSpec()
    serve: ServeSpec = ServeSpec()
    watch: WatchSpec = WatchSpec()

    @field_validator("goal")
    @classmethod
    def _goal_is_known(cls, goal: str | None, info: ValidationInfo) -> str | None:
        if goal is not None and goal not in QUALITY:
            raise ValueError(f"unknown metric {goal!r}; {_known(goal, QUALITY)}")
        if goal is not None and (problem := _of_another_task(goal, info)):
            raise ValueError(problem)
        return goal

    @field_validator("practices")
    @classmethod
    def _practices_are_known(cls, practices: dict[str, str]) -> dict[str, str]:
        for code, text in practices.items():
            if code not in PRACTICES:
                raise ValueError(f"unknown test {code!r}; {_known(code, set(PRACTICES))}")
            if not text.strip():
                raise ValueError(f"{code} says nothing; leave it out")
        return practices

    @field_validator("limits")
    @classmethod
    def _limits_make_sense(
        cls, limits: dict[str, LimitValue], info: ValidationInfo
    ) -> dict[str, LimitValue]:
        problems = []
        for name, value in limits.items():
            try:
                parse_limits({name: value})
            except ValueError as error:
                problems.append((name, str(error)))
            else:
                if problem := _of_another_task(name, info):
                    problems.append((name, problem))
        if problems:
            raise PydanticCustomError("limits", "limits do not make sense", {"problems": problems})
        return limits

    def parsed_limits(self) -> tuple[Limit, ...]:
        """Every limit in base units."""
        return parse_limits(self.limits)


def _of_another_task(name: str, info: ValidationInfo) -> str:
    """What is wrong with a metric under the task that the spec names, if it names one."""
    data = info.data.get("data")
    task = data.task if isinstance(data, DataSpec) else None
    if task is None or task in METRICS[name].tasks:
        return ""
    fitting = {m.name for m in METRICS.values() if task in m.tasks and m.name in QUALITY}
    return f"{name} is no metric of {task} models; known: {', '.join(sorted(fitting))}"


def _known(word: str, words: set[str]) -> str:
    return did_you_mean(word, words) or f"known: {', '.join(sorted(words))}"


def parse_limits(limits: dict[str, LimitValue]) -> tuple[Limit, ...]:
    """Turn the spec's `limits:` into records.

    Raises:
        ValueError: unknown metric, wrong unit, or a bound on the wrong side.

    Example:
        >>> [str(limit) for limit in parse_limits({"latency_p95": "10 ms", "accuracy": "90 %"})]
        ['latency_p95 <= 10 ms', 'accuracy >= 0.9000']
    """
    found: list[Limit] = []
    for name, value in limits.items():
        if name not in METRICS:
            raise ValueError(f"limits: unknown metric {name!r}; {_known(name, set(METRICS))}")
        if isinstance(value, LimitSpec):
            found += _spelled_out(name, value)
        else:
            found.append(_limit(name, value))
    return tuple(found)


def _limit(name: str, value: object, *, column: str | None = None) -> Limit:
    metric = METRICS[name]
    try:
        bound, direction = parse_quantity(value, metric.unit)
    except ValueError as error:
        raise ValueError(f"limits.{name}: {error}") from error
    if direction not in (None, metric.direction):
        sign = ">=" if metric.direction == "at_least" else "<="
        bare = str(value).lstrip("<>=≤≥ ")
        raise ValueError(f"limits.{name}: {metric.better} is better, so write '{sign} {bare}'")
    if name in AT_MOST_ONE and bound > 1:
        raise ValueError(f"limits.{name}: {value!r} is over 1; did you mean '{bound:g} %'?")
    return Limit(name, metric.direction, bound, column)


def _spelled_out(name: str, value: LimitSpec) -> list[Limit]:
    metric, found = METRICS[name], []
    wrong = "at_most" if metric.direction == "at_least" else "at_least"
    if getattr(value, wrong) is not None:
        raise ValueError(
            f"limits.{name}.{wrong}: {metric.better} is better, so use {metric.direction}"
        )
    if (bound := getattr(value, metric.direction)) is not None:
        found.append(_limit(name, bound))
    if (value.slices or value.worse_than_champion is not None) and name not in QUALITY:
        raise ValueError(f"limits.{name}: slices and worse_than_champion are for quality metrics")
    found += [_limit(name, bound, column=column) for column, bound in value.slices.items()]
    if value.worse_than_champion is not None:
        try:
            margin, _ = parse_quantity(value.worse_than_champion, metric.unit)
        except ValueError as error:
            raise ValueError(f"limits.{name}.worse_than_champion: {error}") from error
        found.append(Limit(name, metric.direction, margin, relative=True))
    if not found:
        raise ValueError(f"limits.{name}: give {metric.direction}, slices or worse_than_champion")
    return found
