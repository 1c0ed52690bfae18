"""Quality, cost and time of `modelwright run` beside untuned peers, on the examples' tables.

    .venv/bin/python benchmarks/fit/quality.py [--budget 60s] [--goal METRIC] [NAME ...]

Each table is split once (row i is a test row when sha1(str(i)) % 5 == 0; the newest fifth where the
example splits by time). Ours gets the training rows as a file and answers the test rows as a file;
peers are scikit-learn, LightGBM and CatBoost with their defaults on the same rows. An example whose
table is made by a script, and was not, is left out with a line that says so. Of an example's limits
those on cost are kept, so that the first feasible candidate is one that keeps them; those on
quality are for all rows, of which a fifth is missing here. Printed are the test score of each, our
lead over the best peer in standard errors (bootstrap; paired, and of the peer's score), whether the
wanted score is reached, and what ours cost. FLAML and AutoGluon are not installed here; WANTED has
the best figures that are known, theirs among them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import catboost
import lightgbm
import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modelwright.core.limits import Limit
from modelwright.core.spec_file import read_spec
from modelwright.data.dataset import load
from modelwright.fit.choose import COSTS
from modelwright.fit.score import gain, score

EXAMPLES = Path(__file__).parents[2] / "examples"
RESAMPLES = 200
WANTED = {
    "ames": ("rmse", 15839.0),
    "beijing": ("rmse", 66.1),
    "cnae9": ("log_loss", 0.128),
    "income": ("roc_auc", 0.9308),
    "mammography": ("roc_auc", 0.976),
    "wildlife": ("log_loss", 0.802),
}
"""Table -> metric and the score to reach: the best of linear models, LightGBM, CatBoost, FLAML and
AutoGluon on the same split."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--goal", default="", help="another metric than the example's own")
    given = parser.parse_args()
    known = sorted(path.parent.name for path in EXAMPLES.glob("*/modelwright.yaml"))
    for name in given.names or known:
        source = read_spec(EXAMPLES / name / "modelwright.yaml").spec.data.source
        if not (EXAMPLES / name / source).exists():
            print(f"{name}: left out: no {source}; its modelwright.yaml says what writes it")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            compare(name, given.budget, given.goal, Path(scratch))


def compare(name: str, budget: str, goal: str, scratch: Path) -> None:
    """One table: split it, run everything, print a block."""
    spec = read_spec(EXAMPLES / name / "modelwright.yaml").spec
    frame = table(EXAMPLES / name / spec.data.source)
    is_test = test_rows(len(frame), by_time=spec.data.split.method == "time")
    project = scratch / name
    shutil.copytree(EXAMPLES / name, project, ignore=shutil.ignore_patterns("runs", ".modelwright"))
    frame[~is_test].to_parquet(project / "train.parquet", index=False)
    frame[is_test].to_parquet(project / "test.parquet", index=False)
    kept = [limit for limit in spec.parsed_limits() if limit.metric in COSTS]
    ours, cost = run_ours(project, budget, goal or spec.goal, spec.limits, kept)
    record = load(read_spec(project / "modelwright.yaml", ("data.source=train.parquet",)))
    target, goal = record.schema.target, cost["goal"]
    features = [c.name for c in record.schema.features]
    train, test = frame[~is_test], frame[is_test]
    truth, taught = (
        coded(test[target.name], target.levels),
        coded(train[target.name], target.levels),
    )
    answers = {"modelwright": ours_as_array(ours, target.levels)}
    for peer, fit in PEERS.items():
        answers[peer] = fit(train[features], taught, test[features], len(target.levels))
    scores = {who: score(goal, truth, found) for who, found in answers.items()}
    peers = [who for who in scores if who != "modelwright"]
    best = max(peers, key=lambda who: gain(goal, scores[who], 0.0))
    lead = gain(goal, scores["modelwright"], scores[best])
    error, own, ours_own = errors(goal, truth, answers["modelwright"], answers[best])
    listed = ", ".join(f"{who} {value:.5g}" for who, value in scores.items())
    print(f"{name}: {goal}: {listed}")
    print(
        f"  lead over {best}: {lead:+.4g} = {lead / error:+.1f} paired standard errors, "
        f"{lead / own:+.1f} of the peer's own"
    )
    print(f"  {reached(name, goal, scores['modelwright'], ours_own)}")
    within = ", ".join(map(str, kept)) or "no limit on cost"
    print(
        f"  {cost['family']}: {cost['p50'] * 1e6:.0f} us a row, {cost['size'] / 1e6:.2f} MB, loads "
        f"in {cost['load'] * 1e3:.0f} ms; run {cost['wall']:.0f} s for {budget}, peak "
        f"{cost['rss'] / 1e6:.2f} GB; first candidate within {within} after {cost['first']} s; "
        f"{cost['candidates']} candidates",
        flush=True,
    )


def reached(name: str, goal: str, found: float, error: float) -> str:
    """Whether the wanted score is met, within one standard error of ours, or missed."""
    metric, wanted = WANTED.get(name, (goal, float("nan")))
    if metric != goal:
        return f"wanted {metric} {wanted:g}: another metric, which --goal {metric} would show"
    if np.isnan(wanted):
        return "no score is wanted"
    lead = gain(goal, found, wanted)
    word = "met" if lead >= 0 else "within 1 SE" if lead >= -error else "missed"
    return f"wanted {metric} {wanted:g}: {word}, {lead / error:+.1f} of our own standard errors"


def table(path: Path) -> pd.DataFrame:
    """The example's table as pandas reads it; only the empty field is missing."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def test_rows(count: int, *, by_time: bool) -> np.ndarray:
    """Mask of the test rows."""
    if by_time:
        return np.arange(count) >= count - count // 5
    digests = (hashlib.sha1(str(i).encode()).hexdigest() for i in range(count))
    return np.array([int(digest, 16) % 5 == 0 for digest in digests])


def run_ours(
    project: Path, budget: str, goal: str, limits: dict, kept: list[Limit]
) -> tuple[pd.DataFrame, dict]:
    """`modelwright run` and `predict` as a user types them, under the limits that are kept."""
    bounds = ", ".join(f"{limit.metric}: {limits[limit.metric]}" for limit in kept)
    modelwright = [sys.executable, "-m", "modelwright"]
    started = time.perf_counter()
    with (project / "result.json").open("wb") as out:
        process = subprocess.Popen(
            [*modelwright, "run", "--json", "--set=data.source=train.parquet",
             f"--set=fit.budget={budget}", "--set=release.undecided=allow",
             "--set=release.reason=benchmark", f"--set=limits={{{bounds}}}",
             *([f"--set=goal={goal}"] if goal else [])],
            cwd=project, stdout=out, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _, _, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    rss = usage.ru_maxrss
    result = json.loads((project / "result.json").read_bytes())
    if "run" not in result:
        raise SystemExit(f"{project.name}: {result}")
    run = project / "runs" / result["run"]
    subprocess.run(
        [*modelwright, "predict", str(run / "artefact"), "test.parquet", "-o", "out.parquet"],
        cwd=project, capture_output=True, check=True,
    )  # fmt: skip
    measured = json.loads((run / "measured.json").read_bytes())
    return pd.read_parquet(project / "out.parquet"), {
        "goal": result["goal"], "family": result["family"], "wall": wall, "rss": rss * 1024 / 1e3,
        "p50": measured["in_process_p50"], "size": measured["size"],
        "load": measured["load_seconds"], "first": result["first_feasible"],
        "candidates": result["trials"],
    }  # fmt: skip


def coded(values: pd.Series, levels: tuple[str, ...]) -> np.ndarray:
    """Class numbers, or the values."""
    if not levels:
        return values.to_numpy(float)
    place = {level: code for code, level in enumerate(levels)}
    return np.array([place[re.sub(r"\.0$", "", str(value))] for value in values])


def ours_as_array(found: pd.DataFrame, levels: tuple[str, ...]) -> np.ndarray:
    """Predictions in the order of the classes."""
    if not levels:
        return found["prediction"].to_numpy(float)
    return found[[f"p_{level}" for level in levels]].to_numpy(float)


def linear(x: pd.DataFrame, y: np.ndarray, x_test: pd.DataFrame, classes: int) -> np.ndarray:
    """Scaled numbers and one-hot texts into logistic regression or ridge."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore", min_frequency=5)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (texts, make_column_selector(dtype_exclude=["number", "datetime"])),
    )
    model = LogisticRegression(max_iter=300) if classes else Ridge()
    fitted = make_pipeline(columns, model).fit(plain(x), y)
    return fitted.predict_proba(plain(x_test)) if classes else fitted.predict(plain(x_test))


def lightgbm_default(
    x: pd.DataFrame, y: np.ndarray, x_test: pd.DataFrame, classes: int
) -> np.ndarray:
    """LightGBM with its defaults and native categories."""
    made = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
    both = pd.concat([plain(x), plain(x_test)])
    for name in both.columns:
        if not pd.api.types.is_numeric_dtype(both[name]):
            both[name] = both[name].astype("category")
    both.columns = [f"c{n}" for n in range(both.shape[1])]
    model = made(verbose=-1, n_jobs=1).fit(both[: len(x)], y)
    rest = both[len(x) :]
    return model.predict_proba(rest) if classes else model.predict(rest)


def catboost_default(
    x: pd.DataFrame, y: np.ndarray, x_test: pd.DataFrame, classes: int
) -> np.ndarray:
    """CatBoost with its defaults and its own treatment of categories."""
    x, x_test = plain(x), plain(x_test)
    texts = [name for name in x.columns if not pd.api.types.is_numeric_dtype(x[name])]
    x[texts], x_test[texts] = x[texts].fillna("").astype(str), x_test[texts].fillna("").astype(str)
    made = catboost.CatBoostClassifier if classes else catboost.CatBoostRegressor
    model = made(verbose=False, allow_writing_files=False, thread_count=2).fit(x, y, texts)
    return model.predict_proba(x_test) if classes else model.predict(x_test)


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Dates as their parts, which is what a person would try first."""
    found = frame.copy()
    for name in frame.columns:
        if pd.api.types.is_datetime64_any_dtype(frame[name]):
            parts = frame[name].dt
            for part in ("year", "month", "day", "day_of_week", "hour"):
                found[f"{name} {part}"] = getattr(parts, part).astype(float)
            found = found.drop(columns=name)
        elif pd.api.types.is_bool_dtype(frame[name]):
            found[name] = frame[name].astype(float)
    return found


PEERS = {"linear": linear, "LightGBM": lightgbm_default, "CatBoost": catboost_default}


def errors(goal: str, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Standard deviations over resampled test rows: of the lead of `a`, of the score of `b`, and of
    that of `a`."""
    generator = np.random.default_rng(0)
    leads, scores, own = [], [], []
    for _ in range(RESAMPLES):
        drawn = generator.integers(0, len(y), len(y))
        scores.append(score(goal, y[drawn], b[drawn]))
        own.append(score(goal, y[drawn], a[drawn]))
        leads.append(gain(goal, own[-1], scores[-1]))
    return float(np.nanstd(leads)), float(np.nanstd(scores)), float(np.nanstd(own))


if __name__ == "__main__":
    main()
