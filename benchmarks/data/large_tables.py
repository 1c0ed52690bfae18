"""Reading, checking and predicting large tables, beside the bare work of polars and ONNX Runtime.

    .venv/bin/python benchmarks/data/large_tables.py [rows]

Makes tables of 15 columns in a temporary folder (default 1,000,000 rows) and prints seconds, peak
memory of a process of its own, and the ratio to the bare limit from the same run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

CASES = {
    "bare pl.read_parquet": "import polars as pl; pl.read_parquet('t.parquet')",
    "check t.parquet": "import modelwright as mw; mw.check('parquet.yaml')",
    "load t.parquet": "from pathlib import Path; from modelwright.core.spec_file import read_spec; "
    "from modelwright.data.dataset import load; load(read_spec(Path('parquet.yaml')))",
    "bare pl.read_csv": "import polars as pl; pl.read_csv('t.csv')",
    "check t.csv": "import modelwright as mw; mw.check('csv.yaml')",
    "survey of t.csv (batches)": "from pathlib import Path; from modelwright.core.progress import "
    "Silent; from modelwright.core.spec_file import read_spec; from modelwright.data.sources "
    "import open_file; from modelwright.data.survey import survey; "
    "survey(read_spec(Path('csv.yaml')), open_file(Path('t.csv')), Silent())",
    "one small run": "import modelwright as mw; mw.run('parquet.yaml', overrides=("
    "'fit.budget=3 trials', 'fit.families=[lightgbm]', 'fit.folds=2', 'pack.measure=process', "
    "'data.source=small.parquet'))",
    "bare graph over the rows": "import modelwright as mw; from pathlib import Path; m = "
    "mw.load('big'); from modelwright.data.scoring import open_rows, scored_batches; "
    "[m.answer(f) for f in scored_batches(open_rows('t.csv'), m.schema)]",
    "predict t.csv": "import modelwright as mw; mw.predict_file('big', 't.csv', 'out.csv')",
}


def make(folder: Path, rows: int) -> None:
    """Numbers with gaps, categories, dates and booleans; a noisy binary target."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 6))
    seconds = rng.integers(0, 90_000_000, rows).astype("timedelta64[s]")
    table = pl.DataFrame(
        {f"x{i}": x[:, i] for i in range(6)}
        | {
            "i1": rng.integers(0, 1000, rows),
            "i2": rng.integers(0, 50, rows),
            "c1": rng.choice(["aa", "bb", "cc", "dd"], rows),
            "c2": rng.choice([f"level {i}" for i in range(500)], rows),
            "c3": rng.choice(["u", "v"], rows),
            "c4": rng.choice([f"p{i}" for i in range(20)], rows),
            "day": (np.datetime64("2020-01-01T00:00:00") + seconds).astype("datetime64[us]"),
            "flag": rng.random(rows) < 0.5,
            "y": (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=rows) > 0.5).astype(int),
        }
    )
    table.write_parquet(folder / "t.parquet")
    table.write_csv(folder / "t.csv")
    table.head(20_000).write_parquet(folder / "small.parquet")
    for kind in ("parquet", "csv"):
        text = f"name: big\ndata: {{source: t.{kind}, target: y}}\n"
        (folder / f"{kind}.yaml").write_text(text)


def main() -> None:
    """Time each case in a process of its own."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make(folder, rows)
        bare = 0.0
        for name, code in CASES.items():
            report = "; import resource as r; print(r.getrusage(r.RUSAGE_SELF).ru_maxrss)"
            started = time.perf_counter()
            done = subprocess.run([sys.executable, "-W", "ignore", "-c", code + report],
                                  cwd=folder, capture_output=True, text=True)  # fmt: skip
            seconds = time.perf_counter() - started
            if done.returncode:
                raise SystemExit(f"{name}: {done.stderr}")
            memory = int(done.stdout.split()[-1]) / 1e6
            bare = seconds if name.startswith("bare") else bare
            print(f"{name:<28}{seconds:7.2f} s {memory:6.2f} GB {rows / seconds:12,.0f} rows/s "
                  f"{seconds / bare:6.1f} x bare")  # fmt: skip


if __name__ == "__main__":
    main()
