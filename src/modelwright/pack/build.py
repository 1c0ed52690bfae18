"""Pipeline to Artefact: convert, write the folder, load it back, prove it equal."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from modelwright.core.git import commit_of
from modelwright.core.records import ColumnBaseline, Manifest, Parity, Reproduced, Trial
from modelwright.core.schema import EPOCH, Column, Schema
from modelwright.core.spec_file import SpecFile
from modelwright.core.store import sha256, sync_folder, to_json, write_atomic, write_once
from modelwright.data.dataset import Dataset
from modelwright.fit.pipeline import Pipeline
from modelwright.pack.artefact import FORMAT, MANIFEST, MODEL, Artefact
from modelwright.pack.convert import Converted, convert
from modelwright.pack.golden import GOLDEN, likely_size, probe_rows, record, rows_of
from modelwright.pack.parity import TOLERANCE, prove

LIBRARIES = (
    "modelwright", "numpy", "polars", "scikit-learn", "lightgbm", "catboost", "xgboost", "optuna",
    "onnx", "onnxruntime",
)  # fmt: skip


UNPROVED = Parity(0, 0, -1.0, 0, TOLERANCE)


@dataclass(frozen=True)
class Maker:
    """Writes model folders for one spec and one table."""

    spec_file: SpecFile
    dataset: Dataset
    goal: str

    def write(self, pipeline: Pipeline, trial: Trial | None, folder: Path) -> Artefact:
        """Write a model folder that is not yet proved; good for measuring only.

        Args:
            pipeline: the trained pipeline.
            trial: whose it is; None for a model of one fold.
            folder: is emptied first.

        Raises:
            PackError: the model cannot be converted.
        """
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        converted = convert(pipeline)
        write_atomic(folder / MODEL, converted.model.SerializeToString(deterministic=True))
        write_atomic(folder / "spec.json", to_json(self.spec_file.spec.model_dump(mode="json")))
        write_atomic(folder / GOLDEN, self._golden(trial, pipeline, converted, folder))
        files = {path.name: sha256(path.read_bytes()) for path in sorted(folder.iterdir())}
        manifest = self._manifest(trial, pipeline, converted, files)
        write_atomic(folder / MANIFEST, to_json(manifest))
        return Artefact.load(folder)

    def _golden(
        self, trial: Trial | None, pipeline: Pipeline, converted: Converted, folder: Path
    ) -> bytes:
        manifest = self._manifest(trial, pipeline, converted, {})
        rows = probe_rows(manifest.schema, manifest.baseline, rows_of(manifest.schema))
        model = Artefact(folder, manifest, "", (folder / MODEL).read_bytes())
        return msgspec.json.encode(record(manifest.schema, rows, model.answer(rows)))

    def size_around(self, pipeline: Pipeline, converted: Converted) -> int:
        """Bytes of a model folder beside the model file."""
        manifest = self._manifest(None, pipeline, converted, {})
        spec = self.spec_file.spec.model_dump(mode="json")
        return len(to_json(manifest)) + len(to_json(spec)) + likely_size(manifest)

    def seal(self, artefact: Artefact, pipeline: Pipeline, target: Path) -> Artefact:
        """Prove a written folder equal to its pipeline and give it its name.

        The folder appears under its name only when it is whole and proved.

        Raises:
            ParityError: a row is answered differently.
        """
        known = [self.dataset.train.feeds, self.dataset.holdout.features().feeds]
        parity = prove(pipeline, artefact, known, seed=self.dataset.record.seed)
        manifest = msgspec.structs.replace(artefact.manifest, parity=parity)
        write_atomic(artefact.folder / MANIFEST, to_json(manifest))
        write_once(artefact.folder)
        shutil.rmtree(target, ignore_errors=True)  # of an earlier, killed attempt
        artefact.folder.rename(target)
        sync_folder(target.parent)
        return Artefact.load(target)

    def _manifest(
        self,
        trial: Trial | None,
        pipeline: Pipeline,
        converted: Converted,
        files: dict[str, str],
    ) -> Manifest:
        """No run and no date: the same model twice has the same digest."""
        record, schema = self.dataset.record, self.dataset.schema
        score = trial.score if trial is not None else None
        reach = pipeline.outputs.reach
        target = msgspec.structs.replace(schema.target, interval=reach.level if reach else None)
        return Manifest(
            format=FORMAT,
            model=self.spec_file.spec.name,
            schema=msgspec.structs.replace(schema, target=target),
            inputs=converted.inputs,
            outputs=converted.outputs,
            family=pipeline.family,
            params=trial.params if trial is not None else {},
            goal=self.goal,
            scores={} if score is None else {f"cv_{self.goal}": score},
            parity=UNPROVED,
            limits=self.spec_file.spec.parsed_limits(),
            baseline=record.baseline,
            example=example_row(schema, record.baseline),
            spec_digest=self.spec_file.digest,
            data_fingerprint=record.fingerprint,
            split=record.split,
            seed=record.seed,
            code=commit_of(self.spec_file.folder),
            versions=versions(),
            files=files,
        )


COMPARED = ("spec_digest", "data_fingerprint", "split", "seed", "code", "params", "family",
            "outputs", "schema", "versions")  # fmt: skip


def compared(then: Manifest, now: Manifest, run: str) -> Reproduced:
    """Two models of the same recipe: equal when their model files are, byte by byte."""
    digests = (then.files[MODEL], now.files[MODEL])
    differences = [
        f"{name}: {_shown(getattr(then, name), getattr(now, name))}"
        for name in COMPARED
        if getattr(then, name) != getattr(now, name)
    ]
    same = digests[0] == digests[1]
    if not same and not differences:
        differences = ["model file: other numbers from the same recipe; another kind of processor?"]
    return Reproduced(run, same, digests, tuple(differences))


def _shown(then: Any, now: Any) -> str:
    if isinstance(then, dict) and isinstance(now, dict):
        changed = [k for k in {**then, **now} if then.get(k) != now.get(k)]
        return ", ".join(f"{k} {then.get(k)} -> {now.get(k)}" for k in changed)[:300]
    if isinstance(then, Schema):
        return "columns, kinds or ranges"
    return f"{str(then)[:60] or 'none'} -> {str(now)[:60] or 'none'}"


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
