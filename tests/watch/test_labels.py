"""Answers and their labels: joined the same whatever came how often, and delivered once."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.serve.journal_files import files
from modelwright.serve.journal_store import Folder, place_of
from modelwright.serve.labels import Sender, compact
from modelwright.watch import labels as module
from modelwright.watch.labels import Cursor, arrived_since, joined, orphans
from watch.answers import NOW, answered, said, tell

DAY = 86_400.0


def moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(NOW, dt.UTC) + dt.timedelta(seconds=seconds)


def held(to: str | Path, **more: Any) -> dict[str, Any]:
    """id/row -> what `joined` gives."""
    table = joined(to, "shop", **more)
    return {f"{one['request_id']}/{one['row']}": one for one in table.to_pylist()}


@pytest.fixture(params=["folder", "memory", "odd [folder]"])
def to(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}/j" if request.param == "memory" else str(
        tmp_path / request.param
    )  # fmt: skip


def test_every_answer_with_the_label_that_holds(to: str) -> None:
    assert len(joined(to, "shop")) == 0 and orphans(to, "shop") == 0
    answered(to, ["a", "b", "b/1", "c"], at=NOW)
    answered(to, ["d"], version="4", number=1, at=NOW + 100)
    tell(to, ("a", "yes", 10), ("b", "no", 10), ("b/1", "yes", 10), ("lost", "no", 10))
    tell(to, ("a", "no", 20), ("b", "yes", 30, 5), ("d", "no", 20))
    found = held(to)
    assert {key: one["label"] for key, one in found.items()} == {
        "a/0": "no", "b/0": "no", "b/1": "yes", "c/0": None, "d/0": "no",
    }  # fmt: skip
    assert found["a/0"]["label_time"] == found["a/0"]["label_arrived"] == moment(20)
    assert found["c/0"]["label_time"] is None and found["a/0"]["f_age"] == 0.0
    assert {"p_no", "p_yes", "arm", "score"} <= set(found["a/0"])
    assert orphans(to, "shop") == 1
    assert orphans(to, "shop", NOW + 11) == orphans(to, "shop", end=NOW + 9) == 0


def test_a_time_a_version_and_columns(to: str) -> None:
    answered(to, ["a", "b"], at=NOW)
    answered(to, ["c"], version="4", number=1, at=NOW + 100)
    tell(to, ("a", "yes", 10), ("c", "yes", 10))
    assert held(to, version="4").keys() == {"c/0"}
    assert held(to, begin=NOW + 1).keys() == {"c/0"}
    assert held(to, end=NOW + 1e-6).keys() == {"a/0"}
    table = joined(to, "shop", columns=["prediction", "version", "nothing"], end=NOW + 1)
    assert table.column_names == [
        "prediction", "version", "label", "label_time", "label_arrived",
    ] and len(table) == 2  # fmt: skip
    assert table.schema.field("label_time").type == pa.timestamp("us", tz="UTC")


def test_numbers_are_numbers(to: str) -> None:
    answered(to, ["a", "b"], scores=[1.5, 2.5], is_number=True)
    tell(to, ("a", "0.30000000000000004", 10))
    found = held(to)
    assert found["a/0"]["label"] == 0.1 + 0.2 and found["b/0"]["label"] is None
    [one] = arrived_since(to, "shop", now=NOW)[0].to_pylist()
    assert one["label"] == 0.1 + 0.2 and one["label_before"] is None


WORDS = st.sampled_from(["yes", "no", "perhaps"])
STATEMENT = st.tuples(
    st.sampled_from(["a", "b", "b/1", "c"]), WORDS, st.integers(0, 3), st.integers(0, 3)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STATEMENT, max_size=12), st.integers(0, 10**6), st.integers(1, 5))
def test_order_repetition_and_merging_change_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    statements: list[tuple[str, str, float, float]],
    seed: int,
    parts: int,
) -> None:
    """Against the rule in words: latest time, then last arrived; since its label was first said."""
    to = str(tmp_path_factory.mktemp("j"))
    answered(to, ["a", "b", "b/1", "c"])
    rng, sender, place = random.Random(seed), Sender(place_of(to)), place_of(to)
    told = statements + rng.sample(statements, rng.randint(0, len(statements)))
    rng.shuffle(told)
    for start in range(parts):
        if told[start::parts]:
            sender.send("shop", said(*told[start::parts]))
        if rng.random() < 0.3:
            compact(place, "shop", NOW + DAY)
    found = held(to)
    for key in ("a", "b", "b/1", "c"):
        of = [(time, arrived, label) for id, label, arrived, time in statements if id == key]
        one = found[key if "/" in key else f"{key}/0"]
        label = max(of)[2] if of else None
        assert one["label"] == label
        first = min((time for time, _, word in of if word == label), default=None)
        known = min((arrived for _, arrived, word in of if word == label), default=None)
        assert one["label_time"] == (None if first is None else moment(first))
        assert one["label_arrived"] == (None if known is None else moment(known))


KEPT: dict[str, Path | None] = {}


@pytest.fixture(scope="module", params=["read anew", "remembered"], autouse=True)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Both ways give the same."""
    KEPT["ids"] = tmp_path_factory.mktemp("ids") if request.param == "remembered" else None


def delivered(
    to: str, cursor: Cursor | None, **more: Any
) -> tuple[list[tuple[str, str, str | None]], Cursor]:
    """(id/row, label, label before) of a call; the cursor goes through JSON."""
    given = {"now": NOW + 1000, **more}
    if KEPT["ids"]:
        given["remembered"] = KEPT["ids"] / to.replace("/", "_").replace(":", "_")
    table, after = arrived_since(to, "shop", cursor, **given)
    rows = table.to_pylist()
    arrived = [one["label_arrived"] for one in rows]
    assert arrived == sorted(arrived)
    assert not rows or {"time", "version", "arm", "prediction", "score", "p_yes"} <= set(rows[0])
    found = [
        (f"{one['request_id']}/{one['row']}", one["label"], one["label_before"]) for one in rows
    ]
    return found, msgspec.json.decode(msgspec.json.encode(after), type=Cursor)


def test_each_label_is_delivered_once(to: str) -> None:
    assert delivered(to, None)[0] == []
    answered(to, ["a", "b", "c", "c/1"])
    tell(to, ("b", "no", 20), ("a", "yes", 10))
    found, cursor = delivered(to, None)
    assert found == [("a/0", "yes", None), ("b/0", "no", None)]
    assert delivered(to, cursor)[0] == []
    tell(to, ("a", "yes", 30), ("b", "yes", 40), ("c/1", "no", 5))  # repeated, corrected, late
    found, after = delivered(to, cursor)
    assert found == [("c/1", "no", None), ("b/0", "yes", "no")]
    assert delivered(to, cursor)[0] == found and delivered(to, after)[0] == []
    tell(to, ("b", "no", 50))  # back
    tell(to, ("b", "no", 60, 45))
    assert delivered(to, after)[0] == [("b/0", "no", "yes")]
    tell(to, ("b", "yes", 70, -5))  # older: it does not hold
    assert delivered(to, delivered(to, after)[1])[0] == []


def test_merging_delivers_nothing_again(to: str) -> None:
    answered(to, ["a", "b", "c"])
    sender = Sender(place_of(to))
    sender.send("shop", said(("a", "yes", 1)))
    _, cursor = delivered(to, None)
    sender.send("shop", said(("b", "yes", 2), ("a", "yes", 1)))
    compact(place_of(to), "shop", NOW + DAY)
    found, cursor = delivered(to, cursor)
    assert found == [("b/0", "yes", None)]
    sender.send("shop", said(("c", "yes", 2)))
    compact(place_of(to), "shop", NOW + DAY)
    assert delivered(to, cursor)[0] == [("c/0", "yes", None)]


def test_a_write_that_failed_and_appears_is_delivered(tmp_path: Path) -> None:
    """A storage that says no and does it all the same, later than what came after."""

    class Late(Folder):
        def put(self, name: str, data: bytes) -> None:
            if b"late" in data:
                late.append((name, data))
                raise OSError("timed out")
            super().put(name, data)

    late: list[tuple[str, bytes]] = []
    answered(tmp_path, ["a", "b", "late"])
    sender = Sender(Late(tmp_path))
    sender.send("shop", said(("a", "yes", 1)))
    with pytest.raises(OSError, match="timed out"):
        sender.send("shop", said(("late", "yes", 2)))
    sender.send("shop", said(("b", "yes", 3)))
    found, cursor = delivered(str(tmp_path), None)
    assert [one[0] for one in found] == ["a/0", "b/0"]
    Folder(tmp_path).put(*late[0])
    assert delivered(str(tmp_path), cursor)[0] == [("late/0", "yes", None)]


def test_a_label_waits_for_its_answer(to: str) -> None:
    answered(to, ["a"])
    tell(to, ("late", "yes", 10), ("never", "no", 11), ("late/1", "no", 12))
    found, cursor = delivered(to, None)
    assert found == [] and [one[0] for one in cursor.pending] == ["late", "never", "late"]
    assert delivered(to, cursor)[1].pending == cursor.pending
    tell(to, ("late/1", "yes", 20))  # it is another before anybody heard of it
    _, cursor = delivered(to, cursor)
    answered(to, ["late", "late/1"], number=1, at=NOW + 50)
    found, cursor = delivered(to, cursor)
    assert found == [("late/0", "yes", None), ("late/1", "yes", None)]
    assert [one[0] for one in cursor.pending] == ["never"] and cursor.given_up == 0
    assert delivered(to, cursor)[0] == []
    answered(to, ["late"], number=2, at=NOW + 60)  # a retry with the same id
    assert delivered(to, cursor)[0] == []
    cursor = delivered(to, cursor, now=NOW + module.PATIENCE + 12)[1]
    assert cursor.pending == () and cursor.given_up == 1


def test_an_answer_of_another_process_is_searched(to: str) -> None:
    answered(to, ["a"], number=7)
    tell(to, ("x", "yes", 10))
    _, cursor = delivered(to, None)
    answered(to, ["x"], number=0, at=NOW - 3600, token="ba9876543210")
    found, cursor = delivered(to, cursor)
    assert found == [("x/0", "yes", None)]
    assert cursor.journals == {"0123456789ab": 7, "ba9876543210": 0}
    for file in files(to)[:1]:
        place_of(to).remove(file.name)
    assert delivered(to, cursor)[1].journals == {"0123456789ab": 7}


def test_pending_is_bounded(to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answered(to, ["a"])
    monkeypatch.setattr(module, "MOST_PENDING", 2)
    tell(to, *((f"x{n}", "yes", n) for n in range(5)))
    _, cursor = delivered(to, None)
    assert [one[0] for one in cursor.pending] == ["x3", "x4"] and cursor.given_up == 3


def test_who_was_not_sampled_is_not_waited_for(to: str) -> None:
    answered(to, ["a"])
    tell(to, *((f"{n}", "yes", n) for n in range(50)))
    _, cursor = delivered(to, None, sample=0.5)
    assert 10 < len(cursor.pending) < 40 and cursor.given_up == 0


def test_the_last_of_several_answers_counts(to: str) -> None:
    answered(to, ["a"], scores=[0.1])
    answered(to, ["a"], scores=[0.9], number=1, at=NOW + 5)
    tell(to, ("a", "yes", 10))
    [one] = arrived_since(to, "shop", now=NOW, columns=["f_age"])[0].to_pylist()
    assert (one["prediction"], one["f_age"]) == ("yes", 0.0)
    assert len(joined(to, "shop")) == 2


def test_retention_between_the_list_and_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(tmp_path, ["a"])
    answered(tmp_path, ["b"], number=1, at=NOW + 5)
    listed = module.files

    def then_gone(*given: Any) -> Any:
        found = listed(*given)
        (tmp_path / found[0].name).unlink()
        monkeypatch.setattr(module, "files", listed)
        return found

    monkeypatch.setattr(module, "files", then_gone)
    assert held(tmp_path).keys() == {"b/0"}


def test_a_label_is_of_what_the_caller_got(to: str) -> None:
    answered(to, ["a", "b"], scores=[0.1, 0.1])
    answered(to, ["a"], version="4", number=1, at=NOW + 1, scores=[0.9], arm="shadow")
    tell(to, ("a", "yes", 10), ("b", "yes", 11))
    table, cursor = arrived_since(to, "shop", now=NOW)
    assert [(r["version"], r["prediction"]) for r in table.to_pylist()] == [("3", "no")] * 2
    tell(to, ("a", "no", 12))
    assert arrived_since(to, "shop", cursor, now=NOW)[0]["version"].to_pylist() == ["3"]
    assert len(joined(to, "shop")) == 3
