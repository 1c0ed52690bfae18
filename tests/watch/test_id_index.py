"""Which files have an id: against a set, whatever is merged, forgotten, damaged."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from modelwright.watch import id_index
from modelwright.watch.id_index import IdIndex, Read, hashed


def read(*ids: str, **senders: int) -> Read:
    return Read(pa.array(ids, pa.string()), senders)


def test_it_is_what_a_set_would_say(tmp_path: Path) -> None:
    rng, truth = random.Random(0), dict[str, set[str]]()
    index = IdIndex(tmp_path)
    for number in range(60):
        ids = [f"r-{rng.randrange(400)}" for _ in range(rng.randint(0, 30))]
        truth[f"file {number}"] = set(ids)
        index.add([(f"file {number}", read(*ids, a=number))])
        if number % 7 == 0:
            index = IdIndex(tmp_path)
    assert index.entries["file 7"].senders == {"a": 7}
    assert len(list(tmp_path.glob("*.json"))) < 8, "small parts are merged"
    for asked in range(0, 400, 9):
        ids = [f"r-{asked}", f"r-{asked + 1}"]
        wanted = {name for name, held in truth.items() if held & set(ids)}
        assert index.holding(ids) == wanted
    assert index.holding([]) == index.holding(["nobody"]) == set()


def test_files_that_are_gone_take_no_room(tmp_path: Path) -> None:
    index = IdIndex(tmp_path)
    index.add([(f"{n}", read(f"id {n}", "all")) for n in range(10)])
    index.forget(["0", "1"])
    assert len(index.entries) == 10, "a few do no harm"
    index.forget([f"{n}" for n in range(6)])
    assert index.entries.keys() == {"6", "7", "8", "9"}
    assert index.holding(["all"]) == {"6", "7", "8", "9"} and index.holding(["id 8"]) == {"8"}
    assert IdIndex(tmp_path).holding(["id 3"]) == set()
    index.forget(["6", "7", "8", "9"])
    assert not index.entries and list(tmp_path.iterdir()) == []


def test_large_parts_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_index, "LARGEST", 20)
    index = IdIndex(tmp_path)
    for number in range(10):
        index.add([(f"{number}", read(*[f"{number}-{n}" for n in range(8)]))])
    assert len(list(tmp_path.glob("*.json"))) == 5
    assert index.holding(["3-3", "9-0"]) == {"3", "9"}


@pytest.mark.parametrize("what", ["json", "hashes.npy", "files.npy"])
@pytest.mark.parametrize("cut", [0, 40, None])
def test_a_damaged_part_is_read_anew(tmp_path: Path, what: str, cut: int | None) -> None:
    IdIndex(tmp_path).add([("a", read("x", "y"))])
    [path] = tmp_path.glob(f"*.{what}")
    if cut is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:cut])
    index = IdIndex(tmp_path)
    assert index.entries == {} and index.holding(["x"]) == set()
    index.add([("a", read("x", "y"))])
    assert IdIndex(tmp_path).holding(["x"]) == {"a"}


def test_hashes_of_another_version_are_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    IdIndex(tmp_path).add([("a", read("x"))])
    monkeypatch.setattr(id_index, "_KIND", "another")
    assert IdIndex(tmp_path).entries == {}


def test_texts_and_columns_hash_alike() -> None:
    column = pa.chunked_array([["a", "é"], ["r-1"]])
    assert (hashed(column) == hashed(["a", "é", "r-1"])).all()
    assert len(set(hashed([f"{n}" for n in range(10_000)]).tolist())) == 10_000
