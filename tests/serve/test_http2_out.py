"""Everything that is answered arrives, and never more than the peer's windows take."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.serve import http2_frames as h
from serve.wire import Frame, Peer, head, message, wired

STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["size", "echo"]), st.integers(0, 70_000)),
        st.tuples(st.just("room"), st.integers(0, 100_000)),
        st.tuples(st.just("frame"), st.integers(16_384, 300_000)),
        st.tuples(st.sampled_from(["connection", "stream"]), st.integers(1, 60_000)),
        st.tuples(st.sampled_from(["reset", "exchange", "stall", "read"]), st.just(0)),
    ),
    max_size=25,
)


class Steps:
    """A peer that does what it is told, one step after the other.

    It never has two SETTINGS on their way: h2 takes the first ACK for that of both.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.wanted: dict[int, int] = {}
        self._stalled = False

    def take(self, what: str, size: int) -> None:
        peer, wire = self.peer, self.peer.wire
        running = [s for s in self.wanted if b"grpc-status" not in peer.trailers.get(s, {})]
        if what == "stall":
            self._stalled = True
            wire.connection.pause_writing()
        elif what == "read":
            self._stalled = False
            wire.connection.resume_writing()
        elif what == "connection":
            peer.h2.increment_flow_control_window(size)
        elif what == "stream" and running:
            peer.h2.increment_flow_control_window(size, running[-1])
        elif what == "reset" and running:
            peer.h2.reset_stream(running[0], h.CANCEL)
            del self.wanted[running[0]]
        elif self._stalled:
            return
        elif what == "size":
            self.wanted[peer.call(str(size).encode(), "/test.Test/Size")] = size
        elif what == "echo":
            self.wanted[peer.call(bytes(size), "/test.Test/Echo")] = size
        else:
            peer.exchange()
        if what in ("room", "frame"):
            name = h.INITIAL_WINDOW_SIZE if what == "room" else h.MAX_FRAME_SIZE
            peer.h2.update_settings({name: size})


@settings(deadline=None, max_examples=200)
@given(STEPS)
def test_never_more_than_the_windows_and_everything_in_the_end(
    steps: list[tuple[str, int]],
) -> None:
    """h2 raises where DATA exceeds a window, a frame its size, or a frame its stream's state."""
    with wired(greeted=False) as wire:
        peer = Peer(wire)
        peer.exchange()
        doing = Steps(peer)
        for what, size in steps:
            doing.take(what, size)
        for what, size in (("read", 0), ("room", 2**20), ("connection", 2**25), ("exchange", 0)):
            doing.take(what, size)
        for stream, size in doing.wanted.items():
            assert peer.trailers[stream][b"grpc-status"] == b"0"
            assert peer.bodies[stream] == message(bytes(size))
        assert not (peer.goaways or peer.resets or wire.service.bodies.held)
        assert not wire.connection.streams


def test_streams_take_turns() -> None:
    with wired() as wire:
        wire.send(h.settings_frame((h.INITIAL_WINDOW_SIZE, 2**20)))
        for stream in (1, 3, 5):
            asked = h.frame(h.DATA, h.END_STREAM, stream, message(b"60000"))
            wire.send(head(stream, p_path="/test.Test/Size"), asked)
        said = wire.send(h.window_frame(0, 2**20))
        order = [one.stream for one in said if one.kind == h.DATA]
        assert order[:6] == [3, 5, 3, 5, 3, 5]  # the first took the connection's first window


def test_the_first_block_says_that_no_table_is_used() -> None:
    def blocks(said: list[Frame]) -> list[bool]:
        return [one.content[:1] == b"\x20" for one in said if one.kind == h.HEADERS]

    def asked(stream: int, size: bytes) -> bytes:
        body = h.frame(h.DATA, h.END_STREAM, stream, message(size))
        return head(stream, p_path="/test.Test/Size") + body

    with wired() as wire:
        assert blocks(wire.send(asked(1, b"1"), asked(3, b"1"))) == [True, False, False, False]
        wire.send(h.settings_frame((h.HEADER_TABLE_SIZE, 0)))
        assert blocks(wire.send(asked(5, b"100000"))) == [True]
        wire.send(h.settings_frame((h.HEADER_TABLE_SIZE, 100)))
        assert blocks(wire.send(h.window_frame(0, 2**20) + h.window_frame(5, 2**20))) == [True]
    with wired(greeted=False) as wire:
        peer = Peer(wire)
        peer.h2.update_settings({h.HEADER_TABLE_SIZE: 0})
        peer.exchange()
        stream = peer.call(b"a")
        peer.exchange()
        assert peer.trailers[stream][b"grpc-status"] == b"0"


def test_a_stream_that_is_given_room_sends_alone_and_small_rooms_strain() -> None:
    with wired(queue=10**6) as wire:
        wire.send(h.settings_frame((h.INITIAL_WINDOW_SIZE, 0)))
        for stream in range(1, 129, 2):
            asked = h.frame(h.DATA, h.END_STREAM, stream, message(b"60000"))
            wire.send(head(stream, p_path="/test.Test/Size"), asked)
        assert wire.connection.out.blocked == 64
        said = wire.send(h.window_frame(5, 20_000))
        assert [(f.stream, len(f.content)) for f in said] == [(5, 16_384), (5, 3616)]
        said = wire.send(h.settings_frame((h.INITIAL_WINDOW_SIZE, 10_000)))
        assert wire.connection.out.window == 0
        before = wire.connection._in.strain
        said = wire.send(h.window_frame(0, 2000))
        assert sum(len(f.content) for f in said) == 2000
        assert wire.connection._in.strain == before + 64 // 16
