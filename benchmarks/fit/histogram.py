"""What scikit-learn's histogram gradient boosting would add to LightGBM and XGBoost.

    .venv/bin/python benchmarks/fit/histogram.py [NAME ...]

All three with their defaults on the split of `quality.py`, categories as codes. Printed are the
test scores, and by how many paired standard errors the average of three leads that of two.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier, LGBMRegressor
from quality import EXAMPLES, errors, plain, table, test_rows
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from xgboost import XGBClassifier, XGBRegressor

from modelwright.core.spec_file import read_spec
from modelwright.fit.score import gain, score

GOALS = {"income": "roc_auc", "mammography": "pr_auc", "seoul_bike": "rmse"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *GOALS])
    for name in parser.parse_args().names or GOALS:
        compare(name, GOALS[name])


def compare(name: str, goal: str) -> None:
    """One table."""
    spec = read_spec(EXAMPLES / name / "modelwright.yaml").spec
    frame = table(EXAMPLES / name / spec.data.source)
    is_test = test_rows(len(frame), by_time=spec.data.split.method == "time")
    x = plain(frame.drop(columns=[spec.data.target])).apply(coded).to_numpy(float)
    y = frame[spec.data.target]
    y = y.to_numpy(float) if goal == "rmse" else pd.Categorical(y).codes
    models = {
        "LightGBM": (LGBMRegressor if goal == "rmse" else LGBMClassifier)(verbose=-1, n_jobs=1),
        "XGBoost": (XGBRegressor if goal == "rmse" else XGBClassifier)(n_jobs=1),
        "histogram": HistGradientBoostingRegressor()
        if goal == "rmse"
        else HistGradientBoostingClassifier(),
    }
    answers = {}
    for who, model in models.items():
        fitted = model.fit(x[~is_test], y[~is_test])
        answers[who] = (
            fitted.predict(x[is_test]) if goal == "rmse" else fitted.predict_proba(x[is_test])
        )
    truth = y[is_test]
    answers["two"] = (answers["LightGBM"] + answers["XGBoost"]) / 2
    answers["three"] = (2 * answers["two"] + answers["histogram"]) / 3
    scores = {who: score(goal, truth, found) for who, found in answers.items()}
    error, _, _ = errors(goal, truth, answers["three"], answers["two"])
    lead = gain(goal, scores["three"], scores["two"])
    print(f"{name}: {goal}: {', '.join(f'{who} {value:.5g}' for who, value in scores.items())}")
    print(
        f"  three lead two by {lead:+.4g} = {lead / error:+.1f} paired standard errors", flush=True
    )


def coded(column: pd.Series) -> np.ndarray:
    """Numbers as they are, texts as codes, what is missing as NaN."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(float)
    codes = pd.Categorical(column).codes.astype(float)
    return np.where(codes < 0, np.nan, codes)


if __name__ == "__main__":
    main()
