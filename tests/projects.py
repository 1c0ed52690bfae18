"""Small projects that the tests are made on."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import polars as pl

from modelwright.core.remembered import SETTLED_NS
from modelwright.core.spec_file import SpecFile, parse_spec
from modelwright.core.store import sha256

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
QUICK = ("fit.budget=4 trials", "fit.folds=2", "pack.seconds=0.4")


def mixed_table(rows: int = 600, seed: int = 0) -> pl.DataFrame:
    """Numbers, integers, booleans, categories, dates; gaps in each; two noisy classes."""
    rng = np.random.default_rng(seed)
    size = rng.normal(50, 20, rows).round(2)
    colour = rng.choice(
        ["red", "green", "blue", "d\u00e9j\u00e0 vu"], rows, p=[0.5, 0.3, 0.15, 0.05]
    )
    big = rng.integers(2**24, 2**25, rows)
    member = rng.choice([True, False], rows)
    start = np.datetime64("2020-01-01") + rng.integers(0, 900, rows).astype("timedelta64[D]")
    score = (size - 50) / 20 + (colour == "red") + member + rng.normal(0, 1, rows)
    table = pl.DataFrame(
        {
            "size, cm": size,
            "colour": colour,
            "big": big,
            "member": member,
            "start": start.astype("datetime64[us]"),
            "bought": np.where(score > 1, "yes", "no"),
        }
    )
    gaps = rng.random((3, rows)) < 0.08
    return table.with_columns(
        pl.when(pl.Series(gaps[0])).then(None).otherwise(pl.col("size, cm")).alias("size, cm"),
        pl.when(pl.Series(gaps[1])).then(None).otherwise(pl.col("colour")).alias("colour"),
        pl.when(pl.Series(gaps[2])).then(None).otherwise(pl.col("start")).alias("start"),
    )


def spec_for(folder: Path, source: str, target: str, more: str = "") -> SpecFile:
    """A spec file's object for a table in `folder`."""
    text = f"name: shop\ndata:\n  source: {source}\n  target: {target}\n{more}"
    return parse_spec(text, folder / "modelwright.yaml")


def writable_copy(folder: Path, target: Path) -> Path:
    """A copy of a model folder, whose files are read-only, to be damaged."""
    return Path(shutil.copytree(folder, target, copy_function=shutil.copyfile))


def replace_model(folder: Path, data: bytes) -> str:
    """Put another model file into a copied folder, as its own manifest says; its new digest."""
    (folder / "model.onnx").write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = sha256(data)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return sha256((folder / "manifest.json").read_bytes())


def make_shop(folder: Path) -> Path:
    """Write the small project."""
    mixed_table().write_csv(folder / "shop.csv")
    (folder / "modelwright.yaml").write_text(
        "name: shop\ndata: {source: shop.csv, target: bought, positive: 'yes'}\n"
        "limits: {roc_auc: 0.6, latency_p95: 1 s, memory: 2 GB}\n"
        "fit: {families: [lightgbm]}\n"
    )
    return folder


def settled(*files: Path) -> None:
    """Wait until what is made of files is kept, see `core.remembered`: a tenth of a second."""
    while any(time.time_ns() - path.stat().st_ctime_ns <= SETTLED_NS for path in files):
        pass


def another_byte(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes by as many others, and put the date of the file back."""
    assert len(old) == len(new)
    before, data = path.stat(), path.read_bytes()
    assert data.count(old)
    path.write_bytes(data.replace(old, new, 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
