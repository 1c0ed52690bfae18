"""gRPC calls on the wire: heads, messages, encodings, statuses and time-outs."""

from __future__ import annotations

import gzip
import logging
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.serve import http2_frames as h
from modelwright.serve.grpc_status import percent_encoded, status_of
from modelwright.serve.messages import ProtocolError
from serve.wire import Peer, Wire, head, message, statuses, wired


@pytest.fixture
def wire() -> Iterator[Wire]:
    with wired() as found:
        yield found


def status(wire: Wire, *data: bytes, stream: int = 1) -> tuple[str, str]:
    """gRPC status and message of a call."""
    said = wire.send(*data)
    wire.until(lambda: not wire.service.tasks)
    found = statuses([*said, *wire.said()])[stream]
    return found[b"grpc-status"].decode(), unquote(found.get(b"grpc-message", b"").decode())


def data(content: bytes, flags: int = h.END_STREAM, stream: int = 1) -> bytes:
    return h.frame(h.DATA, flags, stream, content)


def parts(content: bytes, stream: int, *, ends: bool = True) -> bytes:
    """DATA frames of a body of any size."""
    whole = range(0, len(content), h.LARGEST_FRAME)
    found = [data(content[at : at + h.LARGEST_FRAME], 0, stream) for at in whole]
    return b"".join(found) + (data(b"", h.END_STREAM, stream) if ends else b"")


def squeezed(content: bytes) -> bytes:
    return message(gzip.compress(content), 1)


def test_a_call_as_it_should_be() -> None:
    with wired(greeted=False) as wire:
        peer = Peer(wire)
        calls = {peer.call(content): content for content in (b"", b"abc", bytes(10_000))}
        peer.exchange()
        for stream, content in calls.items():
            assert peer.bodies[stream] == message(content)
            assert peer.trailers[stream] == {
                b":status": b"200", b"content-type": b"application/grpc", b"grpc-status": b"0",
            }  # fmt: skip
        assert not (wire.service.in_flight or wire.service.bodies.held or peer.resets)


HEADS: dict[str, tuple[dict[str, str | None], str, str]] = {
    "no method": ({"p_path": "/test.Test/None"}, "12", "No method '/test.Test/None'"),
    "no te": ({"te": None}, "13", "te: trailers"),
    "another te": ({"te": "gzip"}, "13", "te: trailers"),
    "no encoding of ours": ({"grpc-encoding": "snappy"}, "12", "identity, gzip, deflate"),
    "no time": ({"grpc-timeout": "5"}, "13", "'5'"),
    "too much time": ({"grpc-timeout": "123456789S"}, "13", "grpc-timeout"),
    "no token": ({"p_path": "/test.Test/Secret"}, "16", "Wanted a token."),
    "two tokens": (
        {"p_path": "/test.Test/Secret", "authorization": "Bearer admin,x"}, "16", "token"),
    "much metadata": ({"x": "y" * 16_384}, "8", "16,384"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_are_refused_before_the_message(wire: Wire, name: str) -> None:
    changed, code, said = HEADS[name]
    block = head(1, **changed)[h.HEAD_BYTES :]
    parts = [block[i : i + h.LARGEST_FRAME] for i in range(0, len(block), h.LARGEST_FRAME)]
    frames = [h.frame(h.CONTINUATION, 0, 1, part) for part in parts]
    frames[0] = h.frame(h.HEADERS, 0, 1, parts[0])
    sent = wire.send(*frames, h.frame(h.CONTINUATION, h.END_HEADERS, 1, b""))
    found = statuses(sent)[1]
    assert found[b":status"] == b"200" and found[b"grpc-status"].decode() == code
    assert said in unquote(found[b"grpc-message"].decode())
    assert sent[-1] == (h.RST_STREAM, 0, 1, bytes(4))  # the message need not be sent
    if name == "no encoding of ours":
        assert found[b"grpc-accept-encoding"] == b"identity,gzip,deflate"
    assert wire.send(data(message(b"late"))) == [] and not wire.asked


def test_a_right_token(wire: Wire) -> None:
    call = head(1, p_path="/test.Test/Secret", authorization="Bearer admin")
    assert status(wire, call, data(message(b"x"))) == ("0", "")


@pytest.mark.parametrize(
    ("changed", "code"),
    [({"p_method": "GET"}, b"405"), ({"content_type": "application/json"}, b"415"),
     ({"content_type": None}, b"415"), ({"content_type": "application/grpc+json"}, b"415")],
)  # fmt: skip
def test_requests_that_are_not_grpc(
    wire: Wire, changed: dict[str, str | None], code: bytes
) -> None:
    assert statuses(wire.send(head(1, **changed)))[1] == {b":status": code}
    kind = {"content_type": "Application/gRPC; charset=utf-8"}
    assert status(wire, head(3, **kind), data(message(b"x"), stream=3), stream=3)[0] == "0"


def test_a_refusal_that_is_kept_with_its_head_holds_no_call(wire: Wire) -> None:
    for stream in (1, 3, 5):
        assert status(wire, head(stream, te=None), stream=stream)[0] == "13"
    [kept] = wire.connection._in._headers_reader._seen.values()
    assert kept.refusal.__traceback__ is None


BODIES: dict[str, tuple[list[bytes], str, str]] = {
    "none": ([data(b"")], "13", "no message"),
    "half a prefix": ([data(b"\0\0")], "13", "within a message"),
    "half a message": ([data(message(b"abc")[:-1])], "13", "within a message"),
    "more than one": ([data(message(b"a") + message(b"b"))], "12", "one message"),
    "a message and more": ([data(message(b"a") + b"b")], "13", "within a message"),
    "too large": ([data((0).to_bytes(1, "big") + (10**6 + 1).to_bytes(4, "big"), 0)], "8",
                  "1,000,001"),
    "compressed without saying how": ([data(message(b"a", 1))], "13", "does not say how"),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_bodies_that_are_refused(wire: Wire, name: str) -> None:
    frames, code, said = BODIES[name]
    found = status(wire, head(1), *frames)
    assert found[0] == code and said in found[1] and not wire.asked
    assert not (wire.service.bodies.held or wire.connection.streams)


def test_a_message_in_pieces_and_an_end_without_one(wire: Wire) -> None:
    whole = message(b"abc")
    pieces = [data(bytes((byte,)), 0) for byte in whole]
    assert status(wire, head(1), *pieces, data(b"")) == ("0", "")
    wire.send(head(3), data(whole, 0, 3))
    assert wire.asked == [b"abc"] and wire.service.bodies.held == len(whole)
    wire.send(h.frame(h.HEADERS, h.END_HEADERS | h.END_STREAM, 3, b""))
    assert wire.asked == [b"abc"] * 2 and not wire.service.bodies.held


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_messages(wire: Wire, encoding: str) -> None:
    press = gzip.compress if encoding == "gzip" else zlib.compress
    call = {"grpc-encoding": encoding}
    good, bomb = press(b"abc" * 99), press(bytes(10**6 + 1))
    assert status(wire, head(1, **call), data(message(good, 1))) == ("0", "")
    assert status(wire, head(3, **call), data(message(b"plain"), 1, 3), stream=3) == ("0", "")
    assert wire.asked == [b"abc" * 99, b"plain"]
    wrong = {5: (bomb, "8"), 7: (good[:-3], "13"), 9: (good + b"x", "13"), 11: (b"no", "13")}
    for stream, (content, code) in wrong.items():
        found = status(wire, head(stream, **call), data(message(content, 1), 1, stream),
                       stream=stream)  # fmt: skip
        assert found[0] == code
    assert len(wire.asked) == 2 and not wire.service.bodies.held
    wire.service.bodies.most = 1000  # what a message has become counts
    large = message(press(bytes(2000)), 1)
    assert status(wire, head(13, **call), data(large, 1, 13), stream=13)[0] == "14"
    assert not wire.service.bodies.held


def test_a_message_that_inflates_to_much_does_so_beside_the_loop() -> None:
    call = {"grpc-encoding": "gzip"}
    large, noise = bytes(2 * 10**6), random.Random(3).randbytes(400_000)
    with wired(max_body=3 * 10**6) as wire:
        most = 2**31 - 1
        window = h.window_frame(0, most - h.FIRST_WINDOW)
        wire.send(h.settings_frame((h.INITIAL_WINDOW_SIZE, most)), window)
        for sent in (head(1, **call), parts(squeezed(large), 1), head(3),
                     data(message(b"small"), stream=3)):  # fmt: skip
            wire.connection.data_received(sent)
        assert wire.asked == [b"small"]  # others need not wait for it
        wire.send(head(5, **call), parts(squeezed(noise), 5, ends=False))
        wire.until(lambda: len(wire.asked) == 2)
        assert sorted(wire.asked) == [large, b"small"]
        wire.send(data(b"", stream=5))
        wire.until(lambda: len(wire.asked) == 3)
        assert wire.asked[2] == noise
        # a second message, a bomb, one cut short, and a caller that goes away meanwhile
        assert status(wire, head(7, **call), parts(squeezed(large) * 2, 7), stream=7)[0] == "12"
        bomb, short = squeezed(bytes(3 * 10**6 + 1)), message(gzip.compress(large)[:-3], 1)
        assert status(wire, head(9, **call), parts(bomb, 9), stream=9)[0] == "8"
        assert status(wire, head(11, **call), parts(short, 11), stream=11)[0] == "13"
        gone = h.frame(h.RST_STREAM, 0, 13, bytes(4))
        wire.send(head(13, **call), parts(squeezed(large), 13) + gone)
        wire.until(lambda: not wire.service.tasks)
        assert len(wire.asked) == 3 and not wire.service.in_flight
        wire.service.bodies.most = 10**6
        assert status(wire, head(15, **call), parts(squeezed(large), 15), stream=15)[0] == "14"
        assert not wire.service.bodies.held


def test_every_call_that_ends_with_an_error_is_counted_once(wire: Wire) -> None:
    told: list[tuple[int, str]] = []
    wire.service.failed = lambda status, model, _reason: told.append((status, model))
    wire.send(head(1), data(message(b"fine")))
    assert told == []
    for stream, (changed, status, content) in enumerate((
        ({"p_path": "/test.Test/None"}, 404, b""), ({"p_path": "/test.Test/Secret"}, 401, b""),
        ({"p_method": "GET"}, 405, b""), ({"content-type": "text/html"}, 415, b""),
        ({"te": None}, 400, b""), ({"grpc-encoding": "snappy"}, 415, b""),
        ({"grpc-timeout": "5"}, 400, b""), ({}, 413, b"\0" + (10**6 + 1).to_bytes(4, "big")),
        ({"p_path": "/test.Test/Open"}, 413, message(bytes(5000))), ({}, 400, b"\0\0"),
        ({"p_path": "/test.Test/Fail"}, 500, message(b"x")), ({}, 400, message(b"x") * 2),
    ), 1):  # fmt: skip
        told.clear()
        wire.send(head(2 * stream + 1, **changed))
        if content:
            wire.send(data(content, stream=2 * stream + 1))
        assert told == [(status, "")], changed


def test_methods_for_everybody_take_small_messages(wire: Wire) -> None:
    call = {"p_path": "/test.Test/Open", "grpc-encoding": "gzip"}
    assert status(wire, head(1, **call), data(message(bytes(4096))))[0] == "0"
    large = {3: message(bytes(4097)), 5: message(gzip.compress(bytes(4097), mtime=0), 1)}
    for stream, content in large.items():
        found = status(wire, head(stream, **call), data(content, 1, stream), stream=stream)
        assert found[0] == "8" and "4,096" in found[1]


def test_the_queue_is_looked_at_when_the_message_is_there() -> None:
    with wired(queue=1) as wire:
        wire.send(*(head(stream, p_path="/test.Test/Wait") for stream in (1, 3)))
        wire.send(data(message(b"x")))
        assert status(wire, data(message(b"x"), 1, 3), stream=3)[0] == "14"
        assert wire.service.in_flight == len(wire.waiting) == 1
        wire.service.held = lambda: 1  # who only waits to be refused takes no place
        assert status(wire, head(5), data(message(b"x"), 1, 5), stream=5)[0] == "0"


def test_a_fault_of_ours_is_logged_and_not_told(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        found = status(wire, head(1, p_path="/test.Test/Fail"), data(message(b"secret")))
    assert found == ("13", "The server met a fault of its own; see its log.")
    assert "/test.Test/Fail" in caplog.text and "KeyError" in caplog.text


def test_a_stream_of_messages(wire: Wire) -> None:
    said = wire.send(head(1, p_path="/test.Test/Each"), data(message(b"a") + message(b"b"), 0))
    assert [one.kind for one in said] == [h.HEADERS, h.DATA, h.DATA]
    assert wire.later(200) == [] and status(wire, data(b"")) == ("0", "")
    assert statuses(wire.send(head(3, h.END_HEADERS | 1, p_path="/test.Test/Each")))[3] == {
        b":status": b"200", b"content-type": b"application/grpc", b"grpc-status": b"0",
    }  # fmt: skip
    wire.send(head(5, p_path="/test.Test/Each"))
    assert statuses(wire.later(301))[5][b"grpc-status"] == b"4"


def test_answers_that_are_not_read_end_their_stream() -> None:
    with wired() as wire:
        wire.send(h.settings_frame((h.INITIAL_WINDOW_SIZE, 0)), head(1, p_path="/test.Test/Each"))
        resets = [wire.reset(data(message(bytes(16_000)), 0)) for _ in range(70)]
        assert {1: h.ENHANCE_YOUR_CALM} in resets and not wire.service.bodies.held


def test_the_queue_and_the_bytes_have_limits() -> None:
    with wired(queue=2) as wire:
        for stream in (1, 3):
            wire.send(head(stream, p_path="/test.Test/Wait"), data(message(b"x"), 1, stream))
        found = statuses(wire.send(head(5)))[5]
        assert (found[b"grpc-status"], found[b"grpc-retry-pushback-ms"]) == (b"14", b"1000")
        wire.waiting[0]()
        assert status(wire, head(7), data(message(b"x"), 1, 7), stream=7) == ("0", "")
    with wired() as wire:
        wire.service.bodies.most = 1000
        wire.send(head(1), data(message(bytes(2000))[:900], 0))
        assert status(wire, head(3), data(message(bytes(200)), 1, 3), stream=3)[0] == "14"
        wire.send(h.reset_frame(1, h.CANCEL))
        assert status(wire, head(5), data(message(bytes(200)), 1, 5), stream=5)[0] == "0"


def test_the_time_of_a_call(wire: Wire) -> None:
    call = head(1, p_path="/test.Test/Wait", grpc_timeout="2S")
    wire.send(call, data(message(b"x")))
    assert wire.later(2.5) == []
    assert statuses(wire.later(3.5))[1][b"grpc-status"] == b"4"
    wire.waiting.pop()()
    wire.turn()
    assert wire.said() == [] and not wire.service.in_flight


def test_a_refusal_later(wire: Wire) -> None:
    wire.send(head(1, p_path="/test.Test/Wait"), data(message(b"x")))
    [call] = wire.connection.streams.values()
    call.refuse(ProtocolError(503, "Not now.", ("row 1: x", "row 2: y"), retry_after=0.25))  # type: ignore[attr-defined]
    wire.turn()
    found = statuses(wire.said())[1]
    assert unquote(found[b"grpc-message"].decode()) == "Not now.\nrow 1: x\nrow 2: y"
    assert found[b"grpc-retry-pushback-ms"] == b"250"


@given(st.text())
def test_any_text_is_told_in_what_a_header_may_hold(text: str) -> None:
    found = percent_encoded(text)
    assert all(0x20 <= byte < 0x7F for byte in found)
    whole = text.encode("utf-8", "replace").decode()
    assert unquote(found.decode()) == whole if len(whole.encode()) <= 2000 else len(found) <= 6000


def test_answers_of_one_turn_go_out_together(wire: Wire) -> None:
    for stream in range(1, 129, 2):
        wire.send(head(stream, p_path="/test.Test/Wait"), data(message(b"x"), 1, stream))
    writes = len(wire.pipe._parts)
    for answer in wire.waiting:
        answer()
    wire.turn()
    assert len(wire.pipe._parts) == writes + 1 and len(wire.said()) == 3 * 64
    assert time.perf_counter() - wire.connection.last < 10


def test_the_door_needs_no_grpcio_and_says_what_it_needs() -> None:
    def imported(*absent: str) -> subprocess.CompletedProcess[str]:
        lines = ["import sys", *(f"sys.modules[{name!r}] = None" for name in absent)]
        code = "; ".join([*lines, "import modelwright.serve.grpc_door"])
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert imported("grpc", "grpc_health", "grpc_reflection", "h2").returncode == 0
    for name in ("hpack", "google"):
        assert "pip install 'modelwright[grpc]'" in imported(name).stderr


def test_many_problems_are_told_briefly_since_they_stand_in_a_header() -> None:
    problems = tuple(f"row {n}, column 'age': wanted a number, found 'x'" for n in range(101))
    lines = status_of(ProtocolError(422, "The input has 200 problem(s):", problems)).message
    assert lines.splitlines()[1:21] == list(problems[:20]) and len(lines.splitlines()) == 22
    assert len(lines) < 4096
