"""What the model uses, of rows that vary together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evidences import known_model
from modelwright.core.intake import Feeds
from modelwright.core.schema import Column, Schema
from modelwright.core.table import Table
from modelwright.release.importance import importance


def answer(feeds: Feeds) -> np.ndarray:
    """A model that uses noise beside what tells."""
    p = 1 / (1 + np.exp(-feeds["x"] - 0.6 * feeds["noise"]))
    return np.stack([1 - p, p], axis=1)


def test_rows_of_a_customer_make_importance_less_certain() -> None:
    """15 rows of each of 60 customers: taken for 900 rows, 77 % of intervals held the truth."""
    base, rng, found = known_model(40), np.random.default_rng(2), []
    schema = Schema((Column("x", "number"), Column("noise", "number")), base.schema.target)
    customer = np.repeat(np.arange(60), 15)
    for _ in range(120):
        x, noise, unknown = rng.normal(size=(3, 60))[:, customer]
        y = (rng.random(900) < 1 / (1 + np.exp(-x - 1.5 * unknown))) * 1
        table = Table({"x": x, "noise": noise}, y, groups=customer)
        answers = answer(table.feeds)
        made = replace(
            base, schema=schema, goal="log_loss", holdout=table, train=table, answers=answers,
            answer=answer, labels=answers.argmax(axis=1),
        )  # fmt: skip
        found += [one.loss for one in importance(made, 30.0)[0] if one.subject == "noise"]
    truth = np.mean([one.value for one in found])
    held = np.mean([one.low <= truth <= one.high for one in found])
    assert held > 0.9, held
