"""A look at labels reads the files that it needs; what it finds is in test_labels.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelwright.serve.journal_store import Folder
from modelwright.serve.labels import compact
from modelwright.watch.label_news import Remembered
from modelwright.watch.labels import Cursor, arrived_since
from watch.answers import NOW, answered, tell

DAY = 86_400.0


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of files that were read whole."""
    found: list[str] = []
    whole = Folder.get

    def watched(place: Folder, name: str) -> bytes:
        found.append(name)
        return whole(place, name)

    monkeypatch.setattr(Folder, "get", watched)
    return found


def test_a_label_costs_its_own_files(tmp_path: Path, reads: list[str]) -> None:
    to, ids = tmp_path / "journal", tmp_path / "ids"
    for number in range(40):
        answered(to, [f"{number}-{n}" for n in range(5)], number=number, at=NOW + number)
    for number in range(30):
        tell(to, (f"{number}-0", "yes", number))
    cursor, delivered = Cursor(), 0
    found, cursor = arrived_since(to, "shop", cursor, now=NOW + 50, remembered=ids)
    assert found.num_rows == 30 and len(reads) == 70
    reads.clear()
    assert arrived_since(to, "shop", cursor, now=NOW + 51, remembered=ids)[0].num_rows == 0
    assert reads == [], "nothing is new"
    tell(to, ("7-3", "no", 52), ("9-0", "no", 52))
    found, cursor = arrived_since(to, "shop", cursor, now=NOW + 52, remembered=ids)
    assert [(r["request_id"], r["label_before"]) for r in found.to_pylist()] == [
        ("7-3", None), ("9-0", "yes")
    ]  # fmt: skip
    assert len(reads) == 2, "the new labels, and what was said of 9-0 before"
    reads.clear()
    compact(Folder(to), "shop", NOW + DAY)
    reads.clear()
    found, cursor = arrived_since(to, "shop", cursor, now=NOW + 60, remembered=ids)
    assert found.num_rows == delivered and len(reads) == 1, "the merged file, once"


def test_files_come_and_go(tmp_path: Path) -> None:
    to, ids = tmp_path / "journal", tmp_path / "ids"
    for number in range(4):
        answered(to, [f"{number}"], number=number, at=NOW + number)
        tell(to, (f"{number}", "yes", 10 + number))
    _, cursor = arrived_since(to, "shop", None, now=NOW + 50, remembered=ids)
    for path in sorted((to / "shop").rglob("*.parquet"))[:3]:
        path.unlink()
    tell(to, ("0", "no", 60), ("3", "no", 60))
    found, cursor = arrived_since(to, "shop", cursor, now=NOW + 61, remembered=ids)
    assert [one["request_id"] for one in found.to_pylist()] == ["3"]
    assert [one[0] for one in cursor.pending] == ["0"]


def test_the_index_may_be_lost(tmp_path: Path) -> None:
    to, ids = tmp_path / "journal", tmp_path / "ids"
    answered(to, ["a", "b"])
    tell(to, ("a", "yes", 1))
    _, cursor = arrived_since(to, "shop", None, now=NOW + 5, remembered=ids)
    for path in ids.rglob("*.*"):
        path.unlink()
    tell(to, ("b", "yes", 6), ("a", "no", 7))
    found, _ = arrived_since(to, "shop", cursor, now=NOW + 8, remembered=ids)
    assert [(r["request_id"], r["label_before"]) for r in found.to_pylist()] == [
        ("b", None), ("a", "yes")
    ]  # fmt: skip


def test_a_merge_between_the_list_and_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "journal"
    answered(to, ["a", "b"])
    tell(to, ("a", "yes", 1))
    tell(to, ("b", "yes", 2))
    whole, left = Folder.get, [True]

    def merged_first(place: Folder, name: str) -> bytes:
        if left:
            left.clear()
            compact(Folder(to), "shop", NOW + DAY)
        return whole(place, name)

    monkeypatch.setattr(Folder, "get", merged_first)
    news = Remembered(tmp_path / "ids").news(Folder(to), "shop", Cursor(), has_unseen=True)
    assert sorted(news.new_ids.to_pylist()) == ["a", "b"] and len(news.statements) == 2
    assert news.has_new and len(news.senders) == 2
