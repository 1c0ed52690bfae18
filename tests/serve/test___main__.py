"""`python -m modelwright.serve`: the server that has neither a registry nor a spec."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import modelwright as mw
from modelwright.release.registry import Registry
from modelwright.serve import journal_files
from modelwright.watch.subject import Library
from serve.running import started

THIN = ("mlflow", "optuna", "polars", "sklearn", "lightgbm", "duckdb", "sqlalchemy")
WITHOUT = "import sys, runpy\nfor name in {names!r}: sys.modules[name] = None\n"
RUN = "runpy.run_module('modelwright.serve', run_name='__main__')"


def without(*names: str) -> str:
    """Python that serves where some packages are not installed."""
    return WITHOUT.format(names=names) + RUN


def test_a_thin_install_keeps_a_journal_that_a_watcher_finds(project: Path, tmp_path: Path) -> None:
    folder, version = mw.locate("shop", folder=project)
    example = mw.Artefact.load(folder).manifest.example
    said = ("--artefact", str(folder), "--name", "shop", "--version", version.number, "--port", "0")
    words = ("-c", without(*THIN), *said, "--journal", "answers", "--access-log")
    with started(tmp_path, *words, cwd=tmp_path) as server:
        assert server.predict(example, x_request_id="order-7").status == 200
        assert server.end() == 0
    lines = map(json.loads, server.errors.read_text(encoding="utf-8").splitlines())
    assert [line["id"] for line in lines if line["path"] == "/predict"] == ["order-7"]
    [found] = journal_files.segments(tmp_path / "answers", "shop")
    assert found.table["request_id"].to_pylist() == ["order-7"]
    known = Library(Registry(project), "shop").manifest_of("shop", found.version, found.digest)
    assert known is not None, "it is the registry's version, so its answers are counted"


def test_where_a_journal_cannot_be_kept_it_says_so_and_does_not_start(
    project: Path, tmp_path: Path
) -> None:
    folder, _ = mw.locate("shop", folder=project)
    for names, place, said in (
        (("pyarrow",), "answers", ("pyarrow, which writes the journal", "modelwright[journal]")),
        ((), " ", ("The journal has no place", "--journal journal")),
    ):
        done = subprocess.run(
            [sys.executable, "-c", without(*names), "--artefact", str(folder), "--port", "0",
             "--journal", place],
            capture_output=True, text=True, timeout=60, cwd=tmp_path, env=os.environ.copy(),
        )  # fmt: skip
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert all(words in " ".join(done.stderr.split()) for words in said), done.stderr
    assert not (tmp_path / "answers").exists()
