"""Header blocks are read as hpack reads them, whatever was remembered of those before."""

from __future__ import annotations

import contextlib

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.serve.http2_frames import Http2Error
from modelwright.serve.http2_headers import Fields, HeaderReader, list_size, written

NAMES = st.sampled_from([b":path", b"te", b"content-type", b"x-request-id", b"grpc-timeout", b"z"])
VALUES = st.one_of(st.sampled_from([b"trailers", b"/a/B", b""]), st.binary(max_size=300))
BLOCKS = st.lists(
    st.tuples(
        st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=8),
        st.booleans(),
        st.sampled_from([None, 0, 60, 200, 4096]),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(BLOCKS)
def test_as_hpack_reads_it(
    blocks: list[tuple[list[tuple[bytes, bytes, bool]], bool, int | None]],
) -> None:
    encoder, reference = hpack.Encoder(), hpack.Decoder()
    made: list[Fields] = []

    def make(fields: Fields) -> list[tuple[bytes, bytes]]:
        made.append(fields)
        return list(fields)

    reader = HeaderReader(make)
    for fields, huffman, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        block = encoder.encode(fields, huffman=huffman)
        for again in (block, *[encoder.encode(fields, huffman=huffman) for _ in range(2)]):
            wanted = [tuple(pair) for pair in reference.decode(again, raw=True)]
            assert reader.read(again) == wanted == [(name, value) for name, value, _ in fields]
            assert list_size(wanted) == sum(len(n) + len(v) + 32 for n, v in wanted)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_fields_or_a_fault(blocks: list[bytes]) -> None:
    reader, reference = HeaderReader(list), hpack.Decoder(max_header_list_size=64 * 1024)
    for block in blocks:
        wanted: object = None
        with contextlib.suppress(hpack.HPACKError, IndexError):
            wanted = [tuple(pair) for pair in reference.decode(block, raw=True)]
        try:
            assert reader.read(block) == wanted
        except Http2Error:
            assert wanted is None
            break
        if wanted is None:
            break


def test_a_warm_block_is_made_once() -> None:
    made: list[Fields] = []
    reader = HeaderReader(lambda fields: made.append(fields) or tuple(fields))  # type: ignore[func-returns-value]
    encoder = hpack.Encoder()
    fields = [(b":path", b"/a/B"), (b"te", b"trailers")]
    cold, warm = encoder.encode(fields), encoder.encode(fields)
    assert cold != warm
    answers = [reader.read(block) for block in (cold, warm, warm, warm)]
    assert set(answers) == {tuple(fields)} and len(made) == 2
    other = encoder.encode([(b"new", b"field")])
    reader.read(other)
    assert reader.read(encoder.encode(fields)) == tuple(fields) and len(made) == 4


def test_the_same_bytes_mean_another_field_after_the_table_changed() -> None:
    reader = HeaderReader(list)
    newest = b"\xbe"
    for value in (b"one", b"two", b"three"):
        reader.read(b"\x40\x01a" + bytes((len(value),)) + value)
        assert reader.read(newest) == reader.read(newest) == [(b"a", value)]
    reader.read(b"\x20")
    with pytest.raises(Http2Error):
        reader.read(newest)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, st.binary(max_size=5000))))
def test_what_is_written_needs_no_table(fields: list[tuple[bytes, bytes]]) -> None:
    found = hpack.Decoder(max_header_list_size=10**7).decode(written(*fields), raw=True)
    assert [tuple(pair) for pair in found] == fields
