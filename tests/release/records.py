"""The records of the released project as a card takes them, and an evaluation with all parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

import modelwright as mw
from modelwright.core.evaluation import Curve, Evaluation, Importance, Slice
from modelwright.core.records import (
    DatasetRecord,
    Finding,
    Interval,
    Manifest,
    ReleaseRecord,
    Verdict,
)
from modelwright.core.runs import spec_of_run
from modelwright.core.spec import Spec
from modelwright.core.store import from_json
from modelwright.pack.artefact import Artefact
from modelwright.release.registry import Registry
from modelwright.release.run_records import RunRecords

CLEAR, UNCLEAR = Interval(0.05, 0.02, 0.08), Interval(0.01, -0.01, 0.03)

NONE_WEAK = Finding(
    "weak slice", "all columns", "pass", "none found", "none of 40 slices worse beyond chance",
    severity="warning",
)  # fmt: skip


def evaluation(released: mw.Released, **changes: Any) -> Evaluation:
    """One where nothing is wrong."""
    dataset = dataset_of(released)
    base = Evaluation(
        goal="roc_auc",
        rows=dataset.holdout_rows,
        curves=(Curve("age", (0.25, 0.75), (0.85, 0.82)),),
        importance=tuple(Importance(c.name, (c.name,), CLEAR) for c in dataset.schema.features),
        slices=(Slice("colour is red", ("colour",), 60, 0.84, UNCLEAR, 0.7),),
        findings=(NONE_WEAK,),
        notes=("robustness: not looked at",),
    )
    return msgspec.structs.replace(base, **changes)


def dataset_of(released: mw.Released) -> DatasetRecord:
    return from_json((released.run / "dataset.json").read_bytes(), DatasetRecord)


def card_input(released: mw.Released, **changes: Any) -> RunRecords:
    """The card's input with some of its records replaced; `spec` as keys to change."""
    spec_file = spec_of_run(released.run)
    if "spec" in changes:
        document = {**spec_file.spec.model_dump(mode="json"), **changes.pop("spec")}
        spec_file = replace(spec_file, spec=Spec.model_validate(document))
    given: dict[str, Any] = {
        "folder": released.run,
        "spec_file": spec_file,
        "release": released.record,
        "dataset": dataset_of(released),
        "fit": released.fit,
        "manifest": from_json((released.run / "artefact" / "manifest.json").read_bytes(), Manifest),
        "measured": released.measured,
        "evaluation": evaluation(released),
    }
    return RunRecords(**{**given, **changes})


def with_columns(dataset: DatasetRecord, named: str, **marks: Any) -> DatasetRecord:
    """The dataset with one column changed."""
    columns = tuple(
        msgspec.structs.replace(c, **marks) if c.name == named else c
        for c in dataset.schema.columns
    )
    schema = msgspec.structs.replace(dataset.schema, columns=columns)
    return msgspec.structs.replace(dataset, schema=schema)


def found(check: str, verdict: Verdict = "fail", *, subject: str = "x", **more: Any) -> Finding:
    return Finding(check, subject, verdict, severity="warning", **more)


def register_again(project: Path, *numbers: str) -> Path:
    """Register the first version's files anew as these; the first of them is challenger."""
    registry = Registry(project)
    first = registry.resolve("shop")
    run = project / "runs" / first.run
    record = from_json((run / "release.json").read_bytes(), ReleaseRecord)
    record = msgspec.structs.replace(record, replaces="1")
    artefact = Artefact.load(run / "artefact")
    for number in numbers:
        assert registry.register(artefact, record, first.mlflow_run) == number
    registry.set_alias("shop", "challenger", numbers[0])
    return project
