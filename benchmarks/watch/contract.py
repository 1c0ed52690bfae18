"""The contract at each look: false alarms, and minutes until a fault is told, on two real tables.

    .venv/bin/python benchmarks/watch/contract.py [--windows 200]

The tables of drift.py; 20 references of 20,000 rows. A window is an hour of 1,000 or 10,000 rows,
looked at after each of its 60 minutes. Faults begin in its middle. A promise is what training
showed: nothing is declared.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from counting import Counter, arrow
from drift import REFERENCES, ROWS, Change, tables

from modelwright.core.schema import Column, Schema, Target
from modelwright.serve.journal_segment import FEATURE
from modelwright.watch.contract import Promise, broken, promises
from modelwright.watch.drift import Policy

MINUTES, BEGINS = 60, 30
FAULTS = {
    "adult": ("hours_per_week", "occupation"),
    "wildlife": ("ac_mass", "sky"),
}


def schema_of(table: pd.DataFrame) -> Schema:
    """What training showed of a table."""
    columns = [
        Column(name, "number" if pd.api.types.is_numeric_dtype(values) else "category",
               nullable=bool(values.isna().any()))
        for name, values in table.items()
    ]  # fmt: skip
    return Schema(tuple(columns), Target("y", "binary"))


def prepared(pool: pd.DataFrame, rows: int) -> list[tuple[Counter, list[Promise]]]:
    """References, each with its promises."""
    found = []
    for number in range(REFERENCES):
        rng = np.random.default_rng([1, number])
        table = pool.iloc[rng.integers(0, len(pool), ROWS)]
        counter = Counter(table.add_prefix(FEATURE))
        found.append((counter, promises(schema_of(table), counter.reference, Policy(), rows)))
    return found


def first_told(
    counter: Counter, promised: list[Promise], table: pd.DataFrame
) -> tuple[int, set[str]]:
    """(minute of the first look that tells of anything, 0 for none; what it tells of)."""
    minute = np.arange(len(table)) * MINUTES // len(table)
    minutes = counter.plan.count(arrow(table.add_prefix(FEATURE), minute))
    for end in range(1, MINUTES + 1):
        some = {begin: one for begin, one in minutes.items() if begin < 60 * end}
        if found := broken(some, promised, Policy().q):
            return end, {f"{f.check} {f.subject}" for f in found}
    return 0, set()


def faults(number: str, category: str) -> dict[str, Change]:
    """What is done to the second half of a window."""

    def missing(table: pd.DataFrame, rng: np.random.Generator) -> None:
        table.loc[rng.random(len(table)) < 0.05, number] = np.nan

    def unit(table: pd.DataFrame, rng: np.random.Generator) -> None:
        table[number] = table[number].where(rng.random(len(table)) >= 0.01, table[number] * 1000)

    def unseen(table: pd.DataFrame, rng: np.random.Generator) -> None:
        table.loc[rng.random(len(table)) < 0.05, category] = "never seen"

    return {"5 % missing": missing, "unit x1000 in 1 %": unit, "5 % unseen": unseen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=200)
    given = parser.parse_args()
    for name, pool in tables().items():
        for rows in (1000, 10_000):
            pairs = prepared(pool, rows)
            told, who = 0, set[str]()
            for number in range(given.windows):
                rng = np.random.default_rng([2, rows, number])
                window = pool.iloc[rng.integers(0, len(pool), rows)]
                minute, what = first_told(*pairs[number % REFERENCES], window)
                told, who = told + bool(minute), who | what
            print(f"{name}, {rows} rows: {told} of {given.windows} quiet windows told {who or ''}",
                  flush=True)  # fmt: skip
            for place, (fault, change) in enumerate(faults(*FAULTS[name]).items()):
                delays = []
                for number in range(40):
                    rng = np.random.default_rng([4, place, number])
                    whole = pool.iloc[rng.integers(0, len(pool), rows)].reset_index(drop=True)
                    late = whole.iloc[rows * BEGINS // MINUTES :].copy()
                    change(late, rng)
                    table = pd.concat([whole.iloc[: rows * BEGINS // MINUTES], late])
                    minute, _ = first_told(*pairs[number % REFERENCES], table)
                    delays.append(minute - BEGINS if minute else np.inf)
                within = sum(d < np.inf for d in delays)
                print(f"   {fault}: {within} of 40 in the window, median minute "
                      f"{np.median(delays):.0f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
