"""The packed model, alive: load a folder, check it, answer. Needs onnxruntime, numpy, msgspec."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from modelwright.core.errors import ArtefactError, UsageError
from modelwright.core.intake import Array, Feeds, feeds_from_columns, feeds_from_rows
from modelwright.core.records import Manifest
from modelwright.core.schema import Schema
from modelwright.core.store import from_json, sha256
from modelwright.pack.guard import check_onnx
from modelwright.pack.inputs import matrices

FORMAT = 2
MANIFEST = "manifest.json"
MODEL = "model.onnx"
ROWS_A_RUN = 1024
"""Rows in one run of the graph: bounds memory, and longer runs are no faster (measured)."""
MOST_BYTES, MOST_MANIFEST = 2**31, 2**28
"""Of one file, since no ONNX model can be larger; and of the manifest."""
_CAREFULLY = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)
_FILE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
ORT_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)


_sound: set[str] = set()
"""Digests of models that this process has looked at, so that none is walked through twice."""


class _Format(msgspec.Struct):
    format: int = 0


class Answers(msgspec.Struct, frozen=True, eq=False):
    """What the model says about some rows.

    Attributes:
        values: float64 [rows], regression only.
        codes: index of the predicted class a row, classification only.
        probabilities: float64 [rows, classes] in the order of the target's levels.
        low, high: float64 [rows], the interval around each value where the spec asked for one.
    """

    schema: Schema
    values: Array | None = None
    low: Array | None = None
    high: Array | None = None
    codes: Array | None = None
    probabilities: Array | None = None

    @property
    def raw(self) -> Array:
        """Probabilities, or values."""
        found = self.values if self.values is not None else self.probabilities
        assert found is not None
        return found

    def predictions(self) -> list[Any]:
        """One label or value a row, in the type of the training data."""
        if self.values is not None:
            return list(self.values.tolist())
        assert self.codes is not None
        labels = [self.schema.target.label(level) for level in self.schema.target.levels]
        return [labels[code] for code in self.codes.tolist()]

    def columns(self) -> dict[str, list[Any]]:
        """`prediction`, and a `p_<label>` for each class, or `low` and `high`."""
        found: dict[str, list[Any]] = {"prediction": self.predictions()}
        if self.low is not None and self.high is not None:
            found |= {"low": self.low.tolist(), "high": self.high.tolist()}
        if self.probabilities is not None:
            for code, level in enumerate(self.schema.target.levels):
                found[f"p_{level}"] = self.probabilities[:, code].tolist()
        return found


class Artefact:
    """A verified model in memory.

    Example:
        artefact = Artefact.load("runs/<id>/artefact")
        artefact.predict([{"age": 39, "education": "Bachelors"}])
    """

    def __init__(self, folder: Path, manifest: Manifest, digest: str, model: bytes) -> None:
        self.folder = folder
        self.manifest = manifest
        self.digest = digest
        self._session = session_of(model)
        self._outputs = manifest.outputs

    @classmethod
    def load(cls, path: str | Path, *, digest: str | None = None, afresh: bool = False) -> Artefact:
        """Load a model folder from bytes that were verified.

        Args:
            path: a folder with manifest.json and model.onnx.
            digest: the sha256 that manifest.json must have, when it is known.
            afresh: look through the graph although this process has done so, as a new one would.

        Raises:
            ArtefactError: a file is absent, changed or foreign; nothing of it was run.
        """
        return cls(Path(path), *verified(Path(path), digest, afresh=afresh))

    @property
    def schema(self) -> Schema:
        """What it reads and what it predicts."""
        return self.manifest.schema

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum((self.folder / name).stat().st_size for name in [*self.manifest.files, MANIFEST])

    def answer(self, feeds: Feeds) -> Answers:
        """Answer rows that already passed the intake."""
        rows = len(next(iter(feeds.values())))
        wanted = list(self._outputs.values())
        parts = [self._run(wanted, feeds, at) for at in range(0, max(rows, 1), ROWS_A_RUN)]
        found = dict(zip(self._outputs, map(np.concatenate, zip(*parts, strict=True)), strict=True))
        if "value" in found:
            low, high = found.get("low"), found.get("high")
            return Answers(self.schema, values=found["value"], low=low, high=high)
        probabilities = found["probabilities"]
        return Answers(self.schema, codes=self._codes(found["label"]), probabilities=probabilities)

    def predict(self, data: Any) -> Any:
        """Answer a table in the form it came in.

        Args:
            data: records, a mapping of columns, or a pandas or polars DataFrame.

        Returns:
            `prediction` and `p_<label>` columns: a frame for a frame, else records or columns.

        Raises:
            RowsError: values that do not fit; row and column of each are named.
        """
        if isinstance(data, Mapping):
            return self.answer(feeds_from_columns(self.schema, data)).columns()
        if hasattr(data, "columns") and hasattr(data, "__getitem__"):
            return self._frame(data)
        if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
            columns = self.answer(feeds_from_rows(self.schema, data)).columns() if data else {}
            return [
                dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
            ]
        raise UsageError(
            f"Cannot predict on {type(data).__name__}.",
            hint="Wanted records, columns, or a pandas or polars DataFrame.",
        )

    def _frame(self, data: Any) -> Any:
        given = {str(name): frame_column(data[name]) for name in data.columns}
        columns = self.answer(feeds_from_columns(self.schema, given)).columns()
        index = {"index": data.index} if hasattr(data, "index") and not callable(data.index) else {}
        return type(data)(columns, **index)

    def _run(self, wanted: list[str], feeds: Feeds, at: int) -> list[Array]:
        part = feeds
        if len(next(iter(feeds.values()))) > ROWS_A_RUN:
            part = {name: values[at : at + ROWS_A_RUN] for name, values in feeds.items()}
        return list(self._session.run(wanted, matrices(part, self.manifest.inputs)))

    def _codes(self, labels: Array) -> Array:
        code = {level: number for number, level in enumerate(self.schema.target.levels)}
        found = [str(label) for label in labels.tolist()]
        unknown = next((label for label in found if label not in code), None)
        if unknown is not None:
            raise ArtefactError(
                f"{self.folder}: the graph answers {unknown!r}, which is no level that "
                f"{MANIFEST} knows, so one of the two was changed.",
                hint="Bring it once more: python -m modelwright.release.fetch NAME VERSION.",
            )
        return np.array([code[label] for label in found], np.int64)


def verified(
    folder: Path, digest: str | None = None, *, afresh: bool = False
) -> tuple[Manifest, str, bytes]:
    """Manifest, its sha256 and the model's bytes of a folder, all checked and nothing run.

    Raises:
        ArtefactError: a file is absent, changed or foreign.
    """
    data = _read(folder, MANIFEST, MOST_MANIFEST)
    found = sha256(data)
    if digest is not None and found != digest:
        raise ArtefactError(
            f"{folder} is not the model that was released: its manifest has sha256 "
            f"{found[:12]}, wanted {digest[:12]}.",
            rule="artifact_immutable",
            evidence={"found": found, "wanted": digest},
        )
    given = from_json(data, _Format, where=str(folder / MANIFEST)).format
    if given != FORMAT:
        raise ArtefactError(
            f"{folder} has format {given}, this version reads {FORMAT}.",
            hint="Run again, or serve it with the version that made it.",
        )
    manifest = from_json(data, Manifest, where=str(folder / MANIFEST))
    if MODEL not in manifest.files:
        raise ArtefactError(f"{folder / MANIFEST} names no {MODEL}.")
    for name, sha in manifest.files.items():
        if name != MODEL:
            _check(folder, name, sha)
    model = _read(folder, MODEL)
    sha = sha256(model)
    _compare(folder, MODEL, sha, manifest.files[MODEL])
    if afresh or sha not in _sound:
        check_onnx(model)
        _sound.add(sha)
    return manifest, found, model


def frame_column(series: Any) -> Any:
    """A DataFrame's column as the intake takes it: typed arrays, or values with None."""
    dtype = series.dtype
    if hasattr(dtype, "is_numeric"):  # polars
        return series.to_numpy() if dtype.is_numeric() else series.to_list()
    if isinstance(dtype, np.dtype) and dtype.kind in "iufMb":
        return series.to_numpy()
    return series.astype(object).where(series.notna(), None).tolist()


def session_of(model: bytes) -> ort.InferenceSession:
    """A session on one thread that never spins.

    Raises:
        ArtefactError: ONNX Runtime cannot load it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        first = str(error).splitlines()[0][:200]
        raise ArtefactError(f"ONNX Runtime cannot load the model: {first}.") from error


def _read(folder: Path, name: str, most: int = MOST_BYTES) -> bytes:
    with os.fdopen(_open(folder, name, most), "rb") as file:
        return file.read(os.fstat(file.fileno()).st_size)  # room is made for as much as is asked


def _open(folder: Path, name: str, most: int = MOST_BYTES) -> int:
    """A descriptor of a plain file, never of a link, a pipe or something too large."""
    path = folder / name
    try:
        handle = os.open(path, os.O_RDONLY | _CAREFULLY)
    except OSError as error:
        is_link = path.is_symlink()
        raise ArtefactError(
            f"{path} is a link, which is refused." if is_link else f"No file {path}.",
            hint="Wanted a model folder such as runs/<id>/artefact.",
        ) from error
    about = os.fstat(handle)
    if stat.S_ISREG(about.st_mode) and about.st_size <= most:
        return handle
    os.close(handle)
    if not stat.S_ISREG(about.st_mode):
        raise ArtefactError(f"No file {path}: it is a folder, a pipe or a device.")
    raise ArtefactError(f"{path} has {about.st_size:,} bytes, at most {most:,} are read.")


def _check(folder: Path, name: str, wanted: str) -> None:
    """Hold a file against its hash, without having it in memory."""
    if not _FILE_NAME.fullmatch(name):
        raise ArtefactError(f"The manifest names the file {name[:80]!r}, which is refused.")
    with os.fdopen(_open(folder, name), "rb") as file:
        _compare(folder, name, hashlib.file_digest(file, "sha256").hexdigest(), wanted)


def _compare(folder: Path, name: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise ArtefactError(
            f"{folder / name} was changed after it was packed: its sha256 is "
            f"{found[:12]}, wanted {wanted[:12]}.",
            hint="Restore it from the registry, or run again.",
            rule="artifact_immutable",
            evidence={"file": name, "found": found, "wanted": wanted},
        )
