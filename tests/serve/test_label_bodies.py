"""Labels as they come: every right form, and every wrong one told by its row."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelwright.core.schema import Target
from modelwright.serve.label_bodies import read_labels
from modelwright.serve.labels import Labels
from modelwright.serve.messages import ProtocolError

CLASSES = Target("bought", "binary", "string", ("no", "yes"))
WHOLE = Target("t", "multiclass", "integer", ("0", "1", "2"))
TRUTH = Target("t", "binary", "boolean", ("false", "true"))
VALUE = Target("price", "regression")
ARRIVED = 1_795_000_000_000_000
JSON = "application/json"


def read(body: Any, target: Target = CLASSES, kind: str = JSON, most: int = 100) -> Labels:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_labels(target, kind, data, most, ARRIVED)


def refused(body: Any, target: Target = CLASSES, kind: str = JSON) -> tuple[int, str]:
    with pytest.raises(ProtocolError) as found:
        read(body, target, kind)
    return found.value.status, "\n".join([found.value.message, *found.value.problems])


def test_each_form_of_a_body() -> None:
    one = {"request_id": "a", "row": 2, "label": "yes", "time": "2026-11-01T02:00:00+02:00"}
    at = 1_793_491_200_000_000
    for body in ({"labels": [one]}, [one], one):
        found = read(body)
        assert (found.ids, found.rows, found.labels, found.times) == (["a"], [2], ["yes"], [at])
    lines = b'{"request_id": "a", "label": "no"}\n\n{"request_id": "b", "label": "yes"}'
    found = read(lines, kind="application/x-ndjson")
    assert found.ids == ["a", "b"] and found.times == found.arrived == [ARRIVED, ARRIVED]
    table = "\ufefflabel;request_id;row;time\nyes;a;3;2026-11-01\nno;b;;\n".encode()
    found = read(table, kind="text/csv; charset=utf-8")
    assert (found.ids, found.rows, found.times) == (["a", "b"], [3, 0], [at, ARRIVED])


@pytest.mark.parametrize(
    ("target", "given", "text", "value"),
    [
        (CLASSES, " yes ", "yes", None), (WHOLE, 1, "1", None), (WHOLE, 1.0, "1", None),
        (WHOLE, "2", "2", None), (TRUTH, True, "true", None), (TRUTH, "False", "false", None),
        (VALUE, 3, "3.0", 3.0), (VALUE, 0.1 + 0.2, "0.30000000000000004", 0.1 + 0.2),
        (VALUE, -0.0, "0.0", 0.0),
    ],
)  # fmt: skip
def test_a_label_has_one_form(target: Target, given: Any, text: str, value: float | None) -> None:
    found = read({"request_id": "a", "label": given}, target)
    assert (found.labels, found.values) == ([text], [value])


def test_text_is_a_number_in_csv_only() -> None:
    assert read(b"request_id,label\na,3.5\n", VALUE, "text/csv").values == [3.5]
    assert read(b"request_id,label\na,2.0\n", WHOLE, "text/csv").labels == ["2"]
    status, text = refused({"request_id": "a", "label": "3.5"}, VALUE)
    assert status == 422 and "row 0, label: wanted a number, found '3.5' (text)" in text


def test_every_problem_is_told_by_its_row() -> None:
    status, text = refused([
        {"request_id": "a", "label": "yess"},
        {"request_id": "", "label": "yes", "rows": 1},
        {"label": "no", "row": True},
        {"request_id": "b", "label": "yes", "time": "tomorrow"},
        {"request_id": "b", "label": "yes", "time": "2030-01-01"},
        {"request_id": "c"},
        7,
        {"request_id": "d", "label": "yes"},
        {"request_id": "d", "label": "no"},
        {"request_id": "e" * 1025, "label": None, "row": 2**31},
    ])  # fmt: skip
    assert status == 422
    for line in (
        "row 0, label: wanted 'no' or 'yes', found 'yess' (text): did you mean 'yes'?",
        "row 1: unknown name 'rows': did you mean 'row'?",
        "row 1, request_id: wanted text of 1 to 1,024 letters, found 0 letters",
        "row 2, request_id: wanted text of 1 to 1,024 letters, found nothing",
        "row 2, row: wanted a whole number from 0, found true (boolean)",
        "row 3, time: wanted a date-time in ISO 8601, found 'tomorrow' (text)",
        "row 4, time: '2030-01-01' (text) is more than a day ahead of now",
        "row 5, label: wanted 'no' or 'yes', found nothing",
        "row 6: wanted an object, found number",
        "row 8, label: another than in row 7, of the same answer and time",
        "row 9, request_id: wanted text of 1 to 1,024 letters, found 1,025 letters",
        "row 9, row: wanted a whole number from 0, found 2147483648 (number)",
    ):
        assert line in text, line


@pytest.mark.parametrize(
    ("target", "label"),
    [
        (CLASSES, True), (CLASSES, 1), (CLASSES, ["yes"]), (CLASSES, {"a": 1}), (WHOLE, 1.5),
        (WHOLE, True), (WHOLE, 10**400), (WHOLE, "x"), (TRUTH, 1), (TRUTH, "yes"),
        (VALUE, True), (VALUE, None), (VALUE, 10**400), (VALUE, "1"),
    ],
)  # fmt: skip
def test_no_label_of_this_model(target: Target, label: Any) -> None:
    status, text = refused({"request_id": "a", "label": label}, target)
    assert status == 422 and "row 0, label: wanted" in text and len(text) < 400


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", JSON, 400), (b"5", JSON, 400), (b"[]", JSON, 400), (b'{"labels": []}', JSON, 400),
        (b"[" * 5000, JSON, 400), (b'{"a": 1}\n{', "application/jsonl", 400),
        (b"", "text/csv", 400), (b"request_id,label\n", "text/csv", 400),
        (b"request_id\na\n", "text/csv", 400), (b"request_id,label,x\na,yes,1", "text/csv", 400),
        (b"request_id,label,label\na,yes,no", "text/csv", 400), (b"\xff", "text/csv", 400),
        (b'request_id,label\n"a', "text/csv", 400), (b"request_id,label\na\n", "text/csv", 400),
        (b"x", "text/plain", 415), (b"a", "text/csv; charset=ebcdic", 415),
        (b"[" + b"1," * 100 + b"1]", JSON, 413),
    ],
)  # fmt: skip
def test_no_body_of_labels(body: bytes, kind: str, status: int) -> None:
    assert refused(body, CLASSES, kind)[0] == status


def test_the_same_label_twice_is_one() -> None:
    one = {"request_id": "a", "label": "yes"}
    assert len(read([one, one, {**one, "time": "2026-01-01"}])) == 2
