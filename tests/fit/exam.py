"""The exam that every family sits, the built-in ones and yours.

`sit(family)` trains on tables with gaps, odd numbers and categories, for each task, and demands
that the packed graph answers exactly as the library does.
"""

from __future__ import annotations

import numpy as np

from modelwright.core.schema import Column, Schema, Target
from modelwright.core.table import Table
from modelwright.data.kinds import describe
from modelwright.fit.family import Family, FitJob
from modelwright.fit.features import fit_encoder
from modelwright.fit.pipeline import Member, Pipeline

TASKS = ("binary", "multiclass", "absent classes", "two of three", "regression")
"""absent classes, two of three: of several classes the training rows lack some, as a class of one
row is lacking that the holdout has, or one that began after the training rows."""


def table_for(task: str, rows: int = 400, seed: int = 0) -> tuple[Schema, Table]:
    """A table with every feature kind and gaps in each."""
    rng = np.random.default_rng(seed)
    number = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(0, 1, rows))
    text = rng.choice(["a", "b", "c", "", "long tail"], rows).astype(object)
    flag = rng.choice([0.0, 1.0, np.nan], rows)
    when = rng.integers(0, 10**15, rows)
    tags = rng.choice(["", "x", "y", "x|y", "y|a.b", "a.b|x|y"], rows).astype(object)
    score = np.nan_to_num(number) + (text == "a") + np.nan_to_num(flag) + rng.normal(0, 0.5, rows)
    levels: tuple[str, ...] = ()
    target = score
    if task == "binary":
        levels, target = ("no", "yes"), (score > 1).astype(np.int64)
    if task == "multiclass":
        levels, target = ("p", "q", "r"), np.digitize(score, [0.0, 1.0])
    if task == "absent classes":
        levels, target = ("m", "p", "q", "r", "s"), 1 + np.digitize(score, [0.0, 1.0])
    if task == "two of three":
        levels, target = ("p", "q", "r"), 2 * (score > 1).astype(np.int64)
    feeds = {"number": number, "integer": rng.integers(0, 9, rows) * 1.0, "text": text,
             "flag": flag, "when": when, "tags": tags}  # fmt: skip
    kinds = ("number", "number", "category", "boolean", "datetime", "list")
    columns = [
        describe(Column(name, kind), values)
        for (name, values), kind in zip(feeds.items(), kinds, strict=True)
    ]
    label = "string" if levels else "number"
    learned = task if task in ("binary", "regression") else "multiclass"
    schema = Schema(tuple(columns), Target("y", learned, label, levels))
    return schema, Table(feeds, target)


def train(family: Family, task: str, seed: int = 0) -> tuple[Pipeline, Table]:
    """The family trained on that table, with early stopping on a fifth of it."""
    schema, table = table_for(task)
    encoder, x = fit_encoder(schema, table, family.encoding, seed)
    job = FitJob(
        x=x[80:], y=table.target[80:], x_valid=x[:80], y_valid=table.target[:80],
        task=schema.target.task, classes=max(1, len(schema.target.levels)),
        params=dict(family.defaults), seed=seed, threads=1,
    )  # fmt: skip
    return Pipeline(schema, (Member(family.name, encoder, family.fit(job)),)), table


def sit(family: Family, task: str) -> None:
    """Answers have the right form, are repeatable, and learn something the dummy does not."""
    one, table = train(family, task)
    two, _ = train(family, task)
    answers = one.answer(table.feeds)
    np.testing.assert_array_equal(answers, two.answer(table.feeds))
    assert np.isfinite(answers).all()
    if task == "regression":
        assert answers.shape == (table.rows,)
        return
    assert answers.shape == (table.rows, len(one.schema.target.levels))
    np.testing.assert_allclose(answers.sum(axis=1), 1.0, atol=1e-9)
