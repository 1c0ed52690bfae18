"""The contract at each look: what it is, how seldom it alarms falsely, how soon it alarms."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from modelwright.core.schema import Column, Expect, Schema
from modelwright.watch.contract import broken, evidence_of, promises
from modelwright.watch.counted import Reference
from modelwright.watch.drift import ColumnPolicy, Policy
from modelwright.watch.reference import frame_of
from modelwright.watch.summaries import Plan, Summary
from watch import counted

POLICY = Policy()


def clean(rows: int, seed: int = 0) -> pa.Table:
    """Answers of three minutes that keep the contract of `counted.manifest`."""
    table = counted.table(rows, seed)
    rng = np.random.default_rng(seed)
    columns = {
        "f_age": pa.array(rng.uniform(1, 63, rows)),
        "f_member": pa.array(rng.random(rows) < 0.3),
        "f_colour": pa.array(rng.choice(counted.LEVELS, rows)).dictionary_encode(),
    }
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return table


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan.of(counted.manifest())


@pytest.fixture(scope="module")
def reference(plan: Plan) -> Reference:
    blocks = tuple(frame_of(one) for one in plan.count(clean(20_000, seed=1)).values())
    kinds = {b.name: "number" if b.kind == "number" else "category" for b in plan.bins}
    return Reference(kinds, blocks)


def schema(**expect: Expect) -> Schema:
    made = counted.manifest().schema
    columns = tuple(msgspec.structs.replace(c, expect=expect.get(c.name)) for c in made.columns)
    return Schema(columns, made.target)


def checks(found: Schema, reference: Reference, policy: Policy = POLICY) -> dict[str, set[str]]:
    """Column -> what is asked of it."""
    asked: dict[str, set[str]] = {}
    for one in promises(found, reference, policy, 1000):
        asked.setdefault(one.name, set()).add(one.check)
    return asked


def test_what_training_showed_is_the_contract(reference: Reference) -> None:
    assert checks(schema(), reference) == {
        "f_age": {"missing value", "out of range", "far-out value"},
        "f_member": {"missing value"},
        "f_start": {"missing value"},
        "f_colour": {"missing value", "unseen category"},
    }


def test_what_is_declared_takes_its_place(reference: Reference) -> None:
    declared = schema(
        age=Expect(minimum=0.0), colour=Expect(levels=("l1",)), member=Expect(max_missing=0.25)
    )
    asked = checks(declared, reference)
    assert asked["f_age"] == {"missing value"}, "values beyond it are refused; the rest is right"
    assert asked["f_colour"] == {"missing value"}
    allowed = {one.name: one.allowed for one in promises(declared, reference, POLICY, 1000)}
    assert allowed["f_member"] == 0.25


def test_gaps_of_training_and_ignored_columns_are_no_promise(reference: Reference) -> None:
    made = schema()
    gaps = tuple(msgspec.structs.replace(c, nullable=c.name == "age") for c in made.columns)
    policy = Policy(columns={"f_colour": ColumnPolicy(ignore=True)})
    asked = checks(Schema(gaps, made.target), reference, policy)
    assert "missing value" not in asked["f_age"] and "f_colour" not in asked


def test_a_small_training_set_promises_less(plan: Plan) -> None:
    blocks = tuple(frame_of(one) for one in plan.count(clean(300, seed=2)).values())
    kinds = {b.name: "number" if b.kind == "number" else "category" for b in plan.bins}
    few = promises(schema(), Reference(kinds, blocks), POLICY, 1000)
    unseen = next(one for one in few if one.check == "unseen category")
    assert 0.02 < unseen.allowed < 0.03, "300 rows without one leave so much open at .1 %"


def minutes_of(plan: Plan, table: pa.Table) -> dict[int, Summary]:
    return plan.count(table)


def replaced(table: pa.Table, name: str, many: int, value: object) -> pa.Table:
    """The first rows of a column with another value."""
    values = table[name].to_pylist()
    values[:many] = [value] * many
    made = pa.array(values, pa.string() if isinstance(value, str) else None)
    return table.set_column(table.column_names.index(name), name, made)


@pytest.mark.parametrize(
    ("column", "value", "check"),
    [
        ("f_age", 80.0, "out of range"),
        ("f_age", 8000.0, "far-out value"),
        ("f_age", None, "missing value"),
        ("f_member", None, "missing value"),
        ("f_colour", "mauve", "unseen category"),
    ],
)
def test_each_way_to_break_it_is_found(
    plan: Plan, reference: Reference, column: str, value: object, check: str
) -> None:
    promised = promises(schema(), reference, POLICY, 600)
    usual = clean(600, seed=3)
    assert broken(minutes_of(plan, usual), promised, POLICY.q) == ()
    found = broken(minutes_of(plan, replaced(usual, column, 60, value)), promised, POLICY.q)
    assert (found[0].subject, found[0].check) == (column, check)
    assert found[0].verdict == "fail" and found[0].interval is not None
    two = broken(minutes_of(plan, replaced(usual, column, 2, value)), promised, POLICY.q)
    assert two == (), "one odd row, or two, say nothing"


def test_looked_at_every_minute_it_is_seldom_wrong() -> None:
    """Just at the bound, which is the worst that keeps it."""
    rng, q, alarmed = np.random.default_rng(4), 0.05, 0
    for _ in range(400):
        rows = rng.integers(1, 400, 60)
        odd = rng.binomial(rows, 0.01)
        alarmed += any(
            evidence_of(odd[:end], rows[:end], 0.01)[0] >= -math.log(q) for end in range(1, 61)
        )
    assert alarmed <= 20


def test_a_good_morning_is_no_excuse() -> None:
    """Ten hours without fault, then 5 % of the rows: told within three minutes."""
    rng = np.random.default_rng(5)
    rows = np.full(603, 200)
    odd = np.concatenate([np.zeros(600, int), rng.binomial(200, 0.05, 3)])
    evidence, since = evidence_of(odd, rows, 0.001)
    assert evidence >= math.log(100 / 0.001) and since == 600
    whole = odd.sum() * 3.5 - rows.sum() * 0.001 * math.exp(3.5)
    assert whole < 0, "all of it together would say nothing"


def test_a_column_that_lacks_the_schema_is_nothing(reference: Reference) -> None:
    made = schema()
    more = Schema((*made.columns, Column("other", "number")), made.target)
    assert checks(more, reference) == checks(made, reference)
