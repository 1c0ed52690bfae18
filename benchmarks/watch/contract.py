"""The contract at each look, on two real tables: false alarms, minutes until a fault is shown and
until it pages.

    .venv/bin/python benchmarks/watch/contract.py [--windows 200]

The tables of drift.py; 20 references of 20,000 rows. A window is an hour of 1,000 or 10,000 rows,
looked at after each of its 60 minutes. Faults begin in its middle. A promise is what training
showed: nothing is declared. Shown by rows, it pages once requests are sure too; requests of one row
and of ten neighbouring rows are tried.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pyarrow as pa
from counting import Counter, arrow
from drift import REFERENCES, ROWS, Change, tables

from modelwright.core.schema import Column, Schema, Target
from modelwright.core.spec_watch import DriftSpec
from modelwright.serve.journal_segment import FEATURE
from modelwright.watch.by_request import spread_of
from modelwright.watch.contract import Promise, broken, promise_of, promises
from modelwright.watch.drift import Policy

MINUTES, BEGINS = 60, 30
FEEDS = 40
"""Windows with each fault."""
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
    counter: Counter, promised: list[Promise], table: pd.DataFrame, batch: int = 1
) -> tuple[int, int, set[str]]:
    """(minute of the first look that shows anything, of the first that pages; 0 for none; what is
    shown)."""
    minute = np.arange(len(table)) * MINUTES // len(table)
    features = arrow(table.add_prefix(FEATURE), minute)
    minutes = counter.plan.count(features)
    request = pa.array([f"{n // batch}" for n in range(len(table))])
    journal = features.append_column("request_id", request)
    shown, names = 0, set[str]()
    for end in range(1, MINUTES + 1):
        some = {begin: one for begin, one in minutes.items() if begin < 60 * end}
        found = broken(some, promised, Policy().q)
        if found and not shown:
            shown, names = end, {f"{f.check} {f.subject}" for f in found}
        past = journal.slice(0, int(np.searchsorted(minute, end)))
        for one in found:
            promise = promise_of(one, promised, counter.reference, Policy())
            spread = spread_of(past, counter.plan, promise, 60)
            if spread.is_sure(DriftSpec().requests, len(promised), Policy().q):
                return shown, end, names
    return shown, 0, names


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
            told, paged, who = 0, 0, set[str]()
            for number in range(given.windows):
                rng = np.random.default_rng([2, rows, number])
                window = pool.iloc[rng.integers(0, len(pool), rows)]
                minute, page, what = first_told(*pairs[number % REFERENCES], window)
                told, paged, who = told + bool(minute), paged + bool(page), who | what
            print(f"{name}, {rows} rows: of {given.windows} quiet windows {told} shown, {paged} "
                  f"paged {who or ''}", flush=True)  # fmt: skip
            for place, (fault, change) in enumerate(faults(*FAULTS[name]).items()):
                for batch in (1, 10):
                    both = delays(pool, pairs, rows, place, change, batch)
                    what = ", ".join(
                        f"{name} {(late < np.inf).sum()} of {FEEDS}, minute {np.median(late):.0f}"
                        for name, late in zip(("shown", "paged"), both, strict=True)
                    )
                    print(f"   {fault}, {batch} rows a request: {what}", flush=True)


def delays(
    pool: pd.DataFrame, pairs: list[tuple[Counter, list[Promise]]], rows: int, place: int,
    change: Change, batch: int,
) -> np.ndarray:  # fmt: skip
    """Minutes from the fault until it is shown, and until it pages; (2, FEEDS)."""
    found = []
    for number in range(FEEDS):
        rng = np.random.default_rng([4, place, number])
        whole = pool.iloc[rng.integers(0, len(pool), rows)].reset_index(drop=True)
        late = whole.iloc[rows * BEGINS // MINUTES :].copy()
        change(late, rng)
        table = pd.concat([whole.iloc[: rows * BEGINS // MINUTES], late])
        minutes = first_told(*pairs[number % REFERENCES], table, batch)[:2]
        found.append([minute - BEGINS if minute else np.inf for minute in minutes])
    return np.array(found).T


if __name__ == "__main__":
    main()
