"""Hostile model folders: refused in one line, nothing of them is run, and what serves goes on."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from mlflow import MlflowClient
from onnx import helper, numpy_helper

import modelwright as mw
from modelwright.core.errors import ArtefactError
from modelwright.core.store import sha256, to_json
from modelwright.pack.artefact import Artefact
from modelwright.serve.aliases import DIGEST, RUN, Place
from modelwright.serve.loading import load_place
from modelwright.serve.places import UNDER_WAY
from modelwright.serve.settings import Settings, Source
from projects import replace_model, writable_copy
from serve.hostile_json import post
from serve.raw import ask, request, resident, until

ROOM = 300e6
"""Bytes that a refusal may take, of the 16 GB that some ask for."""


class Evil:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def change(folder: Path, name: str, data: bytes, *, named: bool = True) -> None:
    """Put a file into a folder, and its hash into the manifest."""
    (folder / name).write_bytes(data)
    if named:
        rewrite(folder, lambda m: m["files"].__setitem__(name, sha256(data)))


def rewrite(folder: Path, how: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    """Change the manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    how(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def model_of(folder: Path) -> onnx.ModelProto:
    return onnx.load_model_from_string((folder / "model.onnx").read_bytes())


def with_constant(folder: Path, **about: object) -> None:
    model = model_of(folder)
    model.graph.initializer.append(onnx.TensorProto(name="evil", data_type=11, **about))
    replace_model(folder, model.SerializeToString())


def external(folder: Path) -> None:
    (folder.parent / "secret").write_bytes(b"\0" * 8)
    tensor = onnx.TensorProto(name="evil", data_type=11, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="../secret")
    model = model_of(folder)
    model.graph.initializer.append(tensor)
    replace_model(folder, model.SerializeToString())


def with_nodes(folder: Path, nodes: list[onnx.NodeProto], **constants: np.ndarray) -> None:
    """Add what `nodes` make as `extra` to the answers."""
    model = model_of(folder)
    output = json.loads((folder / "manifest.json").read_text())["outputs"]["probabilities"]
    for node in model.graph.node:
        node.output[:] = ["answers" if name == output else name for name in node.output]
        node.input[:] = ["answers" if name == output else name for name in node.input]
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
    model.graph.node.extend([*nodes, helper.make_node("Add", ["answers", "extra"], [output])])
    replace_model(folder, model.SerializeToString())


def doubled(folder: Path) -> None:
    """A number that is doubled 31 times: 16 GB out of a few hundred bytes."""
    names = [f"d{i}" for i in range(32)]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=0) for a, b in itertools.pairwise(names)]
    nodes.append(helper.make_node("ReduceSum", [names[-1]], ["extra"], keepdims=0))
    with_nodes(folder, nodes, d0=np.zeros(1))


def multiplied(folder: Path) -> None:
    """A column times a row: 16 GB."""
    nodes = [helper.make_node("MatMul", ["column", "row"], ["m"])]
    nodes.append(helper.make_node("ReduceSum", ["m"], ["extra"], keepdims=0))
    with_nodes(folder, nodes, column=np.zeros((45_000, 1)), row=np.zeros((1, 45_000)))


def operator(folder: Path, name: str, **about: object) -> None:
    model = model_of(folder)
    model.graph.node.append(helper.make_node(name, [model.graph.input[0].name], ["evil"], **about))
    replace_model(folder, model.SerializeToString())


def nested(folder: Path) -> None:
    inner = helper.make_graph([], "i", [], [helper.make_tensor_value_info("y", 1, [None])])
    operator(folder, "If", then_branch=inner, else_branch=inner)


def nested_in_add(folder: Path) -> None:
    operator(folder, "Add", body=helper.make_graph([], "i", [], []))


def linked(folder: Path, how: str) -> None:
    outside = folder.parent / "outside"
    (folder / "spec.json").rename(outside)
    getattr(folder / "spec.json", how)(outside)


def foreign_link(folder: Path) -> None:
    """A hard link to a file of somebody else, of which nothing may come out."""
    (folder.parent / "shadow").write_bytes(b"root:SECRET:1:1")
    (folder / "golden.json").unlink()
    (folder / "golden.json").hardlink_to(folder.parent / "shadow")


def named_pipe(folder: Path) -> None:
    (folder / "golden.json").unlink()
    os.mkfifo(folder / "golden.json")


def huge_file(folder: Path, name: str) -> None:
    with (folder / name).open("wb") as file:
        file.truncate(2**40)


def renamed_input(folder: Path) -> None:
    model = model_of(folder)
    model.graph.input[0].name = "other"
    replace_model(folder, model.SerializeToString())


def golden(folder: Path, how: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    found = json.loads((folder / "golden.json").read_text())
    how(found)
    change(folder, "golden.json", json.dumps(found).encode())


def as_model(data: bytes) -> Callable[[Path], object]:
    return lambda folder: replace_model(folder, data)


def manifest_of(folder: Path, data: bytes) -> None:
    (folder / "manifest.json").write_bytes(data)


def named(folder: Path, files: dict[str, str]) -> None:
    rewrite(folder, lambda m: m["files"].update(files))


def changed(folder: Path, **about: object) -> None:
    rewrite(folder, lambda m: m.update(about))


def other_levels(folder: Path) -> None:
    rewrite(folder, lambda m: m["schema"]["target"].update(levels=["a", "b", "c"]))


def cut_model(folder: Path) -> None:
    replace_model(folder, (folder / "model.onnx").read_bytes()[:-100])


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickle for a model": (
        lambda f: replace_model(f, pickle.dumps(Evil(f / "ran"))),
        "not ONNX|cut short",
    ),
    "pickle for golden rows": (
        lambda f: change(f, "golden.json", pickle.dumps(Evil(f / "ran"))),
        "golden.json is not",
    ),
    "pickle for a manifest": (
        lambda f: manifest_of(f, pickle.dumps(Evil(f / "ran"))),
        "not a valid",
    ),
    "external data": (external, "data in another file"),
    "symlink": (lambda f: linked(f, "symlink_to"), "is a link"),
    "foreign hard link": (foreign_link, "was changed"),
    "wrong digest": (lambda f: (f / "model.onnx").write_bytes(b"other"), "was changed"),
    "named pipe": (named_pipe, "a pipe or a device"),
    "zip slip": (
        lambda f: named(f, {"../../evil": "0" * 64}),
        "which is refused",
    ),
    "absolute name": (
        lambda f: named(f, {"/etc/passwd": "0" * 64}),
        "which is refused",
    ),
    "name with a line": (
        lambda f: named(f, {"a\n": "0" * 64}),
        "which is refused",
    ),
    "folder for a file": (
        lambda f: ((f / "golden.json").unlink(), (f / "golden.json").mkdir()),
        "a folder",
    ),
    "constant of 16 GB": (lambda f: with_constant(f, dims=[2**31]), "2,147,483,648 values, but 0"),
    "constant of 2^120": (lambda f: with_constant(f, dims=[2**60, 2**60]), "values, but 0"),
    "constant of -1": (lambda f: with_constant(f, dims=[-1]), "says that it has -1"),
    "ConstantOfShape": (
        lambda f: operator(f, "ConstantOfShape"),
        "'ConstantOfShape', which is refused",
    ),
    "Expand": (lambda f: operator(f, "Expand"), "'Expand', which is refused"),
    "Tile": (lambda f: operator(f, "Tile"), "'Tile', which is refused"),
    "doubled to 16 GB": (doubled, "was refused: a process that answered"),
    "multiplied to 16 GB": (multiplied, "was refused: a process that answered"),
    "nested graph": (nested, "'If', which is refused"),
    "nested in Add": (nested_in_add, "nests graphs"),
    "custom operator": (
        lambda f: operator(f, "Run", domain="com.evil"),
        "'com.evil', which is refused",
    ),
    "cut model": (cut_model, "cut short"),
    "empty model": (as_model(b""), "no graph"),
    "empty graph": (as_model(b"\x3a\x00"), "refused|cannot load"),
    "random model": (as_model(bytes(range(256)) * 40), "cut short|not ONNX"),
    "model of a terabyte": (lambda f: huge_file(f, "model.onnx"), "1,099,511,627,776 bytes"),
    "golden rows of a terabyte": (lambda f: huge_file(f, "golden.json"), "1,099,511,627,776 bytes"),
    "manifest of a terabyte": (lambda f: huge_file(f, "manifest.json"), "1,099,511,627,776 bytes"),
    "other input": (renamed_input, "refused|cannot"),
    "deep manifest": (
        lambda f: manifest_of(f, b'{"format": 2, "schema": ' + b"[" * 10**6),
        "not a valid",
    ),
    "manifest list": (lambda f: manifest_of(f, b"[]"), "not a valid"),
    "format 99": (lambda f: rewrite(f, lambda m: m.update(format=99)), "has format 99"),
    "no model": (
        lambda f: rewrite(f, lambda m: m["files"].pop("model.onnx")),
        "names no model.onnx",
    ),
    "other columns": (
        lambda f: rewrite(f, lambda m: m["inputs"].update(evil=["nope"])),
        "refused|do not fit",
    ),
    "other outputs": (
        lambda f: changed(f, outputs={"label": "a", "probabilities": "b"}),
        "refused",
    ),
    "other levels": (
        other_levels,
        "refused|do not fit",
    ),
    "golden rows of other lengths": (
        lambda f: golden(f, lambda g: g["columns"]["big"].pop()),
        "golden|do not fit",
    ),
    "ragged golden answers": (
        lambda f: golden(f, lambda g: g["answers"][3].append(1.0)),
        "do not fit",
    ),
    "golden rows without columns": (
        lambda f: golden(f, lambda g: g["columns"].clear()),
        "golden|do not fit",
    ),
    "golden answers of another": (
        lambda f: golden(f, lambda g: g["answers"].__setitem__(0, [0.4, 0.6])),
        "golden row 0",
    ),
    "golden answers of text": (lambda f: golden(f, lambda g: g.update(answers="x")), "not a valid"),
    "changed spec": (lambda f: change(f, "spec.json", b"{}", named=False), "was changed after"),
}  # fmt: skip


def message(folder: Path) -> str:
    """Why a server does not load a folder."""
    source = Source(name="shop", folder=str(folder))
    with pytest.raises(ArtefactError) as caught:
        load_place(source, Place("3", "", str(folder)), Settings(models=(source,)))
    return str(caught.value)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_folders_are_refused(released: mw.Released, tmp_path: Path, name: str) -> None:
    spoil, wanted = HOSTILE[name]
    folder = writable_copy(released.run / "artefact", tmp_path / "artefact")
    spoil(folder)
    before = resident()
    said = message(folder)
    assert any(part in said.splitlines()[0] for part in wanted.split("|")), said
    assert len(said.splitlines()) <= 2  # why, and what to do
    assert "SECRET" not in said and not (folder / "ran").exists()
    assert resident() - before < ROOM


@pytest.mark.parametrize(
    "name", ["pickle for a model", "external data", "symlink", "zip slip", "constant of 16 GB",
             "multiplied to 16 GB", "deep manifest", "ragged golden answers"],
)  # fmt: skip
def test_the_process_ends_with_3_and_says_why(
    released: mw.Released, tmp_path: Path, name: str
) -> None:
    spoil, wanted = HOSTILE[name]
    folder = writable_copy(released.run / "artefact", tmp_path / "artefact")
    spoil(folder)
    command = [sys.executable, "-m", "modelwright.serve", "--artefact", str(folder), "--port", "0"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    first = done.stderr.splitlines()[0]
    assert done.returncode == 3 and not done.stdout and "Traceback" not in done.stderr
    assert first.startswith("modelwright: ") and any(p in first for p in wanted.split("|"))
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before < ROOM / 1024


def test_a_hard_link_of_the_right_bytes_is_the_right_file(
    released: mw.Released, tmp_path: Path
) -> None:
    """Back-ups are made of them; the bytes are verified and no path is given to the runtime."""
    folder = writable_copy(released.run / "artefact", tmp_path / "artefact")
    linked(folder, "hardlink_to")
    assert mw.Artefact.load(folder).predict([mw.Artefact.load(folder).manifest.example])


def test_pickles_beside_the_model_are_not_looked_at(released: mw.Released, tmp_path: Path) -> None:
    folder = writable_copy(released.run / "artefact", tmp_path / "artefact")
    for name in ("model.pkl", "python_model.pkl", "code.py", "MLmodel"):
        change(folder, name, pickle.dumps(Evil(folder / "ran")), named=False)
    change(folder, "named.pkl", pickle.dumps(Evil(folder / "ran")))
    assert mw.Artefact.load(folder).predict([mw.Artefact.load(folder).manifest.example])
    assert not (folder / "ran").exists()


def refusals(index: list[dict[str, str]]) -> list[str]:
    """Why the newest version is not in service, once it has been looked at."""
    said = [entry["reason"] for entry in index if entry["reason"]]
    return [one for one in said if not one.endswith(UNDER_WAY)]


@pytest.mark.parametrize("names", [
    ("external data", "multiplied to 16 GB", "golden answers of another"),
    pytest.param(
        ("pickle for a model", "symlink", "zip slip", "wrong digest", "constant of 16 GB"),
        marks=pytest.mark.slow,  # what is not as it should be is fetched, which imports MLflow
    ),
])  # fmt: skip
def test_what_serves_goes_on_when_the_registry_names_something_hostile(
    project: Path, names: tuple[str, ...]
) -> None:
    """Registered by hand with the digest it has, so that only the server stands in its way."""
    store = f"sqlite:///{project / '.modelwright' / 'mlflow.db'}"
    settings = Settings(models=(Source(name="shop", project=str(project)),), port=0, quiet=True)
    config = project / "serve.json"
    config.write_bytes(to_json(settings))
    client = MlflowClient(store, store)
    champion = client.get_model_version_by_alias("shop", "champion")
    good = project / "runs" / champion.tags[RUN] / "artefact"
    command = [sys.executable, "-m", "modelwright.serve", "--config", str(config)]
    said = project / "said"
    with said.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout
        port = int(process.stdout.readline().strip().rsplit(":", 1)[1])
        (worker,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        asked = request(path="/v2/repository/index", method="POST")
        row = post("/predict", Artefact.load(good).manifest.example)
        wanted = ask(port, row)[0]
        assert wanted.json["version"] == str(champion.version)
        before = resident(worker)
        for name in names:
            folder = writable_copy(good, project / "runs" / name.replace(" ", "-") / "artefact")
            HOSTILE[name][0](folder)
            # a digest of its own: by that of the champion its folder would be found
            rewrite(folder, lambda m, name=name: m.__setitem__("code", name))
            digest = sha256((folder / "manifest.json").read_bytes())
            made = client.create_model_version("shop", str(folder))
            for key, value in ((DIGEST, digest), (RUN, folder.parent.name)):
                client.set_model_version_tag("shop", made.version, key, value)
            client.set_registered_model_alias("shop", "champion", made.version)
            until(lambda: refusals(ask(port, asked)[0].json), 60)
            answers = [ask(port, row)[0] for _ in range(20)]
            assert {(a.status, a.body) for a in answers} == {(200, wanted.body)}
            assert not (folder / "ran").exists(), name
            client.set_registered_model_alias("shop", "champion", champion.version)
            until(lambda: not any(e["reason"] for e in ask(port, asked)[0].json), 30)
        assert resident(worker) - before < ROOM and Path(f"/proc/{worker}").exists()
    finally:
        process.terminate()
        assert process.wait(20) == 0
    assert "Traceback" not in said.read_text()
