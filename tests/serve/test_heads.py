"""A head that was parsed before says the same as when it was parsed, and nothing else is taken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modelwright.serve.heads import LONGEST_HEAD, MOST_HEADS, Head, Heads
from serve.raw import Caller, Running, ask, request, running, until

MOST = 100_000


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(max_body=MOST) as found:
        yield found


def known(server: Running) -> int:
    return server.on_loop(lambda: len(server.shared.heads._known))


def test_known_heads_are_answered_like_new_ones(server: Running) -> None:
    first = [request("POST", f"/a%20b?n={n}", b"x" * size) for n in (1, 2) for size in (1, 9000)]
    with Caller(server.port) as caller:
        replies = []
        for _ in range(3):
            for one in first:
                caller.send(one)
                replies.append(caller.reply().json)
    before = known(server)
    assert before >= len(first)
    assert replies[:4] == replies[4:8] == replies[8:]
    assert replies[0]["path"] == "/a b" and replies[1]["body"] == "x" * 9000
    assert ask(server.port, b"".join(first * 20))[-1].json["path"] == "/a b"  # pipelined: parsed
    assert known(server) == before
    until(lambda: server.on_loop(lambda: server.shared.in_flight == server.shared.bodies.held == 0))


def test_only_a_whole_request_is_taken_by_its_head(server: Running) -> None:
    one = request("POST", "/cut", b"hello")
    with Caller(server.port) as caller:
        for _ in range(2):
            caller.send(one)
            assert caller.reply().json["body"] == "hello"
        caller.send(one[:-2])
        caller.send(one[-2:] + one[:7])  # the next begins in the same piece
        assert caller.reply().json["body"] == "hello"
        caller.send(one[7:])
        assert caller.reply().json["body"] == "hello"
        caller.send(one + b"GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert [caller.reply().json["path"] for _ in range(2)] == ["/cut", "/next"]


@pytest.mark.parametrize(
    "line",
    [b"Connection: close", b"Expect: 100-continue", b"X-Request-Id: 7", b"Upgrade: h2c",
     b"Content-Encoding: identity", b"Traceparent: 00-1-1-00"],
)  # fmt: skip
def test_heads_that_ask_for_more_are_parsed_each_time(server: Running, line: bytes) -> None:
    before = known(server)
    head = b"POST /more HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n%b\r\n\r\n" % line
    for _ in range(2):
        assert ask(server.port, head + b"ab")[-1].json["body"] == "ab"
    assert known(server) == before


def test_a_head_whose_end_could_be_seen_elsewhere_is_not_remembered(server: Running) -> None:
    before = known(server)
    for data in (b"\r\n\r\n" + request("POST", "/empty", b"ab"), request("POST", "no path", b"a")):
        for _ in range(2):
            ask(server.port, data)
    assert known(server) == before


def test_heads_are_bounded() -> None:
    heads = Heads()
    for number in range(2 * MOST_HEADS):
        begin = b"POST /%d HTTP/1.1\r\n\r\n" % number
        heads.learn(begin, len(begin), Head(f"/{number}", "", {}, 1))
    assert len(heads._known) == MOST_HEADS
    assert heads.find(b"POST /0 HTTP/1.1\r\n\r\nx") is None
    assert heads.find(b"POST /%d HTTP/1.1\r\n\r\nx" % (2 * MOST_HEADS - 1)) is not None
    long = b"POST /%b HTTP/1.1\r\n\r\n" % (b"x" * LONGEST_HEAD)
    heads.learn(long, len(long), Head("/", "", {}, 1))
    assert heads.find(long + b"x") is None
