"""Looking again: nothing is read twice, and no change is missed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import polars as pl
import pytest

import modelwright as mw
from modelwright.core.errors import DataError
from projects import another_byte, make_shop, mixed_table, settled


@pytest.fixture
def looked(shop: Path) -> Path:
    """A project that was looked at, so that what was found is kept."""
    settled(shop / "shop.csv")
    mw.check(shop / "modelwright.yaml")
    return shop / "modelwright.yaml"


def test_a_table_that_stays_is_read_once(looked: Path) -> None:
    first, again = mw.check(looked), mw.check(looked)
    assert again == first
    assert again.schema is first.schema  # made once


def test_a_changed_byte_is_seen_whatever_the_date_says(looked: Path) -> None:
    table, before = looked.with_name("shop.csv"), mw.check(looked)
    another_byte(table, b"red", b"rad")
    after = mw.check(looked)
    assert after.fingerprint != before.fingerprint
    assert after.fingerprint == mw.check(make_anew(looked, table.read_bytes())).fingerprint


def make_anew(spec: Path, table: bytes) -> Path:
    """A project of the same spec and table that nobody looked at."""
    folder = spec.parent / "anew"
    folder.mkdir()
    (folder / "shop.csv").write_bytes(table)
    return Path(spec.rename(folder / spec.name))


@pytest.mark.parametrize(
    "more", ["data.seed=7", "data.drop=[big]", "limits.accuracy=0.5", "data.split.holdout=30 %"]
)
def test_another_spec_is_another_look(looked: Path, more: str) -> None:
    assert mw.check(looked, overrides=(more,)).schema is not mw.check(looked).schema


def test_a_quick_look_is_not_taken_for_a_thorough_one(looked: Path) -> None:
    assert mw.check(looked, quick=True).schema is not mw.check(looked).schema


def test_a_table_that_is_gone_is_missed(looked: Path) -> None:
    looked.with_name("shop.csv").unlink()
    with pytest.raises(DataError, match="No file"):
        mw.check(looked)


def test_a_file_more_in_a_folder_is_read(tmp_path: Path) -> None:
    make_shop(tmp_path)
    parts = tmp_path / "parts"
    parts.mkdir()
    mixed_table(300, seed=1).write_csv(parts / "a.csv")
    spec = tmp_path / "modelwright.yaml"
    spec.write_text(spec.read_text().replace("shop.csv", "parts"))
    settled(parts / "a.csv")
    assert [mw.check(spec).rows, mw.check(spec).rows] == [300, 300]
    mixed_table(200, seed=2).write_csv(parts / "b.csv")
    assert mw.check(spec).rows == 500


def test_the_commit_is_that_of_now(looked: Path) -> None:
    assert mw.check(looked).origin == {}
    git = ["git", "-C", str(looked.parent), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "shop.csv"], check=True)
    subprocess.run([*git, "commit", "-qm", "table"], check=True)
    assert len(mw.check(looked).origin["git"]) == 40


def test_compared_once_and_again_after_a_change(tmp_path: Path) -> None:
    one, two = tmp_path / "a.csv", tmp_path / "b.csv"
    for path in (one, two):
        pl.DataFrame({"x": ["red", "blue"] * 50, "y": range(100)}).write_csv(path)
    settled(one, two)
    first = mw.compare(one, two)
    assert mw.compare(one, two) is first
    another_byte(two, b"red", b"rad")
    changed = [c.name for c in mw.compare(one, two).columns if not c.equal]
    assert changed == ["x"]
