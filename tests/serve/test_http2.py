"""The HTTP/2 connection: every rule that a peer may break, and every limit, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modelwright.serve import http2_frames as h
from modelwright.serve.http2 import MOST_STREAMS
from modelwright.serve.http2_headers import written
from modelwright.serve.http2_in import MOST_PARTS, STREAM_WINDOW, WINDOW
from serve.wire import GREETING, Wire, fields, head, message, statuses, wired

BLOCK = written(*fields())
HALF, WHOLE = 0x0, h.END_HEADERS
CALM = h.ENHANCE_YOUR_CALM


def body(stream: int, content: bytes = b"x", flags: int = h.END_STREAM) -> bytes:
    return h.frame(h.DATA, flags, stream, message(content))


def settings(*pairs: tuple[int, int]) -> bytes:
    return h.settings_frame(*pairs)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with wired() as found:
        yield found


CONNECTION_FAULTS: dict[str, tuple[bytes, int]] = {
    "data on stream 0": (h.frame(h.DATA, 0, 0, b"x"), h.PROTOCOL_ERROR),
    "headers on stream 0": (h.frame(h.HEADERS, WHOLE, 0, BLOCK), h.PROTOCOL_ERROR),
    "an even stream": (h.frame(h.HEADERS, WHOLE, 2, BLOCK), h.PROTOCOL_ERROR),
    "data on an idle stream": (body(1), h.PROTOCOL_ERROR),
    "a window of an idle stream": (h.window_frame(1, 9), h.PROTOCOL_ERROR),
    "a reset of an idle stream": (h.reset_frame(1, 8), h.PROTOCOL_ERROR),
    "a reset on stream 0": (h.reset_frame(0, 8), h.PROTOCOL_ERROR),
    "a reset too short": (head(1) + h.frame(h.RST_STREAM, 0, 1, b"x"), h.FRAME_SIZE_ERROR),
    "a frame too large": (head(1) + h.frame(h.DATA, 0, 1, bytes(16385)), h.FRAME_SIZE_ERROR),
    "a lone continuation": (h.frame(h.CONTINUATION, WHOLE, 1, BLOCK), h.PROTOCOL_ERROR),
    "a frame within a block": (head(1, HALF) + h.frame(h.PING, 0, 0, bytes(8)), h.PROTOCOL_ERROR),
    "another stream's continuation": (
        head(1, HALF) + h.frame(h.CONTINUATION, WHOLE, 3, b""), h.PROTOCOL_ERROR),
    "an unknown frame within a block": (head(1, HALF) + h.frame(99, 0, 1, b""), h.PROTOCOL_ERROR),
    "padding beyond data": (
        head(1) + h.frame(h.DATA, h.PADDED, 1, b"\x05abcd"), h.PROTOCOL_ERROR),
    "padding beyond headers": (h.frame(h.HEADERS, WHOLE | h.PADDED, 1, b"\x01"), h.PROTOCOL_ERROR),
    "a priority cut short": (
        h.frame(h.HEADERS, WHOLE | h.HAS_PRIORITY, 1, b"abc"), h.FRAME_SIZE_ERROR),
    "a push promise": (h.frame(h.PUSH_PROMISE, WHOLE, 1, BLOCK), h.PROTOCOL_ERROR),
    "a priority on stream 0": (h.frame(h.PRIORITY, 0, 0, bytes(5)), h.PROTOCOL_ERROR),
    "a priority too long": (h.frame(h.PRIORITY, 0, 1, bytes(6)), h.FRAME_SIZE_ERROR),
    "settings on a stream": (h.frame(h.SETTINGS, 0, 1), h.PROTOCOL_ERROR),
    "settings of five bytes": (h.frame(h.SETTINGS, 0, 0, bytes(5)), h.FRAME_SIZE_ERROR),
    "settings as ack with content": (h.frame(h.SETTINGS, h.ACK, 0, bytes(6)), h.FRAME_SIZE_ERROR),
    "push of 2": (settings((h.ENABLE_PUSH, 2)), h.PROTOCOL_ERROR),
    "a window of 2^31": (settings((h.INITIAL_WINDOW_SIZE, 2**31)), h.FLOW_CONTROL_ERROR),
    "frames of 100 bytes": (settings((h.MAX_FRAME_SIZE, 100)), h.PROTOCOL_ERROR),
    "frames of 2^24 bytes": (settings((h.MAX_FRAME_SIZE, 2**24)), h.PROTOCOL_ERROR),
    "a ping on a stream": (h.frame(h.PING, 0, 1, bytes(8)), h.PROTOCOL_ERROR),
    "a ping of seven bytes": (h.frame(h.PING, 0, 0, bytes(7)), h.FRAME_SIZE_ERROR),
    "goaway on a stream": (h.frame(h.GOAWAY, 0, 1, bytes(8)), h.PROTOCOL_ERROR),
    "goaway of seven bytes": (h.frame(h.GOAWAY, 0, 0, bytes(7)), h.FRAME_SIZE_ERROR),
    "a window update of three bytes": (h.frame(h.WINDOW_UPDATE, 0, 0, b"abc"), h.FRAME_SIZE_ERROR),
    "no more window": (h.window_frame(0, 0), h.PROTOCOL_ERROR),
    "too much window": (h.window_frame(0, 2**31 - 1), h.FLOW_CONTROL_ERROR),
    "windows that grow too large": (
        head(1) + h.window_frame(1, 2**30) + settings((h.INITIAL_WINDOW_SIZE, 2**31 - 1)),
        h.FLOW_CONTROL_ERROR),
    "a stream again": (head(1) + body(1) + head(1), h.STREAM_CLOSED),
    "a lower stream": (head(5) + head(3), h.STREAM_CLOSED),
    "an index beyond the table": (h.frame(h.HEADERS, WHOLE, 1, b"\xff\x7f"), h.COMPRESSION_ERROR),
    "an index of 0": (h.frame(h.HEADERS, WHOLE, 1, b"\x80"), h.COMPRESSION_ERROR),
    "a text cut short": (h.frame(h.HEADERS, WHOLE, 1, b"\x00\x05ab"), h.COMPRESSION_ERROR),
    "a number without end": (
        h.frame(h.HEADERS, WHOLE, 1, b"\xff" + b"\x80" * 20), h.COMPRESSION_ERROR),
    "a size behind a field": (h.frame(h.HEADERS, WHOLE, 1, b"\x83\x20"), h.COMPRESSION_ERROR),
    "a table of 5000 bytes": (
        h.frame(h.HEADERS, WHOLE, 1, b"\x3f\xe9\x26" + BLOCK), h.COMPRESSION_ERROR),
    "wrong Huffman": (h.frame(h.HEADERS, WHOLE, 1, b"\x00\x84\xff\xff\xff\xff"),
                      h.COMPRESSION_ERROR),
}  # fmt: skip


@pytest.mark.parametrize("name", CONNECTION_FAULTS)
def test_faults_of_the_connection(wire: Wire, name: str) -> None:
    data, code = CONNECTION_FAULTS[name]
    assert wire.goaway(data) == code
    assert wire.pipe.half and not wire.connection.streams
    assert wire.send(head(7), body(7)) == [] and not wire.service.in_flight


STREAM_FAULTS: dict[str, tuple[bytes, int]] = {
    "no window for it": (head(1) + h.window_frame(1, 0), h.PROTOCOL_ERROR),
    "too much window for it": (head(1) + h.window_frame(1, 2**31 - 1), h.FLOW_CONTROL_ERROR),
    "trailers that do not end": (head(1) + head(1), h.PROTOCOL_ERROR),
    "no path": (head(1, p_path=None), h.PROTOCOL_ERROR),
    "no scheme": (head(1, p_scheme=None), h.PROTOCOL_ERROR),
    "capitals": (head(1, Te="x"), h.PROTOCOL_ERROR),
    "a connection header": (head(1, connection="close"), h.PROTOCOL_ERROR),
    "an unknown pseudo-header": (head(1, p_what="x"), h.PROTOCOL_ERROR),
    "a line break in a value": (head(1, x="a\nb"), h.PROTOCOL_ERROR),
    "a pseudo-header at the end": (
        h.frame(h.HEADERS, WHOLE, 1, written(*fields()[1:], *fields()[:1])), h.PROTOCOL_ERROR),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAM_FAULTS)
def test_faults_of_a_stream_leave_the_connection(wire: Wire, name: str) -> None:
    data, code = STREAM_FAULTS[name]
    assert wire.reset(data) == {1: code}
    assert statuses(wire.send(head(3), body(3)))[3][b"grpc-status"] == b"0"


def test_data_after_the_end_resets_the_stream(wire: Wire) -> None:
    assert wire.reset(head(1, p_path="/test.Test/Wait"), body(1), body(1)) == {1: h.STREAM_CLOSED}
    assert wire.service.in_flight == wire.connection.ghosts == 1
    wire.waiting.pop()()
    assert wire.service.in_flight == wire.connection.ghosts == 0
    assert wire.reset(head(3), body(3), body(3)) == {3: h.STREAM_CLOSED}


def test_the_beginning() -> None:
    with wired(greeted=False) as wire:
        [first, second] = wire.send()
        assert first.kind == h.SETTINGS and second == (h.WINDOW_UPDATE, 0, 0, second.content)
        told = dict(h.read_settings(first.content))
        assert told[h.MAX_CONCURRENT_STREAMS] == MOST_STREAMS
        for byte in GREETING + head(1) + body(1):
            wire.connection.data_received(bytes((byte,)))
        said = wire.send()
        assert (said[0].kind, said[0].flags) == (h.SETTINGS, h.ACK) and wire.asked == [b"x"]
    for start in (b"GET / HTTP/1.1\r\n\r\n", GREETING[:20] + b"!", GREETING[:24] + head(1),
                  GREETING[:24] + h.frame(h.SETTINGS, h.ACK, 0)):  # fmt: skip
        with wired(greeted=False) as wire:
            assert wire.goaway(start) == h.PROTOCOL_ERROR


def test_what_is_to_be_read_over(wire: Wire) -> None:
    priority = bytes(4) + b"\x10"
    said = wire.send(
        h.frame(77, 0xFF, 3, b"of an extension"),
        h.frame(h.PRIORITY, 0, 9, priority),
        settings((0x99, 7), (h.ENABLE_PUSH, 0)),
        h.frame(h.SETTINGS, h.ACK, 0),
        h.frame(h.PING, h.ACK, 0, bytes(8)),
        h.frame(h.HEADERS, h.HAS_PRIORITY | h.PADDED, 1, b"\x03" + priority + BLOCK[:9] + bytes(3)),
        h.frame(h.CONTINUATION, HALF, 1, BLOCK[9:12]),
        h.frame(h.CONTINUATION, WHOLE, 1, BLOCK[12:]),
        h.frame(h.DATA, h.PADDED, 1, b"\x02" + message(b"abc") + bytes(2)),
        h.frame(h.HEADERS, WHOLE | h.END_STREAM, 1, written((b"a", b"b"))),
        h.window_frame(1, 5),
        h.reset_frame(1, 8),
    )
    assert wire.asked == [b"abc"] and statuses(said)[1][b"grpc-status"] == b"0"
    assert [f.content for f in wire.send(h.frame(h.PING, 0, 0, b"12345678"))] == [b"12345678"]


def test_more_than_the_windows(wire: Wire) -> None:
    wire.send(head(1, p_path="/test.Test/Wait"))
    wire.connection.streams[1].window = 5
    assert wire.reset(body(1, b"x")) == {1: h.FLOW_CONTROL_ERROR}
    wire.connection._in._window = 5
    assert wire.goaway(head(3), body(3, b"x")) == h.FLOW_CONTROL_ERROR


def test_windows_are_opened_again() -> None:
    """A peer that keeps to its windows can send more than they hold."""
    size = 3 * WINDOW // 2
    data, part = message(bytes(size)), h.LARGEST_FRAME
    with wired(greeted=False, max_body=size) as wire:
        room = {0: h.FIRST_WINDOW, 1: STREAM_WINDOW}
        said = wire.send(GREETING + head(1, p_path="/test.Test/Wait"))
        for place in range(0, len(data), part):
            for one in said:
                if one.kind == h.WINDOW_UPDATE:
                    room[one.stream] += int.from_bytes(one.content, "big")
            piece = data[place : place + part]
            room = {stream: left - len(piece) for stream, left in room.items()}
            assert min(room.values()) >= 0
            said = wire.send(h.frame(h.DATA, place + part >= len(data), 1, piece))
        assert wire.service.bodies.held == len(data) and len(wire.waiting) == 1


def test_floods_end_the_connection() -> None:
    floods = {
        "pings": h.frame(h.PING, 0, 0, bytes(8)),
        "settings": settings(),
        "settings of one's own": settings((h.INITIAL_WINDOW_SIZE, 9)),
        "small windows": h.window_frame(0, 1),
        "empty data": h.frame(h.DATA, 0, 1),
        "unknown frames": h.frame(50, 0, 0),
        "priorities": h.frame(h.PRIORITY, 0, 1, bytes(5)),
    }
    for name, one in floods.items():
        with wired() as wire:
            wire.send(head(1, p_path="/test.Test/Each"))
            codes = {wire.goaway(one * 1000) for _ in range(20)}
            assert codes == {None, CALM}, name


def test_rapid_resets_end_the_connection() -> None:
    with wired(queue=10**6) as wire:
        code, stream = None, 1
        while code is None:
            pair = head(stream, p_path="/test.Test/Wait") + body(stream)
            code = wire.goaway(pair + h.reset_frame(stream, h.CANCEL))
            stream += 2
        assert code == CALM and 1500 < stream < 2500
        assert wire.service.in_flight == len(wire.waiting) < 1200
        for answer in wire.waiting:
            answer()
        assert not wire.service.in_flight and not wire.service.bodies.held
    with wired() as wire:  # who also waits for answers may reset as it likes
        for stream in range(1, 5000, 4):
            wire.send(head(stream, p_path="/test.Test/Wait"), h.reset_frame(stream, h.CANCEL))
            assert wire.goaway(head(stream + 2), body(stream + 2)) is None


def test_streams_that_were_reset_count_while_their_work_goes_on() -> None:
    with wired(queue=10**6) as wire:
        for stream in range(1, 2 * MOST_STREAMS, 2):
            wire.send(head(stream, p_path="/test.Test/Wait"), body(stream))
        last = 2 * MOST_STREAMS + 1
        assert wire.reset(head(last)) == {last: h.REFUSED_STREAM}
        wire.send(h.reset_frame(1, h.CANCEL))
        assert wire.reset(head(last + 2)) == {last + 2: h.REFUSED_STREAM}
        wire.waiting[0]()
        assert wire.reset(head(last + 4)) == {}


def test_header_blocks_have_a_size(wire: Wire) -> None:
    start = head(1, HALF)
    parts = h.frame(h.CONTINUATION, 0, 1, b"") * (MOST_PARTS + 1)
    assert wire.goaway(start + parts) == CALM
    with wired() as other:
        part = h.frame(h.CONTINUATION, 0, 1, bytes(16_000))
        assert other.goaway(start + part * 3) == CALM
    with wired() as other:  # a field of the table, again and again
        large = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000
        assert other.goaway(h.frame(h.HEADERS, WHOLE, 1, large + b"\xbe" * 17)) == CALM


def test_header_lists_that_are_too_large_end_the_connection_in_the_end(wire: Wire) -> None:
    many = [(b"a", b"")] * 1800  # 59,400 bytes
    block = written(*fields(), *many)
    assert len(block) < h.LARGEST_FRAME
    code, stream = None, 1
    while code is None:
        one = h.frame(h.HEADERS, WHOLE | h.END_STREAM, stream, block)
        said = wire.send(one)
        if stream == 1:
            assert statuses(said)[1][b"grpc-status"] == b"8"
        code = next((f.code for f in said if f.kind == h.GOAWAY), None)
        stream += 2
    assert code == CALM and stream < 600


def test_time_ends_who_dawdles() -> None:
    with wired(greeted=False) as wire:
        wire.send(GREETING[:30])
        assert wire.later(5) == [] and wire.later(11)[-1].code == h.PROTOCOL_ERROR
        assert not wire.pipe.closed
        wire.later(20)
        assert wire.pipe.closed
    for start in (head(1, HALF), head(1)[:-1], head(1) + body(1)[:-1]):
        with wired() as wire:
            wire.send(start)
            assert wire.later(5) == [] and wire.later(11)[-1].code == CALM
    with wired() as wire:
        wire.send(head(1), h.frame(h.DATA, 0, 1, message(bytes(100))[:50]))
        assert wire.later(5) == []
        said = wire.later(11)
        assert statuses(said)[1][b"grpc-status"] == b"4" and said[-1].code == h.NO_ERROR
        assert wire.reset(body(1)) == {} and wire.goaway(head(3), body(3)) is None


def test_an_idle_connection_is_told_goodbye(wire: Wire) -> None:
    wire.send(head(1), body(1))
    assert wire.later(50) == []
    goodbye, ping = wire.later(101)
    assert (goodbye.kind, goodbye.code, ping.kind) == (h.GOAWAY, h.NO_ERROR, h.PING)
    assert int.from_bytes(goodbye.content[:4], "big") == h.LAST_STREAM
    assert statuses(wire.send(head(3), body(3)))[3][b"grpc-status"] == b"0"  # it had not heard yet
    [last] = wire.send(h.frame(h.PING, h.ACK, 0, ping.content))
    assert int.from_bytes(last.content[:4], "big") == 3 and wire.pipe.half
    assert wire.send(h.window_frame(0, 9)) == [] and not wire.pipe.closed  # read, and dropped
    assert wire.connection.eof_received() is False  # upon which the loop closes the socket
    wire.later(21)
    assert wire.pipe.closed


def test_a_drain_waits_for_answers_and_not_for_pongs(wire: Wire) -> None:
    wire.send(head(1, p_path="/test.Test/Wait"), body(1, b"late"))
    wire.shared.drain()
    wire.turn()
    assert [f.kind for f in wire.said()] == [h.GOAWAY, h.PING]
    assert [f.kind for f in wire.later(2)] == [h.GOAWAY]
    assert wire.reset(head(3)) == {3: h.REFUSED_STREAM} and not wire.pipe.closed
    wire.waiting.pop()()
    wire.turn()
    assert statuses(wire.said())[1][b"grpc-status"] == b"0" and wire.pipe.half


def test_a_peer_that_leaves_gets_its_answers(wire: Wire) -> None:
    for leave in (lambda: wire.send(h.goaway_frame(0, 0)), lambda: wire.connection.eof_received()):
        wire.connect()
        wire.send(GREETING + head(1, p_path="/test.Test/Wait"), body(1), head(3))
        leave()
        assert not wire.pipe.closed
        if 3 in wire.connection.streams:
            wire.send(h.reset_frame(3, 8))
        wire.waiting.pop()()
        wire.turn()
        assert statuses(wire.said())[1][b"grpc-status"] == b"0"
        assert wire.pipe.half or wire.pipe.closed


def test_a_lost_connection_leaves_nothing(wire: Wire) -> None:
    wire.send(head(1, p_path="/test.Test/Wait"), body(1), head(3), body(3, b"half", 0))
    assert wire.service.bodies.held and wire.service.in_flight == 1
    wire.connection.connection_lost(ConnectionResetError())
    wire.waiting.pop()()
    wire.turn()
    assert not (wire.service.bodies.held or wire.service.in_flight or wire.shared.open)


def test_connections_have_a_limit() -> None:
    with wired(most=2) as wire:
        idle = wire.pipe
        wire.connect()
        wire.send(GREETING + head(1, p_path="/test.Test/Wait"), body(1))
        wire.connect()
        assert idle.closed and wire.goaway(GREETING) is None
        wire.send(head(1, p_path="/test.Test/Wait"), body(1))
        wire.connect()
        assert wire.goaway() == CALM and wire.pipe.half


def test_a_peer_that_does_not_read_is_not_read(wire: Wire) -> None:
    wire.connection.pause_writing()
    assert wire.pipe.paused and wire.later(19) == [] and not wire.pipe.closed
    wire.connection.resume_writing()
    assert not wire.pipe.paused
    wire.connection.pause_writing()
    wire.later(21)
    assert wire.pipe.closed


def test_a_window_that_stays_shut_costs_the_stream(wire: Wire) -> None:
    wire.send(settings((h.INITIAL_WINDOW_SIZE, 10)))
    said = wire.send(head(1, p_path="/test.Test/Size"), body(1, b"100000"))
    assert [len(f.content) for f in said if f.kind == h.DATA] == [10]
    assert wire.service.bodies.held == 100_005 - 10
    assert wire.later(10) == []
    [reset] = wire.later(22)
    assert (reset.kind, reset.code) == (h.RST_STREAM, h.CANCEL) and not wire.service.bodies.held
