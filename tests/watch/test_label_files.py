"""Tables of labels: what is new goes in at once, the rest is counted and named."""

from __future__ import annotations

import datetime as dt
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from modelwright.core.errors import DataError, UsageError
from modelwright.core.schema import Target
from modelwright.serve.journal_store import place_of
from modelwright.serve.labels import files, read
from modelwright.watch.label_files import Sent, send_labels_file
from modelwright.watch.labels import joined
from watch.answers import NOW, answered, tell

CLASSES = Target("bought", "binary", "string", ("no", "yes"))
WHOLE = Target("t", "multiclass", "integer", ("0", "1", "2"))
VALUE = Target("price", "regression")


def send(to: Path, path: Path, target: Target = CLASSES, **more: Any) -> Sent:
    return send_labels_file(path, to, "shop", target, now=NOW, **more)


def labels(to: Path) -> dict[tuple[str, int], str]:
    rows = read(place_of(str(to)), "shop").to_pylist()
    return {(one["request_id"], one["row"]): one["label"] for one in rows}


def test_new_changed_repeated_and_refused(tmp_path: Path) -> None:
    to, path = tmp_path / "j", tmp_path / "truth.csv"
    tell(to, ("a", "yes", -100), ("b", "no", -100), ("c", "yes", -100))
    path.write_text(
        "request_id,row,label,time\n"
        "a,0,yes,\n"  # repeated
        "b,,yes,2026-11-18T11:06:00Z\n"  # changed
        "c,0,no,2020-01-01\n"  # older
        "d,1,maybe,\n"  # refused
        "e,x,no,tomorrow\n"  # refused, for two reasons
        "f,3,no,\n"  # changed: now is 11:06
        "f,3,yes,2026-11-18\n"  # new
    )
    found = send(to, path)
    assert (found.new, found.changed, found.older, found.repeated, found.refused) == (1, 2, 1, 1, 2)
    assert found.problems == (
        "row 3, label: wanted 'no' or 'yes', found 'maybe' (text)",
        "row 4, row: wanted a whole number from 0, found 'x' (text)",
        "row 4, time: wanted a date-time in ISO 8601, found 'tomorrow' (text)",
    )
    assert len(files(place_of(str(to)))) == 2 and labels(to)["f", 3] in ("yes", "no")
    answered(to, ["a", "b", "c", "f/3"])
    held = {one["request_id"]: one["label"] for one in joined(to, "shop").to_pylist()}
    assert held == {"a": "yes", "b": "yes", "c": "yes", "f": "no"}


def test_a_file_that_is_sent_again_changes_nothing(tmp_path: Path) -> None:
    to, path = tmp_path / "j", tmp_path / "truth.csv"
    path.write_text("request_id;label\n" + "".join(f"r-{n};yes\n" for n in range(60_000)))
    assert send(to, path) == Sent(new=60_000)
    assert send(to, path) == Sent(repeated=60_000)
    assert len(files(place_of(str(to)))) == 1 and len(labels(to)) == 60_000


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_typed_tables(tmp_path: Path, kind: str) -> None:
    frame = pl.DataFrame({
        "id": [17, 18], "n": [0.0, 1.0], "truth": [1, 2],
        "at": [dt.datetime(2026, 11, 18, 9), dt.datetime(2026, 11, 18, 10)],
    })  # fmt: skip
    path = tmp_path / f"truth.{kind}"
    frame.write_parquet(path) if kind == "parquet" else frame.write_ndjson(path)
    names = {"request_id": "id", "row": "n", "label": "truth", "time": "at"}
    assert send(tmp_path, path, WHOLE, names=names) == Sent(new=2)
    rows = read(place_of(str(tmp_path)), "shop").to_pylist()
    assert [(r["request_id"], r["row"], r["label"]) for r in rows] == [
        ("17", 0, "1"),
        ("18", 1, "2"),
    ]
    assert [one["time"].hour for one in rows] == [9, 10]


def test_numbers(tmp_path: Path) -> None:
    frame = pl.DataFrame({"request_id": ["a", "b"], "label": [Decimal("1.5"), None]})
    frame.write_parquet(tmp_path / "truth.parquet")
    found = send(tmp_path, tmp_path / "truth.parquet", VALUE)
    assert (found.new, found.refused) == (1, 1) and "wanted a number, found nothing" in str(
        found.problems
    )
    (tmp_path / "truth.csv").write_text("request_id,label\nc,0.1\nd,1e400\n")
    found = send(tmp_path, tmp_path / "truth.csv", VALUE)
    assert (found.new, found.refused) == (1, 1)
    assert labels(tmp_path) == {("a", 0): "1.5", ("c", 0): "0.1"}


def test_only_the_first_problems_are_told(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("request_id,label\n" + "".join(f"r-{n},maybe\n" for n in range(100)))
    found = send(tmp_path / "j", path)
    assert found.refused == 100 and len(found.problems) == 21
    assert found.problems[-1] == "... and 80 more rows" and not (tmp_path / "j").exists()


def test_no_labels_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No file"):
        send(tmp_path, tmp_path / "truth.csv")
    (tmp_path / "truth.csv").write_text("id,label\na,yes\n")
    with pytest.raises(DataError, match="has no column 'request_id'; it has id, label"):
        send(tmp_path, tmp_path / "truth.csv")
    with pytest.raises(DataError, match="no column 'when'"):
        send(tmp_path, tmp_path / "truth.csv", names={"request_id": "id", "time": "when"})
    with pytest.raises(UsageError, match=r"no 'lable'.*Did you mean 'label'"):
        send(tmp_path, tmp_path / "truth.csv", names={"lable": "label"})


def test_a_write_that_fails_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "truth.csv").write_text("request_id,label\na,yes\nb,no\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            send(tmp_path / "j", tmp_path / "truth.csv")
    assert labels(tmp_path / "j") == {}
    assert send(tmp_path / "j", tmp_path / "truth.csv") == Sent(new=2)


def test_a_label_that_is_said_again_later_holds_against_what_was_said_between(
    tmp_path: Path,
) -> None:
    to, path = tmp_path / "j", tmp_path / "truth.csv"
    tell(to, ("a", "yes", -100))
    path.write_text("request_id,label,time\na,yes,2026-11-18T11:05:59Z\n")
    assert (send(to, path).repeated, send(to, path).repeated) == (1, 1)
    path.write_text("request_id,label,time\na,no,2026-11-18T11:05:30Z\n")
    assert send(to, path).older == 1
    answered(to, ["a"])
    assert [one["label"] for one in joined(to, "shop").to_pylist()] == ["yes"]
