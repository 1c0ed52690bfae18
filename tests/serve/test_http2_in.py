"""Whatever is sent, the connection raises nothing, stays small, and says how it ends."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.serve import http2_frames as h
from modelwright.serve.http2_headers import written
from serve.wire import GREETING, fields, head, message, statuses, wired

STREAMS = st.sampled_from([0, 1, 2, 3, 5, 7, 2**31 - 1])
PATHS = ("/test.Test/Echo", "/test.Test/Wait", "/test.Test/Each", "/test.Test/Fail", "/none")
BLOCKS = [written(*fields(p_path=path)) for path in PATHS]
CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [*BLOCKS, *(block[:20] for block in BLOCKS), *(block[20:] for block in BLOCKS)]
    ),
    st.integers(0, 2**32 - 1).map(lambda n: n.to_bytes(4, "big")),
    st.binary(max_size=20).map(message),
    st.tuples(st.integers(0, 7), st.integers(0, 2**32 - 1)).map(
        lambda pair: h.settings_frame(pair)[h.HEAD_BYTES :]
    ),
)
ANY_FRAME = st.builds(
    lambda kind, flags, stream, content: h.frame(kind, flags, stream, content),
    st.integers(0, 10), st.sampled_from([0, 1, 4, 5, 8, 9, 0x20, 0x25, 0x2D]), STREAMS, CONTENTS,
)  # fmt: skip
GOOD_FRAME = st.one_of(
    st.builds(lambda s, p: head(s, p_path=p), st.sampled_from(range(1, 40, 2)),
              st.sampled_from(PATHS)),
    st.builds(lambda s, c, e: h.frame(h.DATA, e, s, message(c)), st.sampled_from(range(1, 40, 2)),
              st.binary(max_size=30), st.sampled_from([0, 1])),
    st.builds(h.window_frame, st.sampled_from(range(40)), st.integers(1, 2**16)),
    st.builds(h.reset_frame, st.sampled_from(range(1, 40, 2)), st.just(8)),
)  # fmt: skip
FRAMES = st.lists(st.one_of(ANY_FRAME, GOOD_FRAME, GOOD_FRAME), max_size=40)


def checked(data: bytes, cuts: list[int], *, greeted: bool) -> None:
    with wired(greeted=greeted) as wire:
        places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
        said = []
        for start, stop in itertools.pairwise(places):
            said += wire.send(data[start:stop])
        ends = [one for one in said if one.kind == h.GOAWAY]
        assert len(ends) <= 1 and (not ends or said[-1] is ends[0])
        assert bool(ends) == wire.pipe.half or wire.pipe.closed
        sent = sum(h.HEAD_BYTES + len(one.content) for one in said)
        assert sent <= 5000 + 40 * len(data)
        assert wire.service.bodies.held <= len(data)
        for answer in wire.waiting:
            answer()
        wire.turn()
        statuses([*said, *wire.said()])
        wire.later(1000)
        wire.connection.connection_lost(None)
        assert not (wire.service.bodies.held or wire.service.in_flight or wire.connection.streams)


@settings(deadline=None, max_examples=300)
@given(FRAMES, st.lists(st.integers(0, 5000), max_size=4))
def test_any_frames(given_frames: list[bytes], cuts: list[int]) -> None:
    checked(b"".join(given_frames), cuts, greeted=True)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(GOOD_FRAME, min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=3)), max_size=4),
    st.lists(st.integers(0, 5000), max_size=4),
)
def test_bytes_that_were_changed_on_the_way(
    good: list[bytes], changes: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = bytearray(GREETING + b"".join(good))
    for place, new in changes:
        at = place % len(data)
        data[at : at + len(new)] = new
    checked(bytes(data), cuts, greeted=False)
