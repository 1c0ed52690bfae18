"""The README's blocks are true: the spec is valid, the commands run, the Python works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import modelwright as mw
from modelwright.core.spec_file import parse_spec
from modelwright.ways_in.operations import OPERATIONS
from projects import QUICK, mixed_table

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, flags=re.S)


def test_the_spec_is_valid() -> None:
    [text] = blocks("yaml")
    spec = parse_spec(text, Path("modelwright.yaml")).spec
    assert spec.name == "income" and len(spec.parsed_limits()) == 3


def test_the_make_targets_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.M)
    for name in re.findall(r"make (\w+)", README):
        assert name in (*targets, "PYTHON"), name


@pytest.mark.slow
def test_the_commands_run_in_their_order(tmp_path: Path) -> None:
    mixed_table(3000).rename({"bought": "income"}).write_csv(tmp_path / "data.csv")
    mixed_table(50, seed=2).drop("bought").write_csv(tmp_path / "new.csv")
    commands = [line.split("#")[0].split() for line in blocks("bash")[1].splitlines()]
    names = {operation.name for operation in OPERATIONS}
    for program, name, *rest in commands:
        assert program == "modelwright" and name in names
        if name == "serve":
            continue  # tests/ways_in/test_cli.py serves by name
        extra = (
            [f"--set={text}" for text in (*QUICK, "fit.families=[linear]")] if name == "run" else []
        )
        done = subprocess.run(
            [sys.executable, "-m", "modelwright", name, *rest, *extra],
            cwd=tmp_path, capture_output=True, text=True, env=os.environ,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 51


@pytest.mark.slow
def test_the_python_works(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [text] = blocks("python")
    names = re.findall(r"mw\.(\w+)", text)
    assert names and all(name in mw.__all__ for name in names)
    monkeypatch.chdir(shop)
    real = mw.run
    monkeypatch.setattr(mw, "run", lambda spec: real(spec, overrides=QUICK), raising=False)
    exec(text.replace('"income"', '"shop"'), {"frame": mixed_table(5).drop("bought")})
