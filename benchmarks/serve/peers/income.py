"""What every peer's app shares: the row as pydantic sees it, and the graph with its matrices."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from pydantic import BaseModel

ARTEFACT = Path(os.environ["BENCH_ARTEFACT"])
MANIFEST = json.loads((ARTEFACT / "manifest.json").read_text())
INPUTS: Mapping[str, Sequence[str]] = MANIFEST["inputs"]
OUTPUTS = [MANIFEST["outputs"]["label"], MANIFEST["outputs"]["probabilities"]]


class Row(BaseModel):
    """One person of the census."""

    age: float
    workclass: str | None
    fnlwgt: float
    education: str
    education_num: float
    marital_status: str
    occupation: str | None
    relationship: str
    race: str
    sex: str
    capital_gain: float
    capital_loss: float
    hours_per_week: float
    native_country: str | None


class Rows(BaseModel):
    """The body of a request."""

    rows: list[Row]


class Answer(BaseModel):
    """The answer to one row."""

    prediction: str
    probabilities: list[float]


class Answers(BaseModel):
    """The body of an answer."""

    predictions: list[Answer]


def open_session() -> onnxruntime.InferenceSession:
    """The graph on one thread, which is the fastest setting for a row."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        ARTEFACT / "model.onnx", options, providers=["CPUExecutionProvider"]
    )


def matrices(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Rows to the graph's inputs, each [rows, columns]; a missing text is empty."""
    found = {}
    for name, columns in INPUTS.items():
        if name == "texts":
            texts = [[row[column] or "" for column in columns] for row in rows]
            found[name] = np.array(texts, object)
        else:
            numbers = [[row[column] for column in columns] for row in rows]
            found[name] = np.array(numbers, np.float64)
    return found


def answers(outputs: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """What the graph gave, one answer a row."""
    labels, probabilities = outputs
    pairs = zip(labels.tolist(), probabilities.tolist(), strict=True)
    return [{"prediction": label, "probabilities": chances} for label, chances in pairs]
