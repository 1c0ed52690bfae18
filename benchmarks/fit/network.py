"""Whether a small neural network would pay as a family: alone, and in a blend with LightGBM.

    .venv/bin/python benchmarks/fit/network.py [NAME ...]

For each example table: two folds of the training rows, scikit-learn's MLPClassifier or MLPRegressor
(two hidden layers, early stopping, standardised and one-hot columns as the linear family has them),
LightGBM with its defaults, and their best average in steps of a tenth, which is flattered by being
chosen on the same rows. Printed are scores and seconds.
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
    found: dict[str, list[float]] = {"network": [], "lightgbm": [], "blend": []}
    spent = {"network": 0.0, "lightgbm": 0.0}
    for number in range(min(FOLDS, folds.count)):
        fold = folds.get(number, trees.encoding)
        started = time.perf_counter()
        job = FitJob(fold.x, fold.y, target.task, max(1, classes), dict(trees.defaults), 0, 2, 50,
                     x_valid=fold.x_valid, y_valid=fold.y_valid)  # fmt: skip
        boosted = trees.fit(job).answer(fold.x_valid)
        spent["lightgbm"] += time.perf_counter() - started
        fold = folds.get(number, plain.encoding)
        started = time.perf_counter()
        net = network(fold.x, fold.y, fold.x_valid, classes)
        spent["network"] += time.perf_counter() - started
        y = fold.y_valid
        shares = np.linspace(0, 1, 11)
        blends = [score(goal, y, share * net + (1 - share) * boosted) for share in shares]
        found["network"].append(score(goal, y, net))
        found["lightgbm"].append(score(goal, y, boosted))
        found["blend"].append(max(blends, key=lambda value: gain(goal, value, 0.0)))
    means = ", ".join(f"{who} {np.mean(scores):.5g}" for who, scores in found.items())
    return (f"{name}: {goal}: {means}; network {spent['network']:.1f} s, "
            f"lightgbm {spent['lightgbm']:.1f} s for {FOLDS} folds")  # fmt: skip


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
