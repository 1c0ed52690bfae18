"""Quiet windows, found changes, and CPU of one window, on two real tables.

    .venv/bin/python benchmarks/watch/drift.py [--windows 200] [--rows 10000] [--stream FILE]

The tables are those of the examples (Adult: 14 columns; wildlife strikes: 14 columns, 10 of them
categories, some with hundreds of levels). 20 references of 20,000 rows drawn with replacement;
windows are drawn from the same rows. Beside ours, on the same windows: p < .05 a column
(Kolmogorov-Smirnov and chi-square on the same counts), the usual default. With `--stream` a table
in its own order of time, elec2, is gone over as well: how many weeks alarm with and without
stretches of the reference, and how many episodes they make.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from counting import Counter, arrow

from modelwright.watch import distances
from modelwright.watch.counted import Frame, Reference
from modelwright.watch.drift import Policy, judge
from modelwright.watch.episodes import Watched, Window, causes_of, step
from modelwright.watch.reference import frame_of

EXAMPLES = Path(__file__).parents[2] / "examples"
ROWS = 20_000
Change = Callable[[pd.DataFrame, np.random.Generator], None]
COLUMNS = {
    "adult": ("age", "hours_per_week", "occupation"),
    "wildlife": ("speed", "ac_mass", "sky"),
}
REFERENCES = 20  # false alarms clump: one unlucky reference has them all


def tables() -> dict[str, pd.DataFrame]:
    adult = pd.read_csv(EXAMPLES / "income" / "adult.csv.gz").iloc[:, :-1]
    strikes = pd.read_csv(EXAMPLES / "wildlife" / "wildlife_strikes.csv.gz", keep_default_na=False,
                          na_values=[""])  # fmt: skip
    strikes = strikes.drop(columns=[c for c in ("remarks", "date", "phase_of_flt") if c in strikes])
    return {"adult": adult, "wildlife": strikes}


def usual(window: Frame, reference: Reference) -> bool:
    """Whether any column has p < .05."""
    whole = reference.whole
    for name, kind in reference.kinds.items():
        test = distances.numbers if kind == "number" else distances.categories
        if test(window.columns[name].bins, whole.columns[name].bins)[1] < 0.05:
            return True
    return False


def quiet(name: str, pool: pd.DataFrame, many: int, sizes: list[int]) -> None:
    print(f"-- {name}: no drift, {pool.shape[1]} columns; windows flagged: ours, p < .05 a column")
    counters = []
    for number in range(REFERENCES):
        rng = np.random.default_rng([1, number])
        counters.append(Counter(pool.iloc[rng.integers(0, len(pool), ROWS)]))
    for rows in sizes:
        tried = max(20, many if rows <= 10_000 else many // 5)
        ours, theirs, spent = 0, 0, []
        who: dict[str, int] = {}
        for number in range(tried):
            rng = np.random.default_rng([2, rows, number])
            counter = counters[number % REFERENCES]
            window = counter.count(pool.iloc[rng.integers(0, len(pool), rows)])
            begun = time.process_time()
            found = judge(window, counter.reference, Policy(rows=1))
            spent.append(time.process_time() - begun)
            ours += bool(found.alarms)
            for f in found.alarms:
                who[f"{f.check} {f.subject}"] = who.get(f"{f.check} {f.subject}", 0) + 1
            theirs += usual(window, counter.reference)
        shares = f"{100 * ours / tried:.2f} %, {100 * theirs / tried:.0f} %"
        cost = f"{1e3 * np.median(spent):.0f} ms CPU to judge"
        print(f"{rows:>8} rows, {tried} windows: {shares}; {cost} {who or ''}", flush=True)


def changes(number: str, other: str, category: str) -> dict[str, tuple[int, str, Change]]:
    """What is done to a window: rows, the column that should alarm, and how."""

    def missing(table: pd.DataFrame, rng: np.random.Generator) -> None:
        table.loc[rng.random(len(table)) < 0.05, other] = np.nan

    def unit(table: pd.DataFrame, rng: np.random.Generator) -> None:
        table[other] = table[other].where(rng.random(len(table)) >= 0.01, table[other] * 1000)

    def shift(table: pd.DataFrame, rng: np.random.Generator) -> None:
        table[number] = table[number] + np.floor(0.3 * table[number].std() + rng.random(len(table)))

    def share(table: pd.DataFrame, rng: np.random.Generator) -> None:
        table.loc[rng.random(len(table)) < 0.15, category] = table[category].value_counts().index[1]

    def rotation(table: pd.DataFrame, rng: np.random.Generator) -> None:
        at = np.flatnonzero(rng.random(len(table)) < 0.3)
        table.loc[at, number] = table[number].to_numpy()[rng.permutation(at)]

    return {
        f"missing +5 % {other}": (1000, other, missing),
        f"unit x1000 in 1 % {other}": (1000, other, unit),
        f"+.3 sd {number}": (1000, number, shift),
        f"+15 % of a level {category}": (1000, category, share),
        f"30 % rotation {number}": (10_000, "", rotation),
    }


def found(name: str, pool: pd.DataFrame, columns: tuple[str, str, str]) -> None:
    counters = []
    for number in range(5):
        rng = np.random.default_rng([1, number])
        counters.append(Counter(pool.iloc[rng.integers(0, len(pool), ROWS)]))
    for place, (what, (rows, column, change)) in enumerate(changes(*columns).items()):
        hits = theirs = 0
        for number in range(40):
            rng = np.random.default_rng([4, place, number])
            table = pool.iloc[rng.integers(0, len(pool), rows)].reset_index(drop=True)
            change(table, rng)
            counter = counters[number % 5]
            window = counter.count(table)
            drift = judge(window, counter.reference)
            hits += column in drift.columns if column else bool(drift.alarms)
            theirs += usual(window, counter.reference)
        print(f"   {name}, {what}, {rows} rows: ours {hits} of 40; p < .05 in any column {theirs}",
              flush=True)  # fmt: skip


def cost(pool: pd.DataFrame) -> None:
    """One window of 100,000 rows in ten files of the journal, a score beside the columns."""
    rng = np.random.default_rng(3)
    pool = pool.assign(score=pool.rank(numeric_only=True).mean(axis=1) / len(pool))
    counter = Counter(pool.iloc[rng.integers(0, len(pool), ROWS)], "score")
    files = [
        arrow(
            pool.iloc[rng.integers(0, len(pool), 10_000)], 6 * n + np.arange(10_000) * 6 // 10_000
        )
        for n in range(10)
    ]
    spent = {"counted": [], "added up": [], "judged": [], "together": []}
    for _ in range(5):
        at = [time.process_time()]
        minutes = [one for file in files for one in counter.plan.count(file).values()]
        at.append(time.process_time())
        frame = frame_of(sum(minutes, counter.plan.empty()))
        at.append(time.process_time())
        judge(frame, counter.reference)
        at.append(time.process_time())
        for name, seconds in zip(spent, [*np.diff(at), at[-1] - at[0]], strict=True):
            spent[name].append(seconds)
    shown = ", ".join(f"{name} {np.median(some):.3f}" for name, some in spent.items())
    print(f"-- 100,000 rows x {pool.shape[1]} columns of 60 minutes, CPU seconds: {shown}")


def stream(path: Path) -> None:
    table = pd.read_csv(path)
    table = table.drop(columns=[c for c in ("class", "date", "day", "target") if c in table])
    start = int(0.35 * len(table))
    counter = Counter(table.iloc[int(0.2 * len(table)) : start], block=336)
    flat = Reference(counter.reference.kinds, (counter.reference.whole,), counter.reference.spread)
    for what, reference in (("with stretches", counter.reference), ("without", flat)):
        watched, alarmed, pages, weeks = Watched("elec2"), 0, 0, 0
        for begin in range(start, len(table) - 335, 336):
            drift = judge(counter.count(table.iloc[begin : begin + 336]), reference, Policy(rows=1))
            bad = causes_of({"drift": list(drift.findings)})
            week = Window(f"{begin:08d}", frozenset({"drift"}), bad)
            watched, events = step(watched, week)
            pages += sum(event.what == "opened" for event in events)
            alarmed, weeks = alarmed + bool(drift.alarms), weeks + 1
        print(f"-- elec2 by week, {what}: {alarmed} of {weeks} weeks alarm, {pages} pages")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=200)
    parser.add_argument("--table", default="")
    parser.add_argument("--rows", type=int, nargs="*", default=[200, 1000, 10_000, 100_000])
    parser.add_argument("--stream", type=Path)
    given = parser.parse_args()
    pools = tables()
    cost(pools["adult"])
    pools = {name: pool for name, pool in pools.items() if given.table in name}
    for name, pool in pools.items():
        found(name, pool, COLUMNS[name])
    if given.stream:
        stream(given.stream)
    for name, pool in pools.items():
        quiet(name, pool, given.windows, given.rows)


if __name__ == "__main__":
    main()
