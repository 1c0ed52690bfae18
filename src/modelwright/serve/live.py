"""A version of a model that serves: verified, answered its golden rows, warm."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from modelwright.core.errors import ArtefactError
from modelwright.core.intake import Feeds
from modelwright.core.records import Manifest
from modelwright.core.schema import Schema
from modelwright.pack import golden
from modelwright.pack.artefact import MANIFEST, ORT_ERRORS, Answers, verified
from modelwright.release import trust
from modelwright.release.smoke import try_out
from modelwright.serve.engine import engine_of, limit_p95
from modelwright.serve.metrics import Served as VersionCounts
from modelwright.serve.names import is_plain_name
from modelwright.serve.rows import RowReader
from modelwright.serve.settings import Settings


class LiveModel:
    """One version, loaded; see `load`.

    Attributes:
        model, version: what it is called in answers and routes.
        digest: sha256 of its manifest.
        reader: of typed rows.
        writer: of the answers to `/predict`.
        limit_p95: the spec's limit in seconds, or None.
        loaded_at, made_at: Unix time; the second of its manifest's file.
        lines: headers of its usual answer, written out.
        counts: where its answers are counted, from when it is put into service.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, digest: str, data: bytes, settings: Settings
    ) -> None:
        self.folder, self.digest = folder, digest
        self.manifest = manifest
        self.model, self.version = manifest.model, "0"
        self.engine = engine_of(manifest, data, folder)
        self.reader = RowReader(
            self.engine,
            refuse_unseen=settings.unseen_levels == "refuse",
            refuse_range=settings.out_of_range == "refuse",
        )
        self.writer = PredictionWriter(manifest.schema)
        self.limit_p95 = limit_p95(manifest)
        self.loaded_at = time.time()
        self.made_at = (folder / MANIFEST).stat().st_mtime
        self.counts: VersionCounts | None = None
        self.lines = b""

    @classmethod
    def load(
        cls,
        folder: Path,
        settings: Settings,
        *,
        name: str,
        version: str,
        digest: str | None = None,
        tried: bool = False,
    ) -> LiveModel:
        """Load a model folder, and let it prove itself before anybody is answered.

        Args:
            folder: with manifest.json and model.onnx.
            settings: of the server.
            name, version: what it is called.
            digest: the sha256 that its manifest must have; a registered one was tried out before.
            tried: skip the trial in a child with bounded memory.

        Raises:
            ArtefactError: changed, foreign, not signed, too large, or it answers otherwise than
                where it was packed. Nothing of it was run in this process before its bytes and its
                signature were looked at.
        """
        manifest, found, data = verified(folder, digest)
        trust.verify(folder, found, name)
        if digest is None and not tried:
            try_out(folder, found)
        live = cls(folder, manifest, found, data, settings)
        live.model, live.version = name, version
        live.lines = b"x-modelwright-version: %b\r\n" % version.encode("ascii", "replace")
        live.check_golden()
        return live

    @property
    def schema(self) -> Schema:
        """What it reads and predicts."""
        return self.manifest.schema

    def run(self, feeds: Feeds) -> Answers:
        """Answer checked rows in this thread."""
        return self.engine.run(self.engine.inputs(feeds))

    def check_golden(self) -> None:
        """Answer the recorded rows.

        Raises:
            ArtefactError: an answer differs from the recorded one.
        """
        known = golden.read(self.folder, self.manifest)
        if known is None:
            return
        try:
            golden.check(known[1], self.run(known[0]), self.folder)
        except ORT_ERRORS as error:
            raise ArtefactError(f"{self.folder} cannot answer its golden rows: {error}") from error


class PredictionWriter:
    """Answers of one schema to the JSON of `/predict`, without a dictionary a row."""

    def __init__(self, schema: Schema) -> None:
        target = schema.target
        names = ["prediction"]
        if target.interval:
            names += ["low", "high"]
        names += [f"p_{level}" for level in target.levels]
        self._row = _row_of(names)
        self._whole = msgspec.defstruct(
            "Predictions", [("model", str), ("version", str), ("predictions", list)], gc=False
        )
        self._encode = msgspec.json.Encoder().encode

    def objects(self, columns: Sequence[Sequence[Any]]) -> list[Any]:
        """Of each row what `body` takes; a column each of the prediction, ends, probabilities."""
        return list(map(self._row, *columns))

    def body(self, model: str, version: str, rows: list[Any]) -> bytes:
        """`{"model", "version", "predictions": [...]}` of some rows of a run."""
        return self._encode(self._whole(model, version, rows))


def _row_of(names: list[str]) -> Callable[..., Any]:
    """Makes what is encoded as an object with these fields, of their values in this order."""
    if not all(is_plain_name(name) for name in names):
        return lambda *values: dict(zip(names, values, strict=True))
    places = [f"c{number}" for number in range(len(names))]
    return msgspec.defstruct(
        "Prediction",
        [(place, Any) for place in places],
        rename=dict(zip(places, names, strict=True)),
        gc=False,
    )
