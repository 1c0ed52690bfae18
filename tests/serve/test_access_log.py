"""Lines through a real pipe: whole, escaped, and never in the way."""

from __future__ import annotations

import contextlib
import json
import os
import time
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from modelwright.serve.access_log import (
    AccessLog,
    Line,
    Off,
    access_log,
    id_of,
    new_ids,
    shown,
    trace_of,
)
from modelwright.serve.metrics import Cell
from modelwright.serve.settings import Source
from serve.doors import inputs
from serve.running import free_port, serving, until
from serve.versions import row_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def line(path: str = "/predict", number: int = 0) -> Line:
    return Line(time.time(), f"id-{number}", "POST", path, 200, 0.123456)


def test_lines_come_whole_and_in_order(pipe: tuple[int, int]) -> None:
    out, into = pipe
    dropped: Cell = [0]
    log = AccessLog(dropped, descriptor=into)
    for number in range(300):
        log.write(line(number=number))
    log.write(
        Line(1.5, "x", "POST", '/a"\n\x1b[2J', 422, 3.0, "shop", "3", "canary", "previous", True,
             2, 10, 20, "127.0.0.1", "app", TRACE, "values")
    )  # fmt: skip
    log.close()
    os.close(into)
    with os.fdopen(os.dup(out)) as reader:
        text = reader.read()
    found = [json.loads(text) for text in text.splitlines()]
    assert [one["id"] for one in found[:-1]] == [f"id-{n}" for n in range(300)]
    assert found[0].keys() == {"time", "id", "method", "path", "status", "ms"}
    assert found[0]["ms"] == 0.123 and dropped == [0]
    last = found[-1]
    assert last["path"] == '/a"\\x0a\\x1b[2J' and last["token"] == "app" and last["cached"]
    assert len(last) == 18 and "\x1b" not in text


def test_a_reader_that_stands_still_holds_nobody_up(pipe: tuple[int, int]) -> None:
    out, into = pipe
    dropped: Cell = [0]
    log = AccessLog(dropped, descriptor=into, room=1000)
    filler = "/" + "x" * 400
    begun = time.perf_counter()
    count = 0
    while not dropped[0]:
        log.write(line(filler, count))
        count += 1
        assert time.perf_counter() - begun < 20
    for _ in range(5000):
        log.write(line(filler))
    assert dropped[0] >= 5000 - 1000
    begun = time.perf_counter()
    log.close(0.2)
    assert time.perf_counter() - begun < 5
    os.close(out)  # the thread ends by itself once the pipe is broken


def test_a_reader_that_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    out, into = pipe
    os.close(out)
    log = AccessLog([0], descriptor=into)
    log.write(line())
    log.close()


def test_off_is_an_object() -> None:
    log = access_log(False, [0])
    assert isinstance(log, Off)
    log.write(line())
    log.close()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"x-request-id": "a-7"}, "a-7"),
        ({"x-request-id": "x" * 128}, "x" * 128),
        ({"x-request-id": "x" * 129}, "new"),
        ({"x-request-id": ""}, "new"),
        ({"x-request-id": "a\r\nset-cookie: b"}, "new"),
        ({"x-request-id": "a\n"}, "new"),
        ({"x-request-id": "d\u00e9j\u00e0"}, "new"),
        ({"traceparent": PARENT}, TRACE),
        ({"x-request-id": "\x00", "traceparent": PARENT}, TRACE),
        ({"x-request-id": "mine", "traceparent": PARENT}, "mine"),
        ({"traceparent": "nonsense"}, "new"),
        ({}, "new"),
    ],
)
def test_ids(given: dict[str, str], wanted: str) -> None:
    assert id_of(given, lambda: "new") == wanted


@pytest.mark.parametrize(
    ("parent", "wanted"),
    [
        (PARENT, TRACE), (PARENT.upper(), ""), (f"ff{PARENT[2:]}", ""), (f"{PARENT}-x", ""),
        (f"01{PARENT[2:]}-more", TRACE), (f"{PARENT}\n", ""), (PARENT[:-1], ""),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", ""), (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"01{PARENT[2:]}-{'x' * 9999}", ""),
    ],
)  # fmt: skip
def test_traceparent(parent: str, wanted: str) -> None:
    assert trace_of(parent) == wanted


def test_new_ids_never_collide_over_processes() -> None:
    one, two = new_ids(), new_ids()
    found = [source() for source in (one, two) for _ in range(1000)]
    assert len(set(found)) == 2000 and max(map(len, found)) < 30


def test_paths_cannot_play_with_the_terminal() -> None:
    assert shown("/p\u202egpj.exe\x9b\u2028") == "/p\\u202egpj.exe\\x9b\\u2028"
    assert shown("/\u00fcber") == "/\u00fcber" and len(shown("/" * 10_000)) == 512
    assert shown("/\ud800") == "/\\ud800"


def test_it_is_cheap() -> None:
    """0.5 us a line and 0.3 us an id here."""
    log = Off()
    new_id = new_ids()
    assert min(timeit.repeat(lambda: id_of({}, new_id), number=20_000, repeat=5)) / 20_000 < 4e-6
    assert min(timeit.repeat(lambda: log.write(line()), number=20_000, repeat=5)) / 20_000 < 8e-6


def test_a_server_writes_a_line_for_each_request_of_each_protocol(project: Path) -> None:
    port, row = free_port(), row_of(1.0)
    source = Source(name="shop", project=str(project))
    with (
        serving(project, source, grpc_port=port, access_log=True) as running,
        triton.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        running.predict(row, x_request_id="good")
        running.predict({**row, "big": "secret"}, x_request_id="wrong")
        client.infer("shop", inputs([row, row]), headers={"x-request-id": "call"})
        for named in ("shop", "none"):
            with pytest.raises(InferenceServerException):
                client.infer(named, inputs([row])[:1], headers={"x-request-id": f"bad {named}"})

        def lines() -> list[dict[str, Any]]:
            text = running.errors.read_text()
            return [json.loads(one) for one in text.splitlines() if one.startswith("{")]

        def asked() -> list[dict[str, Any]]:
            found = [one for one in lines() if one["path"].endswith(("predict", "ModelInfer"))]
            return found if len(found) == 5 else []

        good, wrong, call, few, none = until(asked)
        assert (good["id"], good["status"], good["rows"], good["version"]) == ("good", 200, 1, "1")
        assert "reason" not in good and good["arm"] == "champion"
        assert (wrong["id"], wrong["status"], wrong["reason"]) == ("wrong", 422, "values")
        assert (call["id"], call["status"], call["rows"], call["version"]) == ("call", 200, 2, "1")
        assert call["path"] == "/inference.GRPCInferenceService/ModelInfer" and call["ms"] > 0
        assert call["arm"] == "champion" and call["bytes_in"] > 50 and call["bytes_out"] > 50
        assert call["peer"].startswith("127.0.0.1:") and call["model"] == "shop"
        assert (few["status"], few["reason"], few["model"]) == (422, "values", "shop")
        assert (none["status"], none["reason"], none["model"]) == (404, "not_found", "none")
        assert "secret" not in running.errors.read_text()
