"""A fault of the server's own, over HTTP: told as 500, logged in full, and no other's harm."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

import modelwright as mw
from modelwright.serve.access_log import access_log
from modelwright.serve.app import App
from modelwright.serve.dispatch import Models
from modelwright.serve.http import HttpConnection
from modelwright.serve.journal import Off
from modelwright.serve.loading import Lives, Loader
from modelwright.serve.metrics import Counts
from modelwright.serve.pages import Pages
from modelwright.serve.repository import ModelRepository
from modelwright.serve.settings import Settings, Source
from modelwright.serve.tokens import Gate
from modelwright.serve.tracing import tracing
from serve.running import parsed, request

SECRET = "a path of this machine"


class Faulty(Off):
    """A journal whose every call is a fault."""

    is_on = True

    def ran(self, *_: Any) -> None:
        raise KeyError(SECRET)

    def answered(self, *_: Any) -> None:
        raise KeyError(SECRET)


def no_metrics(_: str) -> tuple[bytes, bytes]:
    raise KeyError(SECRET)


async def app_of(folder: Path) -> App:
    """Everything of a worker but its sockets, with two parts that are broken."""
    source = Source(name="shop", folder=str(folder), version="1", tried=True)
    settings, counts = Settings(models=(source,)), Counts()
    models = Models(settings, counts, asyncio.get_running_loop())
    loader = Loader(settings, models, counts, Lives())
    pages = Pages(models, settings, ModelRepository(models, loader, folder, {}), no_metrics)
    log = access_log(False, counts.log_dropped)
    app = App(models, pages, settings, counts, Gate(settings, {}), log, tracing({}), Faulty())
    loader.changed = app.refresh
    await loader.begin()
    return app


@pytest.mark.parametrize("path", [
    "/metrics", "/predict", "/predict?top_k=1", "/predict?explain=true", "/invocations",
])  # fmt: skip
def test_a_fault_is_told_as_500_and_logged(
    released: mw.Released, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        app = await app_of(released.run / "artefact")
        server = await asyncio.get_running_loop().create_server(
            lambda: HttpConnection(app.shared), "127.0.0.1", 0
        )
        reading, writing = await asyncio.open_connection(*server.sockets[0].getsockname())
        row = app.models.live("shop").manifest.example
        body = {"dataframe_records": [row]} if path == "/invocations" else row
        data, method = (b"", "GET") if path == "/metrics" else (json.dumps(body).encode(), "POST")
        for _ in range(2):  # the connection goes on
            writing.write(request(path, data, method, content_type="application/json"))
            head = await asyncio.wait_for(reading.readuntil(b"\r\n\r\n"), 20)
            size = int(parsed(head).headers["content-length"])
            reply = parsed(head + await reading.readexactly(size))
            assert reply.status == 500 and "see its log" in reply.json()["error"]
            assert SECRET.encode() not in reply.body
        writing.close()
        server.close()

    with caplog.at_level(logging.ERROR, "modelwright.serve"):
        asyncio.run(work())
    told = [record for record in caplog.records if record.exc_info]
    assert len(told) == 2 and all(SECRET in str(record.exc_info[1]) for record in told)
