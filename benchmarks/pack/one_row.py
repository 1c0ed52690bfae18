"""One row in process: the packed model beside the pipeline it was made from, in the same run.

    .venv/bin/python benchmarks/pack/one_row.py [example]

Prints medians over 500 rows and their ratio to the bare `session.run` of the same graph.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from modelwright.core.goals import goal_of
from modelwright.core.progress import Silent
from modelwright.core.spec_file import read_spec
from modelwright.core.table import take_feeds
from modelwright.data.dataset import load
from modelwright.fit.search import search
from modelwright.pack.build import Maker
from modelwright.pack.inputs import matrices
from modelwright.pack.price import PriceList

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ROWS = 500


def median(call: Callable[[int], object]) -> float:
    """Median seconds over the rows, after a warm-up."""
    times = []
    for row in range(-50, ROWS):
        started = time.perf_counter()
        call(row % ROWS)
        times.append(time.perf_counter() - started)
    return float(np.median(times[50:]))


def main() -> None:
    """Train briefly on an example, then time one row at a time."""
    name = sys.argv[1] if len(sys.argv) > 1 else "income"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name
        ignored = shutil.ignore_patterns("runs", ".modelwright")
        shutil.copytree(EXAMPLES / name, folder, ignore=ignored)
        file = read_spec(folder / "modelwright.yaml", ("fit.budget=4 trials", "fit.folds=2"))
        dataset = load(file)
        maker = Maker(file, dataset, goal_of(file.spec, dataset.schema.target))
        prices = PriceList(maker, folder, dataset.train.feeds, ())
        found = search(file.spec, dataset, Silent(), prices)
        chosen = found.finalists()[0]
        pipeline = found.pipeline(chosen)
        artefact = maker.write(pipeline, None, folder / "artefact")
    rows = [take_feeds(dataset.train.feeds, slice(i, i + 1)) for i in range(ROWS)]
    records = [{k: v[0] for k, v in row.items()} for row in rows]
    session, outputs = artefact._session, list(artefact.manifest.outputs.values())
    given = [matrices(row, artefact.manifest.inputs) for row in rows]
    cases: dict[str, Callable[[int], object]] = {
        "bare session.run": lambda i: session.run(outputs, given[i]),
        "artefact.answer (typed arrays)": lambda i: artefact.answer(rows[i]),
        "artefact.predict (a record, checked)": lambda i: artefact.predict([records[i]]),
        f"trained pipeline ({chosen.name})": lambda i: pipeline.answer(rows[i]),
    }
    measured = {label: median(call) for label, call in cases.items()}
    bare = measured["bare session.run"]
    print(f"{name}: {len(dataset.schema.features)} columns, {chosen.name}")
    for label, seconds in measured.items():
        print(f"{label:<40}{seconds * 1e6:9.1f} us   x {seconds / bare:.2f}")


if __name__ == "__main__":
    main()
