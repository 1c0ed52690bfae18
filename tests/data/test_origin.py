"""DVC pointers and git are recorded with the data."""

from __future__ import annotations

import subprocess
from pathlib import Path

from modelwright.data.dataset import load
from modelwright.data.origin import dvc_hash, origin_of
from projects import mixed_table, spec_for


def git(folder: Path, *words: str) -> str:
    name = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *name, *words], cwd=folder, capture_output=True, text=True,
                          check=True)  # fmt: skip
    return done.stdout.strip()


def test_a_dvc_pointer_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    (tmp_path / "t.csv.dvc").write_text("outs:\n- md5: abc123\n  size: 4\n  path: t.csv\n")
    assert origin_of("t.csv", tmp_path) == {"dvc": "md5 abc123"}


def test_a_dvc_lock_above_the_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "t.csv").write_text("a\n1\n")
    (tmp_path / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  clean:\n    cmd: x\n    outs:\n"
        "    - path: data/t.csv\n      md5: def456\n"
    )
    assert dvc_hash(tmp_path / "data" / "t.csv") == "md5 def456"
    (tmp_path / "dvc.lock").write_text("stages: [")
    assert dvc_hash(tmp_path / "data" / "t.csv") == ""


def test_the_commit_of_a_file_and_its_changes(tmp_path: Path) -> None:
    mixed_table(100).write_csv(tmp_path / "t.csv")
    assert origin_of("t.csv", tmp_path) == {}
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "t.csv")
    git(tmp_path, "commit", "-qm", "data")
    head = git(tmp_path, "rev-parse", "HEAD")
    record = load(spec_for(tmp_path, "t.csv", "bought"), thorough=False).record
    assert record.origin == {"git": head}
    (tmp_path / "t.csv").open("a").write("\n")
    assert origin_of("t.csv", tmp_path) == {"git": f"{head}+changes"}
