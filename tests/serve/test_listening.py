"""A listening socket outlives its worker: who connects meanwhile waits for the next one."""

from __future__ import annotations

import asyncio
import socket

import grpc
import pytest
import uvloop

import modelwright as mw
from modelwright.core.errors import UsageError
from modelwright.pack.artefact import Artefact
from modelwright.serve.grpc_door import serve_grpc
from modelwright.serve.listening import bound, listen
from modelwright.serve.oip_proto import parsed
from modelwright.serve.settings import Settings
from serve.doors import SECONDS, Desk, OneLive, connected, rows, typed

INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture
def desk(released: mw.Released) -> Desk:
    return Desk(OneLive(Artefact.load(released.run / "artefact")))


@pytest.mark.parametrize(("first", "second"), [(2, 2), (2, 1), (1, 2)])
def test_no_two_servers_share_a_port(first: int, second: int) -> None:
    """Workers of one do, and so a forgotten server would go on to answer a part of all callers."""
    held = listen("127.0.0.1", 0, first)
    port = held[0].getsockname()[1]
    with pytest.raises(UsageError, match=f"Cannot listen on 127.0.0.1:{port}"):
        listen("127.0.0.1", port, second)
    with pytest.raises(UsageError, match="Choose another with --metrics-port"):
        bound("127.0.0.1", port, shared=False, option="--metrics-port")
    for one in held:
        one.close()
    for one in listen("127.0.0.1", port, second):
        one.close()


def test_who_connects_between_two_workers_is_answered_by_the_next(desk: Desk) -> None:
    async def both() -> bytes:
        [listener] = listen("127.0.0.1", 0, 1)
        begin = {"authorize": lambda _given, _scope: None}
        chosen = Settings(models=())
        one = await serve_grpc(desk, chosen, listener=listener, **begin)
        await one.stop(0, is_last=lambda: False)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{one.port}") as channel:
            call = channel.unary_unary(INFER)(typed(rows(1)).SerializeToString())
            waiting = asyncio.ensure_future(call)
            await asyncio.wait_for(connected(one.port), SECONDS)
            assert not waiting.done()
            other = await serve_grpc(desk, chosen, listener=listener, **begin)
            found = await asyncio.wait_for(waiting, SECONDS)
        await other.stop(0)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", other.port))
        return found

    assert len(parsed("ModelInferResponse", uvloop.run(both())).outputs) == 2
