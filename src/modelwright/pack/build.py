"""Fit to Artefact: convert, write the folder, load it back, prove it equal, measure it."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.core.git import commit_of
from modelwright.core.records import ColumnBaseline, Manifest, Parity
from modelwright.core.schema import EPOCH, Column, Schema
from modelwright.core.spec_file import SpecFile
from modelwright.core.store import sha256, sync_folder, timestamp, to_json, write_atomic
from modelwright.data.dataset import Dataset
from modelwright.fit.pipeline import Fit
from modelwright.pack.artefact import FORMAT, MANIFEST, MODEL, Artefact
from modelwright.pack.convert import convert
from modelwright.pack.parity import TOLERANCE, prove

LIBRARIES = (
    "modelwright", "numpy", "polars", "scikit-learn", "lightgbm", "catboost", "optuna", "onnx",
    "onnxruntime",
)  # fmt: skip


def build(spec_file: SpecFile, dataset: Dataset, fit: Fit, run: Path) -> Artefact:
    """Write `<run>/artefact`, proved equal to the trained pipeline.

    The folder appears under its name only when it is whole and proved.

    Raises:
        ParityError: a row is answered differently.
        PackError: the model cannot be converted.
    """
    part = run / ".artefact.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    converted = convert(fit.best)
    write_atomic(part / MODEL, converted.model.SerializeToString())
    write_atomic(part / "spec.json", to_json(spec_file.spec.model_dump(mode="json")))
    files = {path.name: sha256(path.read_bytes()) for path in sorted(part.iterdir())}
    unproved = Parity(0, 0, float("inf"), 0, TOLERANCE)
    manifest = _manifest(spec_file, dataset, fit, run.name, converted.outputs, files, unproved)
    loaded = Artefact(part, manifest, "", (part / MODEL).read_bytes())
    known = [dataset.train.feeds, dataset.holdout.features().feeds]
    parity = prove(fit.best, loaded, known, seed=dataset.record.seed)
    manifest = _manifest(spec_file, dataset, fit, run.name, converted.outputs, files, parity)
    write_atomic(part / MANIFEST, to_json(manifest))
    target = run / "artefact"
    part.rename(target)
    sync_folder(run)
    return Artefact.load(target)


def _manifest(
    spec_file: SpecFile,
    dataset: Dataset,
    fit: Fit,
    run: str,
    outputs: dict[str, str],
    files: dict[str, str],
    parity: Parity,
) -> Manifest:
    record = fit.record
    schema = dataset.schema
    best = next(trial for trial in record.trials if trial.number == record.best)
    return Manifest(
        format=FORMAT,
        model=spec_file.spec.name,
        run=run,
        created=timestamp(),
        schema=schema,
        outputs=outputs,
        family=record.family,
        params=record.params,
        goal=record.goal,
        scores={f"cv_{record.goal}": best.score},
        parity=parity,
        limits=spec_file.spec.parsed_limits(),
        baseline=dataset.record.baseline,
        example=example_row(schema, dataset.record.baseline),
        spec_digest=spec_file.digest,
        data_fingerprint=dataset.record.fingerprint,
        split=dataset.record.split,
        seed=record.seed,
        code=commit_of(spec_file.folder),
        versions=versions(),
        files=files,
    )


def example_row(schema: Schema, baseline: Mapping[str, ColumnBaseline]) -> dict[str, Any]:
    """A typical request made of medians and most frequent levels: nobody's real row.

    A private column, which has no baseline, gets a neutral value.
    """
    unknown = ColumnBaseline(0.0)
    return {c.name: _typical(c, baseline.get(c.name, unknown)) for c in schema.features}


def _typical(column: Column, baseline: ColumnBaseline) -> Any:
    if column.kind in ("category", "list"):
        return baseline.levels[0] if baseline.levels else ""
    middle = baseline.edges[len(baseline.edges) // 2] if baseline.edges else 0.0
    if column.kind == "boolean":
        return middle >= 0.5
    if column.kind == "datetime":
        return (EPOCH + np.timedelta64(int(middle), "us").astype(object)).isoformat()
    return int(middle) if column.integer else float(middle)


def versions() -> dict[str, str]:
    """Python, the platform and the libraries that had a part in it."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
