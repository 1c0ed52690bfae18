"""Accuracy without labels beside "nothing changed", and whether the back-test tells which to trust.

    .venv/bin/python benchmarks/watch/estimate.py [--stream elec2.csv.gz]

A model learns from 30 % of the rows, 20 % more are the reference, the rest comes as windows. Adult
sorted by working hours or education is a strong shift of the rows with the same answers; Adult as
it is has none; elec2 in its order of time (with `--stream`) is concept drift. Printed: range of the
accuracy, mean absolute error of the estimate and of the constant over the windows, their ratio, and
in how many windows the estimate was trusted by the eight labelled ones before.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from modelwright.watch.estimate import Labelled, back_test, calibrator, estimate_accuracy

EXAMPLES = Path(__file__).parents[2] / "examples"


def replay(name: str, x: pd.DataFrame, y: np.ndarray, order: np.ndarray, rows: int) -> None:
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    first, second = order[: int(0.3 * len(y))], order[int(0.3 * len(y)) : int(0.5 * len(y))]
    model.fit(x.iloc[first], y[first])
    scores = model.predict_proba(x)[:, 1]
    made = calibrator(scores[second], y[second])
    right = (scores > 0.5) == y
    constant, past, trusted, spent = float(right[second].mean()), [], 0, 0.0
    later = order[int(0.5 * len(y)) :]
    later = later if name.endswith("time") else _sorted(name, x, later)
    for start in range(0, len(later) - rows + 1, rows):
        part = later[start : start + rows]
        trusted += back_test(past).trusted
        begun = time.process_time()
        p = made.probabilities(scores[part])
        found = estimate_accuracy(p, (scores[part] > 0.5).astype(int))
        spent += time.process_time() - begun
        past.append(Labelled(found.value, constant, float(right[part].mean())))
    whole = back_test(past, last=len(past))
    real = [w.realised for w in past]
    print(
        f"{name:<28}{min(real):.3f}-{max(real):.3f}   estimate {whole.estimate:.4f}   constant "
        f"{whole.constant:.4f}   ratio {whole.estimate / whole.constant:.2f}   trusted in {trusted}"
        f" of {len(past)}   {1e6 * spent / len(later):.2f} us CPU a row",
        flush=True,
    )


def _sorted(name: str, x: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    for column in x.columns:
        if name.endswith(column):
            return rows[np.argsort(x[column].to_numpy()[rows], kind="stable")]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stream", type=Path)
    given = parser.parse_args()
    adult = pd.read_csv(EXAMPLES / "income" / "adult.csv.gz")
    y = (adult.iloc[:, -1].astype(str).str.contains(">50K")).to_numpy().astype(int)
    x = adult.iloc[:, :-1].select_dtypes("number")
    order = np.random.default_rng(0).permutation(len(y))
    replay("adult as it is", x, y, order, 1000)
    for column in x.columns:
        if "hours" in column or "education" in column:
            replay(f"adult by {column}", x, y, order, 1000)
    if given.stream:
        stream = pd.read_csv(given.stream)
        replay(
            "elec2 in order of time",
            stream.drop(columns="class"),
            (stream["class"] == "up").to_numpy().astype(int),
            np.arange(len(stream)),
            672,
        )


if __name__ == "__main__":
    main()
