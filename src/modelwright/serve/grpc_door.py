"""The gRPC door: methods of OIP v2, health and reflection, in the loop that HTTP runs in.

Its HTTP/2 is our own (`serve.http2`, `serve.grpc_calls`): the server of grpcio costs hundreds of
microseconds a call. An optional extra: import it where a gRPC port is asked for.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

from modelwright.serve import grpc_health, oip_proto
from modelwright.serve.access_log import Log, Off, sane_id
from modelwright.serve.grpc_calls import GrpcCall, GrpcService, Method
from modelwright.serve.grpc_reflection import reflection_methods
from modelwright.serve.grpc_told import teller
from modelwright.serve.http2 import Http2Connection, Http2Connections
from modelwright.serve.listening import BACKLOG, shut
from modelwright.serve.messages import Answered, Call, Dispatcher, Live, ProtocolError, Question
from modelwright.serve.oip import (
    Entry,
    Repository,
    check_load_parameters,
    model_metadata,
    server_metadata,
)
from modelwright.serve.patience import Patience
from modelwright.serve.settings import Settings
from modelwright.serve.tls import Tls
from modelwright.serve.tracing import Off as NoTraces
from modelwright.serve.tracing import Tracer

Authorize = Callable[[str, str], object]
"""Takes the `authorization` entry, empty where there is none, and the full name of the method that
is called; raises ProtocolError 401, 403 or 429."""
KEY, VERSION, REQUEST_ID = "x-modelwright-key", "x-modelwright-version", "x-request-id"
NO_LOG, NO_TRACES = Off(), NoTraces()
IDLE_SECONDS = 1800.0
"""Clients keep a connection for later calls, and open a new one when they are told goodbye."""
HANDSHAKE_SECONDS = 10.0


class GrpcHandle:
    """A running gRPC server.

    Attributes:
        port: where it listens.
    """

    def __init__(self, door: _Door, service: GrpcService, shared: Http2Connections) -> None:
        self.port = 0
        self._door, self._service, self._shared = door, service, shared
        self._tls: Tls | None = None

    @property
    def in_flight(self) -> int:
        """Calls without an answer."""
        return self._service.in_flight

    async def listen(self, listener: socket.socket, tls: Tls | None) -> None:
        """Take callers from now on."""
        self._tls = tls
        self._listener = listener
        self.port = int(listener.getsockname()[1])
        loop = self._service.loop
        self._server = await loop.create_server(
            self._connection, sock=self._listener.dup(), backlog=BACKLOG, **self._secured()
        )
        self._sweeper = loop.create_task(self._sweep())

    def drain(self) -> None:
        """Say NOT_SERVING to whoever asks for health; calls are still answered."""
        self._door.draining = True

    def reload_tls(self) -> None:
        """Read the certificate files again, for connections from now on."""
        if self._tls is not None:
            self._tls.reload()

    async def stop(self, grace: float, is_last: Callable[[], bool] = lambda: True) -> None:
        """Take no new call, let open ones end for up to `grace` seconds, and close.

        Args:
            grace: seconds.
            is_last: whether nobody will listen in its place; else who waits in the queue of the
                kernel is left to the next worker. Asked a moment later than the call.
        """
        self.drain()
        began, loop, shared = time.perf_counter(), self._service.loop, self._shared
        self._server.close()
        shared.drain()
        await asyncio.sleep(0.05)  # a group of processes that is told to end is not told at once
        last = is_last()
        late = asyncio.gather(
            *(
                loop.connect_accepted_socket(self._connection, taken, **self._secured())
                for taken in (shut(self._listener) if last else ())
            ),
            return_exceptions=True,
        )
        while time.perf_counter() - began < grace and (shared.open or not late.done()):
            await asyncio.sleep(0.02)
        shared.abort()
        late.cancel()
        for task in (self._sweeper, *self._service.tasks):
            task.cancel()
        if last:
            self._listener.close()

    def _connection(self) -> Http2Connection:
        return Http2Connection(self._shared, self._service.loop)

    def _secured(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {"ssl": self._tls.context, "ssl_handshake_timeout": HANDSHAKE_SECONDS}

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._shared.sweep()


async def serve_grpc(
    dispatcher: Dispatcher,
    settings: Settings,
    *,
    authorize: Authorize,
    listener: socket.socket,
    repository: Repository | None = None,
    most: int = 10_000,
    failed: Callable[[int, str, str], None] = lambda _status, _model, _reason: None,
    held: Callable[[], int] = lambda: 0,
    log: Log = NO_LOG,
    tracer: Tracer = NO_TRACES,
) -> GrpcHandle:
    """Answer gRPC in this loop until the handle is stopped.

    Args:
        dispatcher: answers.
        settings: limits and certificate files.
        authorize: checks the token of a call.
        listener: bound, listening and not blocking; its own for each worker (`listening.listen`).
        repository: what may be loaded and unloaded; without it the index lists what is served.
        most: connections at once; those that idle longest make room.
        failed, held: see `grpc_calls.GrpcService`.
        log, tracer: get a line and a span for each call that has an answer.

    Raises:
        UsageError: the certificate cannot be read.
    """
    tls = None
    if settings.certificate:
        key = settings.key_file or settings.certificate
        tls = Tls(settings.certificate, key, protocol="h2")
    patience = Patience(idle=IDLE_SECONDS)
    door = _Door(dispatcher, settings, repository)
    methods = door.methods()
    service = GrpcService(
        methods, authorize, settings.max_body, settings.queue,
        asyncio.get_running_loop(), patience, failed, held, teller(log, tracer, methods),
    )  # fmt: skip
    handle = GrpcHandle(door, service, Http2Connections(service, most, patience))
    await handle.listen(listener, tls)
    return handle


class _Door:
    """The methods of the service; bytes in and bytes out, so that nothing is made twice."""

    def __init__(
        self, dispatcher: Dispatcher, settings: Settings, repository: Repository | None
    ) -> None:
        self.dispatcher = dispatcher
        self.draining = False
        self._settings = settings
        self._repository = repository

    def methods(self) -> dict[str, Method]:
        """Everything that can be called, by full names."""
        own = {
            "ServerLive": Method(self._server_live, is_open=True),
            "ServerReady": Method(self._server_ready, is_open=True),
            "ModelReady": Method(self._model_ready),
            "ServerMetadata": Method(self._server_metadata),
            "ModelMetadata": Method(self._model_metadata),
            "ModelInfer": Method(self._infer),
            "RepositoryIndex": Method(self._index),
            "RepositoryModelLoad": Method(self._load),
            "RepositoryModelUnload": Method(self._unload),
        }
        return {
            **{f"/{oip_proto.SERVICE}/{name}": method for name, method in own.items()},
            **grpc_health.health_methods(self, oip_proto.SERVICE),
            **reflection_methods((oip_proto.DESCRIBED, grpc_health.FILE)),
        }

    def models(self) -> tuple[str, ...]:
        """Names of all models."""
        return self.dispatcher.models()

    def is_ready(self, model: str | None) -> bool:
        """Whether a model, or everything, answers, and will go on to."""
        return not self.draining and self.dispatcher.is_ready(model)

    def _infer(self, call: GrpcCall, body: bytes) -> None:
        request = oip_proto.parsed("Infer", body)
        call.model = request.model_name
        settings, entries, received = self._settings, call.head.entries, call.received_at

        def read(live: Live) -> Question:
            return oip_proto.read_message(
                live.schema, request, settings.max_rows, settings.key,
                counts_unknown=settings.unknown_columns == "count",
            )  # fmt: skip

        def then(outcome: Answered | BaseException) -> None:
            if not isinstance(outcome, Answered):
                call.refuse(outcome)
                return
            try:
                call.found = outcome
                call.reply(_written(outcome))
            except Exception as error:  # noqa: BLE001  refuse() logs what is our fault, and answers
                call.refuse(error)

        seconds, asked = settings.deadline, call.head.seconds
        self.dispatcher.ask(
            Call(
                request.model_name,
                request.model_version or entries.get(VERSION),
                entries.get(KEY),
                received + (seconds if asked is None else min(seconds, asked)),
                sane_id(entries.get(REQUEST_ID, "")) or request.id,
                entries.get("traceparent", ""),
                received,
                len(body),
            ),
            read,
            then,
        )

    def _server_live(self, _call: GrpcCall, _body: bytes) -> bytes:
        return _message("ServerLiveResponse", live=True)

    def _server_ready(self, _call: GrpcCall, _body: bytes) -> bytes:
        return _message("ServerReadyResponse", ready=self.is_ready(None))

    def _model_ready(self, _call: GrpcCall, body: bytes) -> bytes:
        request = oip_proto.parsed("ModelReadyRequest", body)
        self.dispatcher.live(request.name, request.version or None)
        return _message("ModelReadyResponse", ready=self.is_ready(request.name))

    def _server_metadata(self, _call: GrpcCall, _body: bytes) -> bytes:
        return _message("ServerMetadataResponse", **server_metadata())

    def _model_metadata(self, _call: GrpcCall, body: bytes) -> bytes:
        request = oip_proto.parsed("ModelMetadataRequest", body)
        live = self.dispatcher.live(request.name, request.version or None)
        versions = (live.version,) if request.version else self.dispatcher.versions(request.name)
        about = model_metadata(live.model, versions, live.schema)
        data: bytes = oip_proto.metadata_message(about).SerializeToString()
        return data

    def _index(self, _call: GrpcCall, body: bytes) -> bytes:
        request = oip_proto.parsed("RepositoryIndexRequest", body)
        found = self._repository.index() if self._repository else served(self.dispatcher)
        models = [e for e in found if not request.ready or e.state == "READY"]
        kind = oip_proto.MESSAGES["RepositoryIndexResponse.ModelIndex"]
        rows = [
            kind(name=e.name, version=e.version, state=e.state, reason=e.reason) for e in models
        ]
        return _message("RepositoryIndexResponse", models=rows)

    def _load(self, call: GrpcCall, body: bytes) -> None:
        repository, model = self._named("RepositoryModelLoadRequest", body)
        call.later(_emptily(repository.load(model, call.token)))

    def _unload(self, call: GrpcCall, body: bytes) -> None:
        repository, model = self._named("RepositoryModelUnloadRequest", body)
        call.later(_emptily(repository.unload(model, call.token)))

    def _named(self, kind: str, body: bytes) -> tuple[Repository, str]:
        request = oip_proto.parsed(kind, body)
        check_load_parameters(request.parameters)
        if self._repository is None:
            raise ProtocolError(501, "This server loads and unloads nothing by request.")
        # KServe's and MLServer's definition has the model's name where Triton's has a repository's
        return self._repository, request.model_name or request.repository_name


def served(dispatcher: Dispatcher) -> list[Entry]:
    """The index of a server without a repository: what it serves."""
    return [
        Entry(model, version)
        for model in dispatcher.models()
        for version in dispatcher.versions(model)
    ]


def _message(kind: str, **fields: Any) -> bytes:
    data: bytes = oip_proto.MESSAGES[kind](**fields).SerializeToString()
    return data


async def _emptily(work: Awaitable[None]) -> bytes:
    """The answer of a method that answers nothing."""
    await work
    return b""


def _written(found: Answered) -> bytes:
    live = found.live
    return oip_proto.write_message(
        live.model, live.version, found.question, found.answers, parameters=found.marks
    )
