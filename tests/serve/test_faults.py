"""What is no JSON is told with its place, and what to send instead."""

from __future__ import annotations

import pytest

from modelwright.serve.messages import ProtocolError
from modelwright.serve.protocol import parse_json


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"a": NaN}', "it has NaN at byte 6; JSON has no NaN: send null"),
        (b"[1, -Infinity]", "it has -Infinity at byte 4; JSON has no infinity: send null"),
        (b"[Infinity]", "it has Infinity at byte 1"),
        (b"NaN", "it has NaN at byte 0"),
        (b"[None]", "in JSON that is null"),
        (b"[True]", "in JSON that is true"),
        (b"[1e999]", "Number out of range"),
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
    ],
)
def test_the_message(body: bytes, said: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_json(body)
    assert caught.value.status == 400 and said in caught.value.message
