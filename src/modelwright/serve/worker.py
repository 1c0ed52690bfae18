"""One process that answers: loop, doors, followers, and an end that loses nobody's request."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from modelwright.core.errors import UsageError
from modelwright.serve.access_log import access_log
from modelwright.serve.app import App
from modelwright.serve.dispatch import CountedCalls, Models
from modelwright.serve.http import HttpConnection
from modelwright.serve.journal import journal_of
from modelwright.serve.label_desk import desk_of
from modelwright.serve.listening import BACKLOG, Signs, shut
from modelwright.serve.loading import Lives, Loader
from modelwright.serve.log_lines import of_worker, sign_lines
from modelwright.serve.metrics import Counts
from modelwright.serve.metrics_door import page
from modelwright.serve.metrics_store import EVERY, Keeper, remove_folder
from modelwright.serve.pages import Pages
from modelwright.serve.repository import ModelRepository
from modelwright.serve.settings import Settings
from modelwright.serve.signals import let_signals_in
from modelwright.serve.tls import Tls
from modelwright.serve.tokens import Gate
from modelwright.serve.tracing import tracing

if TYPE_CHECKING:
    from modelwright.serve.grpc_door import GrpcHandle

LAME_DUCK_SECONDS = 1.0
"""After SIGTERM, how long callers on open connections still get answers that end them."""
ORPHAN_SECONDS = 0.4
"""The same when the supervisor was killed: whoever starts the next one wants the port."""
TICK_SECONDS = 0.1
FOLLOW_SECONDS = 0.25
FAULT_SECONDS = 5.0
"""After a look at the registry that met a fault of ours."""
HANDSHAKE_SECONDS = 10.0
FILES_APART = 96
"""Open files that callers leave to us, for models, metrics and the registry."""
GRPC_SHARE = 4
"""One of so many open files may be a connection of gRPC, where there is a port for it."""
SWITCH_SECONDS = 0.0005
"""Threads that load a model give the interpreter back this soon; the default is 5 ms."""


_LOG = logging.getLogger("modelwright.serve")


@dataclass(frozen=True)
class Setup:
    """What the supervisor hands to each worker by forking.

    Attributes:
        listener: bound and listening; its own for each worker.
        lives: loaded models, whose memory the workers share.
        folder: where the numbers of all workers are.
        signs: what the supervisor and its workers tell each other.
        tls: for HTTPS, or None.
        grpc: as `listener`, for gRPC, or None.
    """

    settings: Settings
    listener: socket.socket
    lives: Lives
    folder: Path
    gate: Gate
    signs: Signs
    number: int = 0
    tls: Tls | None = None
    grpc: socket.socket | None = None


def run_worker(setup: Setup) -> int:
    """Answer until SIGTERM; the exit code."""
    sys.setswitchinterval(SWITCH_SECONDS)
    sign_lines(of_worker(setup.number, setup.settings.workers))
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Worker(setup).run())
    return 0


def raise_file_limit() -> int:
    """Let this process open as many files as it is allowed to; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a system that has a lower limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft


class Worker:
    """The life of a process, in the order in which it happens."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._settings = setup.settings
        self._orphan = False
        self._stop = asyncio.Event()
        self._look = asyncio.Event()
        self._tls = setup.tls.context if setup.tls is not None else None
        self._handshake = HANDSHAKE_SECONDS if self._tls else None
        self._grpc: GrpcHandle | None = None

    def _named(self) -> list[str]:
        """Whose it is, for processes of its own: models, port, and which of several workers."""
        settings = self._settings
        names = [*(one.name for one in settings.models), f"port={settings.port}"]
        return [*names, *of_worker(self._setup.number, settings.workers)]

    async def run(self) -> None:
        """Start, answer, drain."""
        loop = asyncio.get_running_loop()
        self._counts = Counts()
        self._keeper = Keeper(self._setup.folder, self._counts, self._setup.number)
        self._models = Models(self._settings, self._counts, loop)
        self._log = access_log(self._settings.access_log, self._counts.log_dropped)
        self._tracer = tracing(os.environ)
        self._journal = journal_of(self._settings.journal, self._counts, self._named())
        self._models.journal = self._journal
        self._desk = desk_of(self._settings, self._counts, keeps_up=self._setup.number == 0)
        self._loader = Loader(self._settings, self._models, self._counts, self._setup.lives)
        self._repository = ModelRepository(
            self._models, self._loader, self._setup.folder,
            {one.name: one.project for one in self._settings.models if one.project},
        )  # fmt: skip
        pages = Pages(self._models, self._settings, self._repository, self._metrics)
        self._app = App(
            self._models, pages, self._settings, self._counts, self._setup.gate, self._log,
            self._tracer, self._journal, self._desk,
        )  # fmt: skip
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        apart = len(list(Path("/dev/fd").iterdir())) + FILES_APART
        if self._setup.grpc is not None:
            apart += files // GRPC_SHARE
        self._app.shared.most = min(self._app.shared.most, max(files - apart, files // 2))
        self._loader.changed = self._app.refresh
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._look.set)
        let_signals_in()
        await self._loader.begin()
        await self._repository.follow()  # one that is started again serves nothing that is unloaded
        self._save()  # the port of metrics may be asked before the first regular save
        gc.collect()
        gc.freeze()  # what is loaded stays: no collection needs to walk over it
        self._grpc = await self._grpc_door()  # first: who is ready over HTTP is so here as well
        self._server = await loop.create_server(
            lambda: HttpConnection(self._app.shared), sock=self._setup.listener.dup(),
            ssl=self._tls, backlog=BACKLOG, ssl_handshake_timeout=self._handshake,
        )  # fmt: skip
        self._setup.signs.started(self._setup.number)
        beside = [
            loop.create_task(self._every(TICK_SECONDS, self._tick)),
            loop.create_task(self._every(1.0, self._app.shared.sweep)),
            loop.create_task(self._every(EVERY, self._save)),
            loop.create_task(self._follow()),
        ]
        await self._stop.wait()
        await self._drain()
        for task in beside:
            task.cancel()
        self._loader.close()
        self._log.close()
        self._tracer.close()
        self._journal.close()
        self._desk.close()
        self._models.tick(time.perf_counter())  # it counts what runs have left for it
        if not self._orphan:
            self._keeper.save()

    async def _grpc_door(self) -> GrpcHandle | None:
        """The gRPC server, which only those load who ask for it."""
        if self._setup.grpc is None:
            return None
        from modelwright.serve.grpc_door import serve_grpc

        gate, calls = self._setup.gate, CountedCalls(self._models, self._journal)
        return await serve_grpc(
            calls,
            self._settings,
            authorize=lambda token, method: gate.admit_call(
                method, {"authorization": token}, time.perf_counter()
            ),
            listener=self._setup.grpc,
            most=max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // GRPC_SHARE),
            repository=self._repository,
            failed=calls.failed,
            held=calls.held,
            log=self._log,
            tracer=self._tracer,
        )

    def _renew_secrets(self) -> None:
        """Read certificates and tokens again, for connections and requests from now on."""
        setup, grpc = self._setup, self._grpc
        if setup.tls is not None:
            self._renewed("certificate", setup.tls.reload)
        if grpc is not None and self._settings.certificate:
            self._renewed("certificate", grpc.reload_tls)
        if any(token.file for token in self._settings.tokens):
            self._renewed("tokens", setup.gate.renew)

    def _renewed(self, what: str, read: Callable[[], object]) -> None:
        outcome = "ok"
        try:
            read()
        except UsageError as error:
            outcome = "failed"
            _LOG.error("the %s of before stays in use: %s", what, error)
        self._counts.counter("modelwright_secret_reloads_total", outcome, what)[0] += 1

    def _metrics(self, accept: str) -> tuple[bytes, bytes]:
        self._tick()
        self._save()
        return page(self._setup.folder, accept)

    def _save(self) -> None:
        grpc = self._grpc.in_flight if self._grpc is not None else 0
        self._counts.in_flight[0] = self._app.shared.in_flight + grpc
        self._counts.queue_depth[0] = sum(
            lane.batcher.depth for one in self._models.served.values() for lane in one.everyone()
        )
        self._keeper.save()

    def _tick(self) -> None:
        self._models.tick(time.perf_counter())
        if self._setup.signs.is_orphan():
            self._orphan = True
            self._stop.set()

    async def _every(self, seconds: float, work: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                work()
            # logged: a task that ended would leave deadlines unkept and metrics as they were
            except Exception:  # noqa: BLE001  a disk that is full: the next time may be better
                _LOG.exception("%s failed; it is tried again in %g s", work.__name__, seconds)

    async def _follow(self) -> None:
        """Ask the registry a few times a second, and at once on SIGHUP."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), FOLLOW_SECONDS)
            at_once = self._look.is_set()
            self._look.clear()
            try:
                if at_once:
                    self._renew_secrets()
                await self._repository.follow()
                await self._loader.follow(at_once=at_once)
            except Exception:  # noqa: BLE001  what serves goes on, and the next look may succeed
                _LOG.exception(
                    "fault while following the registry; what is loaded goes on answering, and the "
                    "next look is in %g s", FAULT_SECONDS,
                )  # fmt: skip
                await asyncio.sleep(FAULT_SECONDS)

    def _is_last(self) -> bool:
        """Whether no worker is going to be started in its place."""
        return self._orphan or self._setup.signs.is_ending

    async def _drain(self) -> None:
        """Answer everybody who is connected or in the queue of the kernel, then end.

        Not ready any more, so that balancers turn away; answers end their connection; after a
        second idle connections are closed; what is under way has until `drain` is over.
        """
        shared, loop = self._app.shared, asyncio.get_running_loop()
        began = time.perf_counter()
        ending: asyncio.Task[None] | None = None
        taken: list[asyncio.Task[Any]] = []
        self._models.draining = shared.draining = True
        if self._grpc is not None:
            self._grpc.drain()
            ending = loop.create_task(self._grpc.stop(self._settings.drain, self._is_last))
        patience = ORPHAN_SECONDS if self._orphan else LAME_DUCK_SECONDS
        before = set(shared.open)
        while shared.open and time.perf_counter() - began < patience:
            await asyncio.sleep(0.02)
        self._server.close()
        await asyncio.sleep(0.05)  # a group of processes that is told to end is not told at once
        if self._is_last():  # else the next worker takes who waits
            taken = [
                loop.create_task(loop.connect_accepted_socket(
                    lambda: HttpConnection(shared), late, ssl=self._tls,
                    ssl_handshake_timeout=self._handshake,
                ))
                for late in shut(self._setup.listener)
            ]  # fmt: skip
        if taken:  # a caller that never ends its handshake holds up nobody
            await asyncio.wait(taken, timeout=LAME_DUCK_SECONDS)
        await asyncio.sleep(0.05)
        shut_at = time.perf_counter()
        while shared.open - before and time.perf_counter() - shut_at < patience:
            await asyncio.sleep(0.02)  # who has just come in may be slow to ask
        shared.close_idle()
        while shared.open and time.perf_counter() - began < self._settings.drain:
            await asyncio.sleep(0.02)
            shared.close_idle()
        if ending is not None:
            await ending
        if self._orphan:
            remove_folder(self._setup.folder)
