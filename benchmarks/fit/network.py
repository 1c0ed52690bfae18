"""Whether a small neural network would pay as a family: alone, and in a blend.

    .venv/bin/python benchmarks/fit/network.py [NAME ...]

For each example table: two folds of the training rows, scikit-learn's MLPClassifier or MLPRegressor
(two hidden layers, early stopping, standardised and one-hot columns as the linear family has them),
LightGBM and the linear family with their defaults, and the best averages of them without and with
the network in steps of a tenth, which are flattered by being chosen on the same rows. Printed are
scores and seconds.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from modelwright.core.goals import goal_of
from modelwright.core.spec_file import read_spec
from modelwright.data.dataset import load
from modelwright.fit.family import FitJob, family_of
from modelwright.fit.folds import Folds
from modelwright.fit.score import gain, score

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDS, CUT = 2, 5
SIZES = (64, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    known = sorted(path.parent.name for path in EXAMPLES.glob("*/modelwright.yaml"))
    for name in parser.parse_args().names or known:
        print(compared(name), flush=True)


def compared(name: str) -> str:
    """A line a table."""
    spec = read_spec(EXAMPLES / name / "modelwright.yaml")
    dataset = load(spec, thorough=False)
    target = dataset.schema.target
    goal, classes = goal_of(spec.spec, target), len(target.levels)
    folds, trees, plain = Folds(dataset, CUT), family_of("lightgbm"), family_of("linear")
    found: dict[str, list[float]] = {}
    spent = {"network": 0.0, "lightgbm": 0.0, "linear": 0.0}
    for number in range(min(FOLDS, folds.count)):
        answers = {}
        for name_of, family in (("lightgbm", trees), ("linear", plain)):
            fold = folds.get(number, family.encoding)
            started = time.perf_counter()
            job = FitJob(fold.x, fold.y, target.task, max(1, classes), dict(family.defaults),
                         seed=0, threads=2, x_valid=fold.x_valid, y_valid=fold.y_valid)  # fmt: skip
            answers[name_of] = family.fit(job).answer(fold.x_valid)
            spent[name_of] += time.perf_counter() - started
        started = time.perf_counter()
        answers["network"] = network(fold.x, fold.y, fold.x_valid, classes)
        spent["network"] += time.perf_counter() - started
        for who, value in scores_of(goal, fold.y_valid, answers).items():
            found.setdefault(who, []).append(value)
    means = ", ".join(f"{who} {np.mean(scores):.5g}" for who, scores in found.items())
    seconds = ", ".join(f"{who} {value:.1f} s" for who, value in spent.items())
    return f"{name}: {goal}: {means}; {FOLDS} folds: {seconds}"


def scores_of(goal: str, y: np.ndarray, answers: dict[str, np.ndarray]) -> dict[str, float]:
    """Of each model, of the best average without the network, and of the best with it."""
    a, b, c = (answers[who] for who in ("lightgbm", "linear", "network"))
    shares = [(i / 10, j / 10) for i in range(11) for j in range(11 - i)]
    scores = {pair: score(goal, y, (1 - sum(pair)) * a + pair[0] * b + pair[1] * c)
              for pair in shares}  # fmt: skip

    def best(pairs: list[tuple[float, float]]) -> float:
        return scores[max(pairs, key=lambda pair: gain(goal, scores[pair], 0.0))]

    return {
        **{who: score(goal, y, found) for who, found in answers.items()},
        "best without network": best([pair for pair in shares if pair[1] == 0]),
        "best with it": best(shares),
    }


def network(x: np.ndarray, y: np.ndarray, x_valid: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities or values of a two-layer network that stops early."""
    settings = {"hidden_layer_sizes": SIZES, "early_stopping": True, "random_state": 0,
                "max_iter": 60, "n_iter_no_change": 6, "batch_size": 256}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if classes:
            return MLPClassifier(**settings).fit(x, y).predict_proba(x_valid)
        center, scale = y.mean(), y.std() or 1.0
        model = MLPRegressor(**settings).fit(x, (y - center) / scale)
        return model.predict(x_valid) * scale + center


if __name__ == "__main__":
    main()
