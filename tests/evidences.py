"""Evidence made on the spot: a holdout and a model whose strengths and faults are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from modelwright.core.intake import Feeds
from modelwright.core.records import Interval, Measured, Parity
from modelwright.core.schema import Column, Schema, Target
from modelwright.core.spec_release import ReleaseSpec
from modelwright.core.table import Table
from modelwright.release.evidence import Evidence

SCHEMA = Schema(
    (Column("sex", "category", levels=("f", "m")), Column("age", "number")),
    Target("y", "binary", "string", ("no", "yes")),
)


def evidence(rows: int = 2000, accuracy: float = 0.8, **changes: object) -> Evidence:
    """A holdout on which the model is right at exactly this rate, evenly over both slices."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    right = rng.permutation(np.arange(rows) < round(accuracy * rows))
    said = np.where(right, y, 1 - y)
    answers = np.stack([1 - said, said], axis=1) * 0.8 + 0.1
    shares = np.tile([1 - y.mean(), y.mean()], (rows, 1))
    flat = Interval(0.005, 0.004, 0.006)
    holdout = Table({"sex": np.array(["f", "m"] * (rows // 2), dtype=object)}, y)
    base = Evidence(
        schema=SCHEMA,
        goal="accuracy",
        limits=(),
        policy=ReleaseSpec(),
        holdout=holdout,
        train=holdout,
        answers=answers,
        answer=lambda feeds: answers[: len(feeds["sex"])],
        baselines={"dummy": shares},
        champion=None,
        champion_version="",
        champion_problem="",
        parity=Parity(rows, 10, 0.0, 0, 1e-6),
        measured=Measured("here", 1e-5, 1000, 0.1, flat, flat, flat, Interval(500, 400, 600)),
        seed=0,
    )
    return replace(base, **changes)


COLUMNS = (
    Column("age", "number", minimum=0, maximum=100),
    Column("income", "number", minimum=0, maximum=1e5),
    Column("pay", "number", minimum=0, maximum=1e5),
    Column("city", "category", levels=("rome", "oslo", "lima")),
    Column("sex", "category", levels=("f", "m"), protected=True),
    Column("name", "category", levels=("ann", "bob"), private=True),
    Column("noise", "number"),
)
LOGISTIC = Schema(COLUMNS, Target("y", "binary", "string", ("no", "yes")))
LINEAR = Schema(COLUMNS, Target("y", "regression", minimum=-10, maximum=10))


def rows_of(count: int, seed: int) -> Feeds:
    """Columns of `LOGISTIC`: pay goes with income, noise means nothing."""
    rng = np.random.default_rng(seed)
    income = rng.gamma(4, 1e4, count)
    return {
        "age": rng.uniform(18, 80, count),
        "income": income,
        "pay": income * rng.uniform(0.95, 1.05, count),
        "city": rng.choice(np.array(["rome", "oslo", "lima"], dtype=object), count),
        "sex": rng.choice(np.array(["f", "m"], dtype=object), count),
        "name": rng.choice(np.array(["ann", "bob"], dtype=object), count),
        "noise": rng.normal(size=count),
    }


def logit(feeds: Feeds) -> np.ndarray:
    """What the model of `known_model` computes: age and half of income and of pay."""
    money = np.clip(np.nan_to_num(feeds["income"]), 0, 1e5) + np.clip(
        np.nan_to_num(feeds["pay"]), 0, 1e5
    )
    age = np.clip(np.nan_to_num(feeds["age"], nan=49.0), 0, 120)
    return (age - 49) / 12 + (money - 8e4) / 5e4


def known_model(rows: int = 3000, seed: int = 0, **changes: object) -> Evidence:
    """A calibrated model: the truth is drawn with its own probabilities, but for those of Lima,
    where it is a coin toss."""
    rng = np.random.default_rng(seed)

    def answer(feeds: Feeds) -> np.ndarray:
        p = 1 / (1 + np.exp(-logit(feeds)))
        return np.stack([1 - p, p], axis=1)

    def table(count: int, number: int) -> Table:
        feeds = rows_of(count, number)
        p = np.where(feeds["city"] == "lima", 0.5, answer(feeds)[:, 1])
        return Table(feeds, (rng.random(count) < p).astype(np.int64))

    holdout = table(rows, seed + 1)
    answers = answer(holdout.feeds)
    base = replace(
        evidence(),
        schema=LOGISTIC, goal="roc_auc", holdout=holdout, train=table(2000, seed + 2),
        answers=answers, answer=answer, labels=(answers[:, 1] > 0.5).astype(np.int64),
        baselines={},
    )  # fmt: skip
    return replace(base, **changes)


def known_regression(rows: int = 3000, seed: int = 0, **changes: object) -> Evidence:
    """The same for a number; errors are three times as large over 60."""
    rng = np.random.default_rng(seed)

    def table(count: int, number: int) -> Table:
        feeds = rows_of(count, number)
        spread = np.where(feeds["age"] > 60, 3.0, 1.0)
        return Table(feeds, logit(feeds) + rng.normal(size=count) * spread)

    holdout = table(rows, seed + 1)
    base = replace(
        evidence(),
        schema=LINEAR, goal="rmse", holdout=holdout, train=table(2000, seed + 2),
        answers=logit(holdout.feeds), answer=logit, labels=None, baselines={},
    )  # fmt: skip
    return replace(base, **changes)
