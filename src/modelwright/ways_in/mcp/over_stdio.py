"""Standard input and output."""

from __future__ import annotations

import os
import signal
import time

import anyio
from mcp.server.mcpserver import MCPServer

from modelwright.ways_in.arguments import McpArguments
from modelwright.ways_in.carry_out import present_call
from modelwright.ways_in.mcp.calling import Desk
from modelwright.ways_in.mcp.server import make_server

PATIENCE = 10.0
"""Seconds that calls have to end after SIGTERM."""


def answer_stdio(given: McpArguments) -> None:
    """Answer the client that started this process, until its end of our input is closed.

    The library keeps standard output for the protocol: whatever a library or a child prints goes to
    standard error.
    """
    server, desk = make_server(given.persona, given.name)
    anyio.run(_stdio, server, desk)


async def _stdio(server: MCPServer, desk: Desk) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_end_when_told, desk)
        await server.run_stdio_async()
        group.cancel_scope.cancel()


async def _end_when_told(desk: Desk) -> None:
    """After SIGTERM let calls end, then end the process: a thread waits in read() for a line that
    may never come, and every file is written whole or not at all."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as told:
        async for _ in told:
            until = time.monotonic() + PATIENCE
            while desk.open_calls and time.monotonic() < until:
                await anyio.sleep(0.02)
            call = present_call()
            if call is not None:
                call.note("ended")
            os._exit(0)
