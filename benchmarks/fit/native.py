"""Whether LightGBM gains by getting categories as categories, and what their splits cost to serve.

    .venv/bin/python benchmarks/fit/native.py [NAME ...]

For each example table: the folds of the training rows, LightGBM's defaults with one-hot columns and
target means, and with `encoding.native_levels: 255`; the paired lead in standard errors, seconds,
and microseconds a row and bytes of the packed graph of the first fold.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from modelwright.core.goals import goal_of
from modelwright.core.spec_file import read_spec
from modelwright.data.dataset import Dataset, load
from modelwright.fit.family import FitJob, family_of
from modelwright.fit.folds import folds_for
from modelwright.fit.noise import Scorecard, scored
from modelwright.fit.pipeline import Member, Pipeline
from modelwright.pack.artefact import session_of
from modelwright.pack.convert import convert
from modelwright.pack.inputs import matrices

EXAMPLES = Path(__file__).parents[2] / "examples"
NATIVE = {"native_levels": 255}


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
    if not any(c.kind == "category" for c in dataset.schema.features):
        return f"{name}: no categories"
    goal = goal_of(spec.spec, dataset.schema.target)
    folds, family = folds_for(spec.spec.fit, dataset), family_of("lightgbm")
    card = Scorecard(goal, folds.weights[: folds.count])
    told = []
    for way, changes in ((0, {}), (1, NATIVE)):
        started, entries, bare = time.perf_counter(), [], ""
        for number in range(folds.count):
            fold = folds.get(number, family.encoding.changed(changes))
            model = family.fit(FitJob(
                fold.x, fold.y, dataset.schema.target.task,
                max(1, len(dataset.schema.target.levels)), dict(family.defaults), seed=0,
                threads=2, x_valid=fold.x_valid, y_valid=fold.y_valid,
                categories=fold.encoder.categories,
            ))  # fmt: skip
            answers = model.answer(fold.x_valid)
            entries.append(scored(goal, fold.y_valid, answers, folds.clusters(number)))
            if not number:
                bare = cost_of(Pipeline(dataset.schema, (Member("lightgbm", fold.encoder, model),)),
                               dataset)  # fmt: skip
        card.entries[way] = entries
        seconds = time.perf_counter() - started
        told.append(f"{card.mean(way):.5g} ({bare}, {seconds:.1f} s)")
    lead, error = card.lead(1, 0)
    return f"{name}: {goal}: one-hot and means {told[0]}, native {told[1]}: {lead / error:+.1f} SE"


def cost_of(pipeline: Pipeline, dataset: Dataset) -> str:
    """Microseconds a row, and kilobytes of the graph."""
    converted = convert(pipeline)
    data = converted.model.SerializeToString()
    session, outputs = session_of(data), list(converted.outputs.values())
    rows = [dataset.train.take(slice(n, n + 1)).feeds for n in range(200)]
    given = [matrices(feeds, converted.inputs) for feeds in rows]
    spent = []
    for _ in range(5):
        for row in given:
            started = time.perf_counter()
            session.run(outputs, row)
            spent.append(time.perf_counter() - started)
    return f"{1e6 * float(np.median(spent)):.0f} us, {len(data) / 1e3:.0f} KB"


if __name__ == "__main__":
    main()
