"""Real databases: a file of the journal counts once, whoever tries, and however often."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelwright.serve.journal_store import Folder, file_name
from modelwright.watch.summaries import Plan, Summary
from modelwright.watch.summary_store import SummaryStore, count_journal
from watch.counted import BEGIN, manifest, table

PLAN = Plan.of(manifest())
FIRST = int(BEGIN.timestamp()) // 60 * 60
DIGEST = "ab" * 32


@pytest.fixture
def store(where: str) -> Iterator[SummaryStore]:
    found = SummaryStore(where)
    yield found
    found.close()


def window(store: SummaryStore, begin: int = FIRST, end: int = FIRST + 180) -> Summary:
    return store.window(PLAN, "shop", "3", DIGEST, begin, end)


def test_a_file_counts_once(store: SummaryStore) -> None:
    minutes = PLAN.count(table(500))
    assert store.add("a", "shop", "3", DIGEST, minutes)
    assert not store.add("a", "shop", "3", DIGEST, minutes)
    assert window(store).rows == 500
    assert store.add("b", "shop", "3", DIGEST, minutes)
    assert window(store).rows == 1000
    assert (window(store).numbers == 2 * sum(m.numbers for m in minutes.values())).all()
    assert store.counted(["a", "b", "c"]) == {"a", "b"}
    assert store.rows("shop", "3", DIGEST) == {m: 2 * one.rows for m, one in minutes.items()}
    assert store.versions() == [("shop", "3", DIGEST)]


def test_versions_and_models_are_apart_and_old_minutes_go(store: SummaryStore) -> None:
    minutes = PLAN.count(table(300))
    for name, version, digest in (("a", "3", DIGEST), ("b", "4", DIGEST), ("c", "3", "cd" * 32)):
        assert store.add(name, "shop", version, digest, minutes)
    assert window(store).rows == 300
    assert len(store.versions()) == 3
    assert window(store, end=FIRST + 60).rows == minutes[FIRST].rows
    store.forget(FIRST + 60)
    assert window(store).rows == 300 - minutes[FIRST].rows
    assert store.counted(["a"]) == {"a"}
    store.forget(FIRST + 540)
    assert window(store).rows == 0 and store.counted(["a"]) == set()


def _count(where: str, to: Path, started: object) -> None:
    store = SummaryStore(where)
    count_journal(store, to, lambda *_: manifest())
    store.close()


def fill(to: Path, files: int, rows: int = 200) -> list[pa.Table]:
    """A journal of some files, as the server writes them."""
    about = f'{{"format": 1, "model": "shop", "version": "3", "digest": "{DIGEST}"}}'
    tables = [table(rows, seed) for seed in range(files)]
    for number, one in enumerate(tables):
        sink = pa.BufferOutputStream()
        pq.write_table(one.replace_schema_metadata({"modelwright": about}), sink)
        begin = BEGIN.timestamp() + number
        name = file_name("shop", "3", begin, begin + 1, "0123456789ab", number)
        Folder(to).put(name, sink.getvalue().to_pybytes())
    return tables


def test_watchers_at_the_same_time_count_each_file_once(where: str, tmp_path: Path) -> None:
    fill(tmp_path / "j", 12)
    SummaryStore(where).close()
    fork = multiprocessing.get_context("spawn")
    both = [fork.Process(target=_count, args=(where, tmp_path / "j", None)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(120)
    assert [one.exitcode for one in both] == [0, 0]
    store = SummaryStore(where)
    assert window(store).rows == 12 * 200
    store.close()


def test_a_killed_watcher_leaves_no_half(where: str, tmp_path: Path) -> None:
    """Whenever it is killed, who goes on counts the rest, and no file twice."""
    tables = fill(tmp_path / "j", 30)
    SummaryStore(where).close()
    fork = multiprocessing.get_context("spawn")
    killed = fork.Process(target=_count, args=(where, tmp_path / "j", None))
    killed.start()
    store = SummaryStore(where)
    end = time.monotonic() + 120
    while window(store).rows < 400 and killed.is_alive():
        assert time.monotonic() < end
    killed.kill()
    killed.join(60)
    before = window(store).rows
    assert before % 200 == 0
    count_journal(store, tmp_path / "j", lambda *_: manifest())
    whole = PLAN.empty()
    for one in tables:
        for summary in PLAN.count(one).values():
            whole += summary
    assert (window(store).numbers == whole.numbers).all()
    assert count_journal(store, tmp_path / "j", lambda *_: manifest()) == 0
    store.close()


def test_models_that_are_not_known_are_passed_over(store: SummaryStore, tmp_path: Path) -> None:
    fill(tmp_path / "j", 1)
    assert count_journal(store, tmp_path / "j", lambda *_: None) == 0
    assert count_journal(store, tmp_path / "j", lambda *_: manifest(), "other") == 0
    assert count_journal(store, tmp_path / "j", lambda *_: manifest(), "shop") == 1


def test_what_could_not_be_counted_is_read_once(
    store: SummaryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "j"
    tables = fill(to, 3)
    broken = file_name("shop", "3", BEGIN.timestamp(), BEGIN.timestamp() + 1, "ab" * 6, 99)
    Folder(to).put(broken, b"not a table")
    read: list[str] = []
    whole = Folder.get

    def watched(place: Folder, name: str) -> bytes:
        read.append(name)
        return whole(place, name)

    monkeypatch.setattr(Folder, "get", watched)
    asked: list[tuple[str, str, str]] = []

    def nobody(*whose: str) -> None:
        asked.append(whose)  # type: ignore[arg-type]

    assert count_journal(store, to, nobody) == 0
    assert len(read) == 4 and len(asked) == 1
    assert count_journal(store, to, nobody) == 0
    assert len(read) == 4 and len(asked) == 2, "who knows it is asked once a look"
    assert count_journal(store, to, lambda *_: manifest()) == 3
    assert read.count(broken) == 1 and window(store).rows == sum(len(one) for one in tables)
    assert store.passed().keys() == {broken}
    assert store.answers("shop", "3", DIGEST, FIRST, FIRST + 180) == window(store).rows
    assert store.answers("shop", "4", DIGEST, FIRST, FIRST + 180) == 0
    store.forget(int(BEGIN.timestamp()) + 100_000)
    assert store.passed() == {}


def test_what_a_shadow_said_is_not_counted(store: SummaryStore, tmp_path: Path) -> None:
    about = f'{{"format": 1, "model": "shop", "version": "3", "digest": "{DIGEST}"}}'
    arms = pa.array(["champion", "shadow"] * 100).dictionary_encode()
    one, sink = table(200).append_column("arm", arms), pa.BufferOutputStream()
    pq.write_table(one.replace_schema_metadata({"modelwright": about}), sink)
    begin = BEGIN.timestamp()
    name = file_name("shop", "3", begin, begin + 1, "0123456789ab", 0)
    Folder(tmp_path).put(name, sink.getvalue().to_pybytes())
    assert count_journal(store, tmp_path, lambda *_: manifest()) == 1
    assert window(store).rows == 100
