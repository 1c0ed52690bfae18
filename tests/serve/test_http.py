"""The protocol class by real sockets: every rule of HTTP/1.1 that a caller could break."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

import httpx
import pytest

from modelwright.serve.messages import Response
from modelwright.serve.patience import Patience
from serve.raw import Caller, Running, ask, request, resident, running, until

MOST = 100_000
QUICK = Patience(idle=0.4, head=0.2, body=0.2, slowest=1e6, linger=0.2, linger_most=0.5, write=0.3)


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


# Order and connections.


def test_pipelined_answers_come_in_the_order_of_the_requests(server: Running) -> None:
    paths = [f"/slow?{n}" if n % 3 == 0 else f"/fast?{n}" for n in range(100)]
    found = ask(server.port, b"".join(request(path=path) for path in paths))
    assert [f"{r.json['path']}?{r.json['query']}" for r in found] == paths


def test_a_connection_is_kept_until_it_is_told_to_end(server: Running) -> None:
    with Caller(server.port) as caller:
        for number in range(5):
            reply = caller.send(request(path=f"/{number}")).reply()
            assert reply.json["path"] == f"/{number}" and "connection" not in reply.headers
        reply = caller.send(request(path="/last", connection="close")).reply()
        assert reply.headers["connection"] == "close" and caller.is_closed()


def test_http_1_0(server: Running) -> None:
    assert [r.headers["connection"] for r in ask(server.port, b"GET / HTTP/1.0\r\n\r\n" * 2)] == [
        "close"
    ]
    kept = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    with Caller(server.port) as caller:
        assert caller.send(kept).reply().headers["connection"] == "keep-alive"
        assert caller.send(kept).reply().status == 200


def test_nothing_behind_connection_close_is_answered(server: Running) -> None:
    found = ask(server.port, request(connection="close") + request(path="/smuggled"))
    assert [r.json["path"] for r in found] == ["/"]


def test_head_has_the_length_and_no_body(server: Running) -> None:
    with Caller(server.port) as caller:
        wanted = int(caller.send(request()).reply().headers["content-length"])
        reply = caller.send(request("HEAD")).reply(head_only=True)
        assert int(reply.headers["content-length"]) == wanted + 1  # the method's name is longer
        assert caller.send(request(path="/next")).reply().json["path"] == "/next"
        caller.send(b"HEAD / HTTP/1.1\r\n\r\n")  # refused: no Host, and still no body
        assert caller.reply(head_only=True).status == 400 and caller.is_closed()


def test_a_half_closed_caller_gets_all_its_answers(server: Running) -> None:
    found = ask(server.port, request(path="/slow") + request() + request(path="/slow"))
    assert [r.json["path"] for r in found] == ["/slow", "/", "/slow"]


def test_callers_that_vanish_leave_nothing(server: Running) -> None:
    whole = request("POST", "/slow", b"x" * 5000)
    for size in (0, 1, 10, 60, 2000, len(whole)):
        with Caller(server.port) as caller:
            caller.send(whole[:size])
            if size % 2 == 0:  # a reset, not an end
                linger = struct.pack("ii", 1, 0)
                caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    until(lambda: server.on_loop(lambda: not server.shared.open))


def test_a_fault_of_the_one_who_answers_is_a_500(server: Running) -> None:
    found = ask(server.port, request(path="/fault") + request())
    assert [r.status for r in found] == [500, 200] and "KeyError" not in found[0].body.decode()


def test_an_answer_counts_once(server: Running) -> None:
    with Caller(server.port) as caller:
        caller.send(request(path="/held"))
        until(lambda: server.echo.later)
        slot = server.echo.later.pop()
        for _ in range(2):
            server.on_loop(lambda: slot(Response(200, b"{}")))
        assert caller.reply().status == 200
        assert caller.send(request(path="/next")).reply().json["path"] == "/next"


# Time and room.


@pytest.fixture(scope="module")
def impatient() -> Iterator[Running]:
    with running(QUICK, max_body=MOST) as found:
        yield found


@pytest.mark.parametrize(
    "begun", [b"G", b"GET / HTTP/1.1\r\nHost: local", request("POST", "/", b"x" * 9)[:-4]]
)
def test_slow_heads_and_bodies_are_told_408(impatient: Running, begun: bytes) -> None:
    with Caller(impatient.port) as caller:
        reply = caller.send(begun).reply()
        assert reply.status == 408 and caller.is_closed()


def test_idle_and_dripping_connections_end(impatient: Running) -> None:
    with Caller(impatient.port) as silent, Caller(impatient.port) as used:
        assert used.send(request()).reply().status == 200
        assert silent.is_closed() and used.is_closed()
    with Caller(impatient.port) as dripping:
        for byte in b"GET / HTTP/1.1\r\na: " + b"b" * 10_000:
            try:
                dripping.send(bytes([byte]))
            except OSError:
                break
            if not impatient.on_loop(lambda: impatient.shared.open):
                break
        else:
            assert dripping.reply().status == 408


def test_a_caller_that_never_reads_fills_no_memory_and_is_ended() -> None:
    with running(Patience(write=1.0), max_body=MOST) as server:
        before = resident()
        with Caller(server.port, window=4096, seconds=0.3) as caller:
            with contextlib.suppress(TimeoutError):
                for _ in range(3000):  # 300 MB of answers
                    caller.send(request(path="/big?100000"))
            assert server.echo.asked < 200
            assert resident() - before < 30e6
            until(lambda: server.on_loop(lambda: not server.shared.open))


def test_thousands_of_requests_in_one_segment_are_not_answered_ahead() -> None:
    with running(Patience(write=1.0), max_body=MOST) as server:
        before = resident()
        with Caller(server.port, window=4096, seconds=0.3) as caller:
            whole = request(path="/big?100000")
            with contextlib.suppress(TimeoutError):
                caller.send(whole * (4_000_000 // len(whole)))
            assert server.echo.asked < 200 and resident() - before < 30e6


def test_a_slow_reader_gets_everything() -> None:
    with running(max_body=MOST) as server, Caller(server.port, window=4096) as caller:
        caller.send(request(path="/big?1000000") * 5 + request(path="/end"))
        assert [len(caller.reply().body) for _ in range(5)] == [1_000_000] * 5
        assert caller.reply().json["path"] == "/end"


def test_more_pipelined_than_may_wait_are_still_all_answered(server: Running) -> None:
    with Caller(server.port) as caller:
        caller.send(request(path="/held") + b"".join(request(path=f"/{n}") for n in range(1000)))
        until(lambda: server.echo.later)
        held = server.echo.later.pop()
        assert server.on_loop(lambda: server.shared.in_flight) <= 200  # the rest is not even read
        server.on_loop(lambda: held(Response(200, b"{}")))
        assert caller.reply().body == b"{}"
        assert [caller.reply().json["path"] for _ in range(1000)] == [f"/{n}" for n in range(1000)]


def test_all_bodies_together_are_bounded() -> None:
    with running(max_body=MOST) as server:
        server.shared.bodies.most = 10 * MOST
        begun = request("POST", "/", b"x" * MOST)[:-1]
        callers = [Caller(server.port).send(begun) for _ in range(12)]
        statuses = [c.reply().status for c in callers[10:]]
        assert statuses == [503, 503]
        assert [c.send(b"x").reply().status for c in callers[:10]] == [200] * 10
        for caller in callers:
            caller.socket.close()


def test_a_thousand_idle_connections_take_little(server: Running) -> None:
    server.on_loop(lambda: None)
    before = resident()
    callers = [Caller(server.port) for _ in range(1000)]
    until(lambda: server.on_loop(lambda: len(server.shared.open)) >= 1000)
    assert (resident() - before) / 1000 < 20_000
    assert all(c.send(request()).reply().status == 200 for c in callers[::100])
    for caller in callers:
        caller.socket.close()
    until(lambda: server.on_loop(lambda: not server.shared.open))


def test_idle_connections_make_room_for_new_ones() -> None:
    with running(max_body=MOST, most=8) as server:
        callers = [Caller(server.port) for _ in range(8)]
        assert [c.send(request()).reply().status for c in callers] == [200] * 8
        with Caller(server.port) as late:
            assert late.send(request()).reply().status == 200
        assert callers[0].is_closed()  # it had idled longest
        busy = [Caller(server.port).send(request(path="/held")) for _ in range(8)]
        until(lambda: len(server.echo.later) == 8)
        with Caller(server.port) as refused:
            reply = refused.reply()
            assert reply.status == 503 and reply.headers["retry-after"] == "1"
        for slot in list(server.echo.later):
            server.echo.later.remove(slot)
            server.on_loop(lambda slot=slot: slot(Response(200, b"{}")))  # type: ignore[misc]
        assert [c.reply().status for c in busy] == [200] * 8
        for caller in (*callers, *busy):
            caller.socket.close()


def test_a_drain_loses_nothing_that_was_asked() -> None:
    with running(max_body=MOST) as server, Caller(server.port) as idle, Caller(server.port) as busy:
        assert idle.send(request()).reply().status == 200
        busy.send(request(path="/slow") + request(path="/two") + request(path="/three"))
        until(lambda: server.echo.asked == 4)
        server.shared.draining = True
        found = busy.replies()
        assert [r.json["path"] for r in found] == ["/slow", "/two", "/three"]
        assert found[-1].headers["connection"] == "close"
        assert idle.send(request()).reply().headers["connection"] == "close" and idle.is_closed()
        with Caller(server.port) as half:
            half.send(request("POST", "/", b"hello")[:-2])
            server.on_loop(server.shared.close_idle)
            assert half.send(b"lo").reply().json["body"] == "hello" and half.is_closed()


def test_a_common_client_is_at_ease(server: Running) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        for number in range(20):
            reply = client.post("/a", content=iter([b"x" * 10] * number))
            assert len(reply.json()["body"]) == 10 * number
