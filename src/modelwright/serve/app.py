"""The ASGI application: one model behind `/predict`, OIP v2, `/metrics` and `/openapi.json`."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import msgspec

from modelwright.core.intake import Feeds
from modelwright.core.schema import Schema
from modelwright.core.version import __version__
from modelwright.pack.artefact import Answers, Artefact
from modelwright.serve.metrics import Metrics
from modelwright.serve.openapi import openapi
from modelwright.serve.protocol import (
    ProtocolError,
    Question,
    error_body,
    model_metadata,
    read_infer,
    read_predict,
    write_infer,
    write_predict,
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Reader = Callable[[Schema, bytes, int], Question]
Writer = Callable[[str, str, Question, Answers], bytes]
JSON = b"application/json"
OPEN_ROUTES = frozenset({"/v2/health/live", "/v2/health/ready"})
BODY_SECONDS = 10.0
_LOG = logging.getLogger("modelwright.serve")


@dataclass(frozen=True)
class Settings:
    """How a server answers.

    Attributes:
        name, version: what the model is called in answers and routes.
        max_body: bytes of the largest body.
        max_rows: most rows in one request.
        token: bearer token, or None on loopback without one.
    """

    name: str
    version: str
    max_body: int = 16 * 2**20
    max_rows: int = 100_000
    token: str | None = None


@dataclass(frozen=True)
class Reply:
    """Status, body and content type of an answer."""

    status: int
    body: bytes
    kind: bytes = JSON
    allow: str = ""


class App:
    """A model as an ASGI application.

    Example:
        app = App(Artefact.load("runs/<id>/artefact"), Settings("income", "1"))
    """

    def __init__(self, artefact: Artefact, settings: Settings) -> None:
        self.artefact = artefact
        self.settings = settings
        self.metrics = Metrics(settings.name, settings.version, artefact.manifest.limits)
        self._levels = {
            column.name: frozenset([*column.levels, ""])
            for column in artefact.schema.features
            if column.kind == "category"
        }
        self._pages = self._fixed_pages()
        self._posts = self._post_routes()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        reply = await self._reply(scope, path, receive)
        known = path in self._pages or path in self._posts or path == "/metrics"
        self.metrics.request(path if known else "other", reply.status)
        headers = [
            (b"content-type", reply.kind),
            (b"content-length", str(len(reply.body)).encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        if reply.allow:
            headers.append((b"allow", reply.allow.encode()))
        if reply.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        start = {"type": "http.response.start", "status": reply.status, "headers": headers}
        await send(start)
        body = b"" if scope["method"] == "HEAD" else reply.body
        await send({"type": "http.response.body", "body": body})

    async def _reply(self, scope: MutableMapping[str, Any], path: str, receive: Receive) -> Reply:
        try:
            if path not in OPEN_ROUTES:
                self._check_token(scope)
            method = scope["method"]
            if path in self._posts:
                if method != "POST":
                    return _refused(405, f"{path} takes POST.", allow="POST")
                _check_kind(scope)
                started = time.perf_counter()
                body = await _read_body(receive, self.settings.max_body)
                return Reply(200, self._posts[path](body, started))
            if path in self._pages or path == "/metrics":
                if method not in ("GET", "HEAD"):
                    return _refused(405, f"{path} takes GET.", allow="GET, HEAD")
                if path == "/metrics":
                    return Reply(200, self.metrics.page(), b"text/plain; version=0.0.4")
                return Reply(200, self._pages[path])
            return _refused(404, self._no_route(path))
        except ProtocolError as error:
            return Reply(error.status, error_body(error.message, error.problems))
        except Exception:  # noqa: BLE001  the request handler: a fault of ours, details in the log only
            _LOG.exception("fault in %s %s", scope["method"], path)
            return _refused(500, "The server met a fault of its own; see its log.")

    def _check_token(self, scope: MutableMapping[str, Any]) -> None:
        if self.settings.token is None:
            return
        given = next((v for k, v in scope["headers"] if k == b"authorization"), b"")
        wanted = f"Bearer {self.settings.token}".encode()
        if not hmac.compare_digest(given, wanted):
            raise ProtocolError(401, "Wanted the header 'Authorization: Bearer <token>'.")

    def _predict(self, body: bytes, started: float) -> bytes:
        return self._answer(read_predict, write_predict, body, started)

    def _infer(self, body: bytes, started: float) -> bytes:
        return self._answer(read_infer, write_infer, body, started)

    def _answer(self, read: Reader, write: Writer, body: bytes, started: float) -> bytes:
        question = read(self.artefact.schema, body, self.settings.max_rows)
        answers = self.artefact.answer(question.feeds)
        reply = write(self.settings.name, self.settings.version, question, answers)
        self._note(question.feeds, question.rows, started)
        return reply

    def _note(self, feeds: Feeds, rows: int, started: float) -> None:
        self.metrics.answered(rows, time.perf_counter() - started)
        for name, levels in self._levels.items():
            unseen = sum(value not in levels for value in feeds[name])
            if unseen:
                self.metrics.unseen(name, unseen)

    def _post_routes(self) -> dict[str, Callable[[bytes, float], bytes]]:
        base, version = f"/v2/models/{self.settings.name}", self.settings.version
        return {
            "/predict": self._predict,
            f"{base}/infer": self._infer,
            f"{base}/versions/{version}/infer": self._infer,
        }

    def _fixed_pages(self) -> dict[str, bytes]:
        name, version = self.settings.name, self.settings.version
        base = f"/v2/models/{name}"
        about = model_metadata(name, version, self.artefact.schema)
        server = {"name": "modelwright", "version": __version__, "extensions": []}
        ready = {"name": name, "ready": True}
        pages: dict[str, Any] = {
            "/": {"model": name, "version": version, "openapi": "/openapi.json"},
            "/openapi.json": openapi(name, version, self.artefact.manifest),
            "/v2": server,
            "/v2/health/live": {"live": True},
            "/v2/health/ready": {"ready": True},
            base: about,
            f"{base}/ready": ready,
            f"{base}/versions/{version}": about,
            f"{base}/versions/{version}/ready": ready,
        }
        return {path: msgspec.json.encode(page) for path, page in pages.items()}

    def _no_route(self, path: str) -> str:
        if path.startswith("/v2/models/"):
            name, version = self.settings.name, self.settings.version
            return f"No such model or version: this server has {name}, version {version}."
        return "No such route: see /openapi.json."


def _refused(status: int, message: str, *, allow: str = "") -> Reply:
    return Reply(status, error_body(message), allow=allow)


def _check_kind(scope: MutableMapping[str, Any]) -> None:
    """A missing content type means JSON: tritonclient sends none."""
    kind = next((v for k, v in scope["headers"] if k == b"content-type"), JSON)
    if kind.split(b";")[0].strip().lower() not in (JSON, b""):
        found = kind.decode("latin-1")[:60]
        raise ProtocolError(
            415,
            f"Wanted content type application/json, found {found}; "
            "with curl add -H 'content-type: application/json'.",
        )


async def _read_body(receive: Receive, limit: int) -> bytes:
    """The whole body, counted while it comes; what is over the limit is read and dropped."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ProtocolError(400, "The client went away.")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size <= limit:
                    parts.append(chunk)
                elif size > 4 * limit:
                    break
                if not message.get("more_body", False):
                    break
    except TimeoutError as error:
        raise ProtocolError(408, f"The body took longer than {BODY_SECONDS:g} s.") from error
    if size > limit:
        raise ProtocolError(413, f"The body is larger than {limit:,} bytes.")
    return b"".join(parts)
