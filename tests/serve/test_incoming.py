"""A request on its way in: bodies, encodings and heads, and what of them is refused."""

from __future__ import annotations

import functools
import gzip
import random
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.raw import Caller, Running, ask, chunked, request, resident, running, until

gzipped = functools.partial(gzip.compress, mtime=0)  # the same bytes, and test ids, every time

MOST = 100_000


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(max_body=MOST) as found:
        yield found


@pytest.fixture(autouse=True)
def _still_answers(server: Running) -> Iterator[None]:
    """Whatever was sent, the next caller is answered and nothing is left behind."""
    yield
    assert ask(server.port, request(path="/after"))[0].json["path"] == "/after"
    until(lambda: server.on_loop(lambda: server.shared.in_flight == server.shared.bodies.held == 0))


# Bodies.


@pytest.mark.parametrize("size", [1, 2, 7, 1000, MOST])
def test_chunked_bodies(server: Running, size: int) -> None:
    body = bytes(range(256)) * 8
    found = ask(server.port, chunked("/", body, size) * 2)
    assert [r.json["body"].encode("latin-1") for r in found] == [body] * 2


def test_chunk_extensions_and_trailers_change_nothing(server: Running) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b'3;a=b;c="d"\r\nabc\r\n0\r\nx-trailer: 1\r\nhost: evil\r\n\r\n'
    found = ask(server.port, head + body + request(path="/next"))
    assert [r.json["path"] for r in found] == ["/", "/next"] and found[0].json["body"] == "abc"
    assert found[0].json["headers"]["host"] == "localhost"
    assert "x-trailer" not in found[0].json["headers"]


def test_one_byte_at_a_time(server: Running) -> None:
    whole = chunked("/", b"hello", 2) + request("POST", "/two", b"world")
    with Caller(server.port) as caller:
        for number in range(len(whole)):
            caller.send(whole[number : number + 1])
        assert [caller.reply().json["body"] for _ in range(2)] == ["hello", "world"]


def test_every_split_gives_the_same_answers(server: Running) -> None:
    whole = (
        request("POST", "/a%20b?x=1", b"body") + chunked("/c", b"chunked body", 5)
        + request("HEAD"[:0] + "GET", "/d") + b"GET / HTTP/1.1\r\n\r\n"
    )  # fmt: skip
    plain = [(r.status, r.body) for r in ask(server.port, whole)]
    assert [status for status, _ in plain] == [200, 200, 200, 400]
    for at in range(1, len(whole)):
        with Caller(server.port) as caller:
            caller.send(whole[:at]).send(whole[at:])
            assert [(r.status, r.body) for r in caller.half_close().replies()] == plain, at


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_on_bodies_is_exact(server: Running, over: int) -> None:
    body = b"x" * (MOST + over)
    wanted = 413 if over else 200
    for whole in (
        request("POST", "/", body),
        chunked("/", body, 4096),
        request("POST", "/", gzipped(body), content_encoding="gzip"),
        request("POST", "/", zlib.compress(body), content_encoding="deflate"),
    ):
        (reply,) = ask(server.port, whole)
        assert reply.status == wanted, reply.body
        assert not over or "larger than 100,000 bytes" in reply.json["error"]


def test_a_caller_that_still_sends_sees_the_413(server: Running) -> None:
    for whole in (request("POST", "/", b"x" * 5_000_000), chunked("/", b"x" * 5_000_000, 65536)):
        with Caller(server.port) as caller:
            caller.send(whole)  # all of it goes out: nobody resets
            assert caller.reply().status == 413 and caller.is_closed()


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", gzipped(b"hello"), 200),
        ("x-gzip", gzipped(b"hello"), 200),
        ("GZIP", gzipped(b"hello"), 200),
        ("gzip", gzipped(b"hel") + gzipped(b"lo"), 200),
        ("deflate", zlib.compress(b"hello"), 200),
        ("identity", b"hello", 200),
        ("gzip", gzipped(b"\0" * 50_000_000), 413),
        ("deflate", zlib.compress(b"\0" * 50_000_000), 413),
        ("gzip", gzipped(b"\0" * 60_000) * 2, 413),
        ("gzip", gzipped(b"hello")[:-1], 400),
        ("gzip", gzipped(b"hello")[:12], 400),
        ("gzip", b"hello", 400),
        ("gzip", gzipped(b"hello") + b"garbage", 400),
        ("gzip", gzipped(b"") * 100, 400),
        ("deflate", zlib.compress(b"hello") + b"!", 400),
        ("deflate", gzipped(b"hello"), 400),
        ("br", b"hello", 415),
        ("zstd", b"hello", 415),
        ("gzip, gzip", gzipped(gzipped(b"hello")), 415),
        ("gzip;q=1", gzipped(b"hello"), 415),
    ],
)
def test_content_encodings(server: Running, encoding: str, body: bytes, status: int) -> None:
    before = resident()
    found = ask(server.port, request("POST", "/", body, content_encoding=encoding) + request())
    assert found[0].status == status, found[0].body
    assert found[0].json["body"] == "hello" if status == 200 else found[0].json["error"]
    assert resident() - before < 20e6
    if status != 415:  # the connection goes on
        assert found[1].status == 200


def test_expect_100_continue(server: Running) -> None:
    head = (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    )
    with Caller(server.port) as caller:
        assert caller.send(head % 5).reply().status == 100
        assert caller.send(b"hello").reply().json["body"] == "hello"
        assert caller.send(head % (MOST + 1)).reply().status == 413  # before a byte of it was sent
        assert caller.is_closed()
    other = request("POST", "/", b"hello", expect="the unexpected")
    assert [r.status for r in ask(server.port, other)] == [417]
    old = head.replace(b"1.1", b"1.0") % 5 + b"hello"
    assert [r.status for r in ask(server.port, old)] == [200]


# Heads.


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a?b=%20c", "/a"),
        ("/a%20b%2Fc", "/a b/c"),
        ("/%C3%A9", "/\u00e9"),
        ("/%ff%zz", "/\ufffd%zz"),
        ("//a/../b", "//a/../b"),
        ("http://localhost/a/b?c", "/a/b"),
        ("http://localhost", "/"),
        ("http://localhost?c", "/"),
        ("*", None),
        ("localhost:80", None),
        ("http:///", "/"),
    ],
)
def test_targets(server: Running, target: str, path: str | None) -> None:
    method = "OPTIONS" if target == "*" else "GET"
    (reply,) = ask(server.port, request(method, target))
    assert (reply.status, reply.json.get("path")) == (200 if path else 400, path)


HOST = "Host: localhost\r\n"
GET = f"GET / HTTP/1.1\r\n{HOST}"
POST = f"POST / HTTP/1.1\r\n{HOST}"
CHUNKED = "Transfer-Encoding: chunked\r\n"
WRONG_HEADS = {
    "no host": ("GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (f"{GET}{HOST}\r\n", 400),
    "hosts in one": ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    "length and chunked": (f"{POST}Content-Length: 4\r\n{CHUNKED}\r\n0\r\n\r\n", 400),
    "chunked and length": (f"{POST}{CHUNKED}Content-Length: 4\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (f"{POST}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "lengths in one": (f"{POST}Content-Length: 1, 1\r\n\r\na", 400),
    "length +1": (f"{POST}Content-Length: +1\r\n\r\na", 400),
    "length -1": (f"{POST}Content-Length: -1\r\n\r\na", 400),
    "length 0x1": (f"{POST}Content-Length: 0x1\r\n\r\na", 400),
    "length of 30 digits": (f"{POST}Content-Length: {'9' * 30}\r\n\r\n", 400),
    "length of 2^63": (f"{POST}Content-Length: {2**63}\r\n\r\n", 413),
    "gzip, chunked": (f"{POST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "identity": (f"{POST}Transfer-Encoding: identity\r\n\r\n", 400),
    "xchunked": (f"{POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "chunked twice": (f"{POST}{CHUNKED}{CHUNKED}\r\n0\r\n\r\n", 400),
    "chunked of HTTP/1.0": (f"POST / HTTP/1.0\r\n{HOST}{CHUNKED}\r\n0\r\n\r\n", 400),
    "chunk of -1": (f"{POST}{CHUNKED}\r\n-1\r\na\r\n0\r\n\r\n", 400),
    "chunk of 0x1": (f"{POST}{CHUNKED}\r\n0x1\r\na\r\n0\r\n\r\n", 400),
    "chunk of 2^68": (f"{POST}{CHUNKED}\r\nfffffffffffffffff\r\na\r\n", 400),
    "chunk of 2^60": (f"{POST}{CHUNKED}\r\nfffffffffffffff\r\n{'a' * 200_000}", 413),
    "chunk without its end": (f"{POST}{CHUNKED}\r\n1\r\nabc\r\n0\r\n\r\n", 400),
    "chunk ended by LF": (f"{POST}{CHUNKED}\r\n1\na\r\n0\r\n\r\n", 400),
    "length in a trailer": (f"{POST}{CHUNKED}\r\n0\r\nContent-Length: 3\r\n\r\n", 400),
    "blank before the colon": (f"{GET}a : b\r\n\r\n", 400),
    "folded": (f"{GET}a: b\r\n c\r\n\r\n", 400),
    "LF alone": ("GET / HTTP/1.1\nHost: localhost\n\n", 400),
    "CR alone": ("GET / HTTP/1.1\r\nHost: localhost\rx: y\r\n\r\n", 400),
    "NUL": (f"{GET}a: b\0c\r\n\r\n", 400),
    "no colon": (f"{GET}abc\r\n\r\n", 400),
    "a name of bytes": (f"{GET}\xff: b\r\n\r\n", 400),
    "blank in the target": (f"GET /a b HTTP/1.1\r\n{HOST}\r\n", 400),
    "bytes in the target": (f"GET /\xe9 HTTP/1.1\r\n{HOST}\r\n", 400),
    "no target": (f"GET HTTP/1.1\r\n{HOST}\r\n", 400),
    "unknown method": (f"FETCH / HTTP/1.1\r\n{HOST}\r\n", 400),
    "small letters": (f"get / HTTP/1.1\r\n{HOST}\r\n", 400),
    "CONNECT": (f"CONNECT localhost:80 HTTP/1.1\r\n{HOST}\r\n{GET}\r\n", 405),
    "HTTP/2 preface": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/2.0": (f"GET / HTTP/2.0\r\n{HOST}\r\n", 400),
    "HTTP/1.2": (f"GET / HTTP/1.2\r\n{HOST}\r\n", 400),
    "RTSP": (f"DESCRIBE / RTSP/1.0\r\n{HOST}\r\n", None),
    "TLS": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\0" * 500, 400),
    "a long URL": (f"GET /{'a' * 9000} HTTP/1.1\r\n{HOST}\r\n", 414),
    "a long query": (f"GET /?{'a' * 100_000} HTTP/1.1\r\n{HOST}\r\n", 414),
    "a long header": (f"{GET}a: {'b' * 70_000}\r\n\r\n", 431),
    "a line without end": (f"{GET}a: {'b' * 200_000}", 431),
    "a long name": (f"{GET}{'b' * 70_000}: a\r\n\r\n", 431),
    "101 headers": (f"{GET}" + "a: b\r\n" * 101 + "\r\n", 431),
    "long trailers": (f"{POST}{CHUNKED}\r\n0\r\n" + "a: b\r\n" * 200 + "\r\n", 431),
    "tiny chunks": (f"{POST}{CHUNKED}\r\n" + "1\r\na\r\n" * 12_000 + "0\r\n\r\n", 400),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_HEADS)
def test_wrong_heads_are_refused_and_end_the_connection(server: Running, name: str) -> None:
    text, status = WRONG_HEADS[name]
    smuggled = request(path="/smuggled")
    found = ask(server.port, request(path="/first") + text.encode("latin-1") + smuggled)
    assert found[0].json["path"] == "/first" and len(found) == 2
    if status is not None:
        assert found[1].status == status and found[1].headers["connection"] == "close"
        assert isinstance(found[1].json["error"], str)


@pytest.mark.parametrize("kind", ["h2c", "websocket", "TLS/1.2"])
def test_an_upgrade_is_not_taken_and_harms_nothing(server: Running, kind: str) -> None:
    offers = {
        "connection": "Upgrade, HTTP2-Settings",
        "upgrade": kind,
        "http2_settings": "AAMAAABk",
    }
    body = request("POST", "/body", b"hello", **offers)
    hidden = request(path="/hidden")
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in offers.items())
    whole = (
        request(path="/1", **offers) + body + chunked("/chunked", hidden, 7, lines)
        + request("POST", "/hides", hidden, **offers) + request(path="/5")
    )  # fmt: skip
    for at in (len(whole), *range(150, len(whole), 3)):
        with Caller(server.port) as caller:
            found = caller.send(whole[:at]).send(whole[at:]).half_close().replies()
        assert [(r.status, r.json["path"], r.json["body"]) for r in found] == [
            (200, "/1", ""), (200, "/body", "hello"), (200, "/chunked", hidden.decode()),
            (200, "/hides", hidden.decode()), (200, "/5", ""),
        ]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from([request(), request("POST", "/", b"abc"), chunked("/", b"abcdef", 2),
                             b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n",
                             b"Content-Length: 5\r\n",
                             b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"Upgrade: h2c\r\n"]),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_any_bytes_get_answers_that_can_be_read(server: Running, parts: list[bytes]) -> None:
    for reply in ask(server.port, b"".join(parts)):
        assert reply.status in (200, 400, 405, 413, 414, 417, 431)


def test_random_and_damaged_requests(server: Running) -> None:
    dice = random.Random(7)
    whole = request("POST", "/", b"x" * 50) + chunked("/", b"y" * 50, 7)
    for _ in range(300):
        damaged = bytearray(whole if dice.random() < 0.7 else dice.randbytes(200))
        for _ in range(dice.randint(0, 4)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        for reply in ask(server.port, bytes(damaged)):
            assert reply.status != 500 and reply.body.startswith(b"{")
