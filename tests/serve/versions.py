"""Made-up versions of the shop: right answers by a formula, and faults when a row asks for them.

`size, cm` from 5000 to 6000 is the row that a faulty version cannot answer, or answers slowly. No
golden or made-up row lies there, so that such a version loads and serves like any other.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import modelwright as mw
from modelwright.core.records import Manifest, ReleaseRecord
from modelwright.core.store import from_json, sha256
from modelwright.pack import golden
from modelwright.pack.artefact import Answers, Artefact
from modelwright.pack.graph import GraphWriter, strings
from modelwright.release.cache import CACHE
from modelwright.release.registry import HOME, Registry
from modelwright.serve.engine import Engine
from projects import replace_model, writable_copy

TRIGGER = 5500.0
WIDTH = 384


def row_of(size: float = 0.0, **more: Any) -> dict[str, Any]:
    """A row of the shop."""
    return {"size, cm": size, "colour": "red", "big": 5, "member": True, "start": None, **more}


def share(version: int, size: float) -> float:
    """The probability of `yes` that such a version gives a row, up to rounding."""
    return 1 / (1 + math.exp(-(size / 100 + version)))


def graph_of(
    version: int, manifest: Manifest, *, fails: bool = False, sleeps: int = 0, width: int = WIDTH
) -> bytes:
    """Bytes of a graph that answers sigmoid(size / 100 + version).

    Args:
        fails: it cannot answer the trigger.
        sleeps: matrix products that a batch with the trigger costs, about 4 ms each.
        width: of the matrices; with 1024 a product takes about 70 ms.
    """
    writer = GraphWriter()
    kinds = {"numbers": "float64", "texts": "string", "times": "int64"}
    for name, columns in manifest.inputs.items():
        writer.input(name, kinds[name], [None, len(columns)])
    at = manifest.inputs["numbers"].index("size, cm")
    given = writer.add("Gather", "numbers", writer.constant([at], np.int64), axis=1)
    zero = writer.constant([[0.0]])
    size = writer.add("Where", writer.add("IsNaN", given), zero, given)
    odd = writer.add("Mul", *[
        writer.add("Cast", test, to=7)
        for test in (
            writer.add("GreaterOrEqual", size, writer.constant([[5000.0]])),
            writer.add("GreaterOrEqual", writer.constant([[6000.0]]), size),
        )
    ])  # fmt: skip
    score = writer.add("Add", writer.add("Div", size, writer.constant([[100.0]])),
                       writer.constant([[float(version)]]))  # fmt: skip
    p = writer.add("Sigmoid", score)
    if fails:
        p = writer.add("Mul", p, writer.add("Gather", writer.constant([1.0]), odd))
    if sleeps:
        p = writer.add("Add", p, _sleep(writer, odd, sleeps, width))
    shares = writer.add("Concat", writer.add("Sub", writer.constant([[1.0]]), p), p, axis=1)
    label = writer.add("Gather", writer.constant(strings(["no", "yes"])),
                       writer.add("ArgMax", shares, axis=1, keepdims=0))  # fmt: skip
    writer.output(label, "label", "string", [None])
    writer.output(shares, "probabilities", "float64", [None, 2])
    return bytes(writer.finish("shop").SerializeToString())


def _sleep(writer: GraphWriter, odd: str, products: int, width: int) -> str:
    """Zero, after work of a size that depends on the rows: over which axis is summed decides
    whether a vector or a matrix is multiplied on."""
    once = writer.add("ReduceSum", odd, writer.constant([0, 1], np.int64), keepdims=0)
    axis = writer.add("Min", writer.add("Reshape", once, writer.constant([1], np.int64)),
                      writer.constant([1], np.int64))  # fmt: skip
    square = writer.constant(np.full((width, width), 1.0 / width))
    found = writer.add("Mul", writer.add("ReduceSum", square, axis, keepdims=1),
                       writer.constant(np.ones((1, width))))  # fmt: skip
    for step in range(products):
        unlike = writer.constant(np.full((width, width), 1.0 / width + step * 1e-9))
        found = writer.add("MatMul", found, unlike if step < 2 else square)
    total = writer.add("ReduceSum", found, writer.constant([0, 1], np.int64), keepdims=0)
    return writer.add("Mul", total, writer.constant(0.0))


def made_version(template: Path, place: Path, model: bytes, *, with_golden: bool = True) -> str:
    """A copy of a model folder with another graph and its golden answers; its digest."""
    folder = writable_copy(template, place)
    for path in folder.iterdir():
        path.chmod(0o644)
    digest = replace_model(folder, model)
    if not with_golden:
        return digest
    manifest = from_json((folder / "manifest.json").read_bytes(), Manifest)
    rows = golden.probe_rows(manifest.schema, manifest.baseline, golden.rows_of(manifest.schema))
    engine = Engine(manifest, model)
    return replace_golden(folder, rows, engine.run(engine.inputs(rows)))


def replace_golden(folder: Path, rows: Any, answers: Answers) -> str:
    """Other golden answers, as the manifest then says; its new digest."""
    document = json.loads((folder / "manifest.json").read_text())
    schema = from_json((folder / "manifest.json").read_bytes(), Manifest).schema
    data = msgspec.json.encode(golden.record(schema, rows, answers))
    (folder / golden.GOLDEN).write_bytes(data)
    document["files"][golden.GOLDEN] = sha256(data)
    (folder / "manifest.json").write_text(json.dumps(document))
    return sha256((folder / "manifest.json").read_bytes())


def without_limits(folder: Path) -> str:
    """Take the limits out of a manifest; its new digest."""
    document = json.loads((folder / "manifest.json").read_text())
    document["limits"] = []
    (folder / "manifest.json").write_text(json.dumps(document))
    return sha256((folder / "manifest.json").read_bytes())


class Shop:
    """A project with made-up versions.

    Attributes:
        folders: number -> model folder.
    """

    def __init__(self, project: Path) -> None:
        self.project = project
        self.registry = Registry(project)
        first = self.registry.resolve("shop")
        self._first = first
        self.template = project / "runs" / first.run / "artefact"
        self.manifest = from_json((self.template / "manifest.json").read_bytes(), Manifest)
        run = project / "runs" / first.run
        self._record = from_json((run / "release.json").read_bytes(), ReleaseRecord)
        self.folders = {first.number: self.template}

    def add(self, *, baseline: bool = False, limits: bool = True, **fault: Any) -> str:
        """Register a made-up version whose answers follow from its number.

        Args:
            baseline: it has that of the first one's run.
            limits: it has those of the spec.
            fault: see `graph_of`.
        """
        number = max(map(int, self.folders)) + 1
        return self.put(
            graph_of(number, self.manifest, **fault),
            baseline=baseline,
            limits=limits,
        )

    def put(self, model: bytes, *, baseline: bool = False, limits: bool = True) -> str:
        """Register a version with that graph; its number."""
        cache = self.project / HOME / CACHE
        cache.mkdir(parents=True, exist_ok=True)
        place = cache / "being made"
        digest = made_version(self.template, place, model)
        if not limits:
            digest = without_limits(place)
        folder = place.rename(cache / digest)
        beside = self._record.baseline if baseline else ""
        record = msgspec.structs.replace(self._record, artefact=digest, baseline=beside)
        number = self.registry.register(Artefact.load(folder), record, self._first.mlflow_run)
        self.folders[number] = folder
        return number

    def move(self, version: str, alias: str = "champion") -> None:
        """Point an alias at a version, without asking anybody."""
        self.registry.set_alias("shop", alias, version)

    def spoil_golden(self, version: str) -> None:
        """Register another version of these files, whose recorded answers are not its own."""
        folder = self.folders[version]
        manifest = from_json((folder / "manifest.json").read_bytes(), Manifest)
        known = golden.read(folder, manifest)
        assert known is not None
        wrong = Answers(manifest.schema, probabilities=known[1][:, ::-1])
        for path in folder.iterdir():
            path.chmod(0o644)
        digest = replace_golden(folder, known[0], wrong)
        self.folders[version] = folder.rename(folder.with_name(digest))
        with self.registry.client() as client:
            client.set_model_version_tag("shop", version, "modelwright.digest", digest)

    def answers_of(self, *versions: str) -> dict[str, list[Any]]:
        """The answers of some versions to the test rows."""
        rows = [row_of(float(size)) for size in range(-40, 60, 5)]
        return {v: mw.Artefact.load(self.folders[v]).predict(rows) for v in versions}

    def answers(self, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """version -> what it says to each row, by the plain graph."""
        return {
            number: mw.Artefact.load(folder).predict(rows)
            for number, folder in self.folders.items()
        }
