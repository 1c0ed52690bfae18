"""Labels that are likely wrong: the model disagrees with confidence on rows it never saw.

Confident learning (Northcutt, Jiang, Chuang 2021): a row is suspected when another class's
out-of-fold probability exceeds what that class's own rows have on average, and its own label's is
low. Numbers are suspected by residuals far outside the usual.
"""

from __future__ import annotations

import lightgbm
import numpy as np

from modelwright.core.contract import missing_in
from modelwright.core.intake import Array
from modelwright.core.records import Finding, Severity, Verdict
from modelwright.data.checks.probe import FOLDS, Look
from modelwright.data.means import cross_fitted

FEWEST = 200
ROUNDS = 40
CONFIDENT = 0.9
WORTH_A_NOTE, WORTH_A_WARNING = 0.005, 0.02
"""Shares of suspects: clean real tables have up to 1.7 % (Adult 1.3 %, wildlife 1.7 %)."""
MOST_CLASSES = 10
_PARAMS = {
    "num_leaves": 31, "learning_rate": 0.1, "min_data_in_leaf": 20, "verbosity": -1,
    "num_threads": 2, "deterministic": True, "force_row_wise": True, "lambda_l2": 1.0,
}  # fmt: skip


def suspects(look: Look) -> list[Finding]:
    """Rows whose target is likely wrong.

    Args:
        look: labelled training rows.
    """
    names = [c.name for c in look.columns if c.is_feature]
    if len(look.y) < FEWEST or not names:
        return []
    if look.task == "regression":
        return _far_numbers(look, _matrix(look, names))
    if len(np.unique(look.y)) > MOST_CLASSES:
        return []
    shares = _out_of_fold(look, _matrix(look, names))
    own = shares[np.arange(len(look.y)), look.y]
    usual = np.array([shares[look.y == k, k].mean() if (look.y == k).any() else 1.0
                      for k in range(shares.shape[1])])  # fmt: skip
    against = np.where(np.eye(shares.shape[1], dtype=bool)[look.y], 0.0, shares)
    other = against.argmax(axis=1)
    high = against.max(axis=1)
    suspect = (high >= np.maximum(usual[other], CONFIDENT)) & (own < 1 - CONFIDENT)
    count = int(suspect.sum())
    share = count / len(look.y)
    if count < 5 or share < WORTH_A_NOTE:
        return []
    worst = np.argsort(own + ~suspect)[: min(10, count)]
    rows = tuple(int(look.rows[i]) for i in worst)
    measured = f"{count:,} of {len(look.y):,} rows that were looked at"
    return [_finding(measured, rows, "warning" if share >= WORTH_A_WARNING else "info")]


def _finding(measured: str, rows: tuple[int, ...], severity: Severity) -> Finding:
    listed = ", ".join(map(str, rows[:5]))
    verdict: Verdict = "pass" if severity == "info" else "fail"
    return Finding("label noise", "target", verdict, f"{measured}, first of all rows {listed}", "",
                   "models that never saw them disagree with confidence",
                   "look at these rows; are some labels wrong?", severity, rows=rows)  # fmt: skip


def _matrix(look: Look, names: list[str]) -> Array:
    """Numbers as they are, texts as cross-fitted target means."""
    parts = []
    for name in names:
        values = look.values[name]
        if values.dtype == object:
            codes, size = look.bins(name)
            means = cross_fitted(codes, look.targets, size, smoothing=10.0, folds=FOLDS,
                                 seed=look.seed)  # fmt: skip
            parts.append(means)
        else:
            numbers = np.where(missing_in(values), np.nan, values.astype(np.float64))
            parts.append(numbers[:, None])
    return np.concatenate(parts, axis=1)


def _folds(look: Look) -> Array:
    return np.random.default_rng(look.seed + 2).permutation(len(look.y)) % 3


def _out_of_fold(look: Look, x: Array) -> Array:
    classes = int(look.y.max()) + 1
    params = dict(_PARAMS, objective="multiclass", num_class=classes, seed=look.seed)
    if classes == 2:
        params = dict(_PARAMS, objective="binary", seed=look.seed)
    fold = _folds(look)
    shares = np.zeros((len(look.y), classes))
    for number in range(3):
        inside = fold != number
        model = lightgbm.train(params, lightgbm.Dataset(x[inside], look.y[inside]), ROUNDS)
        found = np.asarray(model.predict(x[~inside]))
        shares[~inside] = np.stack([1 - found, found], axis=1) if classes == 2 else found
    return shares


def _far_numbers(look: Look, x: Array) -> list[Finding]:
    params = dict(_PARAMS, objective="regression_l1", seed=look.seed)
    fold, y = _folds(look), look.y
    found = np.zeros(len(y))
    for number in range(3):
        inside = fold != number
        model = lightgbm.train(params, lightgbm.Dataset(x[inside], y[inside]), ROUNDS)
        found[~inside] = model.predict(x[~inside])
    off = np.abs(y - found)
    width = float(np.quantile(off, 0.9))
    suspect = off > max(12 * width, 5 * float(np.quantile(off, 0.99)))
    count = int(suspect.sum())
    if not 0 < count <= 0.02 * len(y) or width == 0:
        return []
    rows = tuple(int(look.rows[i]) for i in np.argsort(-off)[: min(10, count)])
    return [_finding(f"{count:,} of {len(y):,} values", rows, "warning")]
