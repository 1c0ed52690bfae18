"""The supervisor: load, check, bind, fork workers, start dead ones again, end them in order."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.util
import ipaddress
import logging
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from modelwright.core.errors import MissingExtra, ModelwrightError, UsageError
from modelwright.core.limits import MOST_WORKERS
from modelwright.serve.journal import check as check_journal
from modelwright.serve.listening import Signs, bound, listen
from modelwright.serve.live import LiveModel
from modelwright.serve.loading import Lives, load_all
from modelwright.serve.log_lines import log_lines
from modelwright.serve.metrics_port import serve_metrics
from modelwright.serve.metrics_store import new_folder, remove_folder
from modelwright.serve.settings import Settings
from modelwright.serve.signals import SIGNALS, awaited, hold_signals
from modelwright.serve.tls import Tls, tls_from
from modelwright.serve.tokens import Gate
from modelwright.serve.worker import Setup, run_worker

LONGEST_EXAMPLE = 1000
POLL_SECONDS = 0.25
BOUNDS = (
    ("port", 0, 65535), ("grpc_port", 0, 65535), ("metrics_port", 0, 65535),
    ("workers", 1, MOST_WORKERS), ("max_body", 1, 2**40), ("max_rows", 1, 2**31),
)  # fmt: skip
"""Numbers that options of the command line give: name, least, most."""
MOST_FAILED_STARTS = 20
"""A worker that dies so many times in a row before it answers is not started again."""
_LOG = logging.getLogger("modelwright.serve")


def serve(settings: Settings, *, until_stdin_closes: bool = False) -> int:
    """Answer until SIGTERM or Ctrl-C, then let open requests finish.

    Args:
        settings: models, addresses, limits, tokens.
        until_stdin_closes: end with the process that started this one.

    Returns:
        The exit code.

    Raises:
        UsageError: a port is taken, an open address without a token, `constant` is no label, or a
            number is out of its bounds.
        ArtefactError: a folder was changed, is foreign, or is not signed by a trusted key.
    """
    hold_signals()
    log_lines()
    _check_bounds(settings)
    if not settings.tokens and not is_loopback(settings.host):
        raise UsageError(
            f"Refused to serve on {settings.host} without a token: anybody could use the model.",
            hint="Set MODELWRIGHT_TOKEN (serve.token_env), or serve on 127.0.0.1.",
        )
    tls = tls_from(settings)
    for warning in tls.warnings if tls is not None else ():
        _LOG.warning("%s", warning)
    check_journal(settings.journal)
    lives = load_all(settings)
    listeners = listen(settings.host, settings.port, settings.workers)
    settings = msgspec.structs.replace(settings, port=listeners[0].getsockname()[1])
    doors = Doors(settings)
    folder, signs = new_folder(), Signs(settings.workers)
    try:
        gate = Gate(settings, os.environ)
        works: list[Callable[[], int]] = [
            functools.partial(
                run_worker,
                Setup(settings, listener, lives, folder, gate, signs, number, tls, grpc),
            )
            for number, (listener, grpc) in enumerate(zip(listeners, doors.grpc, strict=True))
        ]
        if doors.metrics is not None:
            works.append(functools.partial(serve_metrics, doors.metrics, folder, signs))
        supervisor = Supervisor(works, signs, functools.partial(_renew, tls, gate))
        gc.collect()
        gc.freeze()  # a collection in a worker would write to, and so copy, every page of it
        supervisor.start()
        _announce(settings, lives, doors)
        return supervisor.watch(settings.drain, until_stdin_closes=until_stdin_closes)
    finally:
        remove_folder(folder)


def _check_bounds(settings: Settings) -> None:
    """The same for a command line as for a spec."""
    for name, least, most in BOUNDS:
        found = getattr(settings, name)
        if found is not None and not least <= found <= most:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} is {found}, wanted {least} to {most:,}.")


class Doors:
    """The ports beside that of HTTP, taken before anything is forked.

    Attributes:
        grpc: as those of HTTP, one for each worker: whoever connects while it is started again
            waits for the next. None for each where there is no such port.
        metrics: listening, or None.
    """

    def __init__(self, settings: Settings) -> None:
        self.grpc: list[socket.socket] | list[None] = [None] * settings.workers
        self.metrics: socket.socket | None = None
        if settings.grpc_port is not None:
            for package in ("hpack", "google", "google.protobuf"):
                if importlib.util.find_spec(package) is None:
                    raise MissingExtra(package, "grpc")
            port, option = settings.grpc_port, "--grpc-port"
            self.grpc = listen(settings.host, port, settings.workers, option)
        if settings.metrics_port is not None:
            port, option = settings.metrics_port, "--metrics-port"
            self.metrics = bound(settings.host, port, shared=False, option=option)
            self.metrics.listen(64)
            self.metrics.setblocking(False)

    @property
    def grpc_port(self) -> int | None:
        """Where gRPC is to listen."""
        first = self.grpc[0]
        return None if first is None else int(first.getsockname()[1])


@dataclass
class Child:
    """A process that is kept alive: what it runs, and how it fared."""

    work: Callable[[], int]
    pid: int = 0
    failed_starts: int = 0


@dataclass
class Supervisor:
    """Keeps children alive. One thread, no event loop, so that it can always fork.

    Args:
        works: what each child runs; gives its exit code. The first ones are the workers.
        signs: of the workers.
        renew: called on SIGHUP, for what children have from here.
    """

    works: list[Callable[[], int]]
    signs: Signs
    renew: Callable[[], None]
    children: list[Child] = field(default_factory=list)

    def start(self) -> None:
        """Start every child."""
        self.children = [Child(work) for work in self.works]
        for child in self.children:
            self._fork(child)

    def watch(self, drain: float, *, until_stdin_closes: bool = False) -> int:
        """Start dead children again until it is told to end; the exit code."""
        while True:
            number = awaited(POLL_SECONDS)
            if number == signal.SIGHUP:
                self.renew()
                self._tell(signal.SIGHUP)
            elif number in (signal.SIGTERM, signal.SIGINT):
                return self._end(drain)
            if until_stdin_closes and _stdin_is_closed():
                return self._end(drain)
            if not self._revive():
                self._end(drain)
                return 3
            reap_orphans({child.pid for child in self.children})

    def _fork(self, child: Child) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            child.pid = pid
            return
        code = 3
        try:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            code = child.work()  # lets signals in again when it can take them
        except KeyboardInterrupt:
            code = 130
        except ModelwrightError as error:
            print(f"modelwright: {error}", file=sys.stderr, flush=True)
            code = error.exit_code
        except Exception:  # noqa: BLE001  the end of a process: nobody is above it
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:  # a terminal that is gone must not let the child go on as its supervisor
                os._exit(code)

    def _revive(self) -> bool:
        """Start what has died again; False when that is of no use."""
        for number, child in enumerate(self.children):
            code = _ended(child.pid)
            if code is None:
                continue
            ended, child.pid = child.pid, 0
            answered = number >= len(self.signs) or self.signs.has_started(number)
            child.failed_starts = 0 if answered else child.failed_starts + 1
            if child.failed_starts >= MOST_FAILED_STARTS:
                print("modelwright: a worker cannot start; see above.", file=sys.stderr)
                return False
            _LOG.warning(
                "worker %d (process %d) ended with %d and is started again", number, ended, code
            )
            if number < len(self.signs):
                self.signs.forget(number)
            self._fork(child)
        return True

    def _end(self, drain: float) -> int:
        """Tell all to drain; after their time is over they are killed."""
        self.signs.end()
        self._tell(signal.SIGTERM)
        deadline = time.monotonic() + drain + 2.0
        left = [child for child in self.children if child.pid]
        while left and time.monotonic() < deadline:
            awaited(0.05)
            left = [child for child in left if _ended(child.pid) is None]
        for child in left:
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
        return 0

    def _tell(self, number: int) -> None:
        for child in self.children:
            if child.pid:
                with contextlib.suppress(ProcessLookupError):  # it has ended, and was reaped
                    os.kill(child.pid, number)


def _ended(pid: int) -> int | None:
    """The exit code of a child that has ended (128 and the signal for a killed one), or None."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 1
    if not found:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def reap_orphans(own: Container[int]) -> None:
    """Bury what process 1 of a container inherits: the journal's processes of killed workers.

    Args:
        own: children whose ends somebody else waits for.
    """
    with contextlib.suppress(ChildProcessError):  # there is no child at all
        while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if found.si_pid in own:
                return
            os.waitpid(found.si_pid, 0)


def _stdin_is_closed() -> bool:
    """Whether the pipe of the parent has closed, which happens however it ends."""
    try:
        readable, _, _ = select.select([0], [], [], 0)
        return bool(readable) and not os.read(0, 1024)
    except OSError:  # there is none
        return True


def _renew(tls: Tls | None, gate: Gate) -> None:
    """Workers that are started later get the certificate and the tokens of now."""
    for read in (tls.reload if tls is not None else None, gate.renew):
        try:
            if read is not None:
                read()
        except UsageError as error:
            _LOG.error("what was read before stays in use: %s", error)


def _announce(settings: Settings, lives: Lives, doors: Doors) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{'https' if settings.certificate else 'http'}://{host}:{settings.port}"
    names = ", ".join(f"{live.model} version {live.version}" for live in lives.champions.values())
    _say(f"Serving {names} on {address}")
    if doors.grpc_port is not None:
        _say(f"  gRPC on {host}:{doors.grpc_port}")
    if doors.metrics is not None:
        _say(f"  metrics on http://{host}:{doors.metrics.getsockname()[1]}/metrics")
    if not settings.quiet:
        near = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")  # noqa: S104  an address to call: nothing is bound to it
        token = " -H 'authorization: Bearer <token>'" if settings.tokens else ""
        _say(_invitation(next(iter(lives.champions.values())), near, token))


def _say(text: str) -> None:
    """Tell whoever started it; when nobody reads that any more it serves all the same."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  for the rest of its life


def _invitation(live: LiveModel, address: str, token: str) -> str:
    """A request to paste, made of a typical row; wide tables have theirs in the OpenAPI page."""
    body = msgspec.json.encode(live.manifest.example).decode().replace("'", "'\\''")
    if len(body) > LONGEST_EXAMPLE:
        return f"  an example: curl{token} {address}/openapi.json    stop: Ctrl-C"
    header = f"-H 'content-type: application/json'{token}"
    return f"  try: curl {address}/predict {header} -d '{body}'\n  stop: Ctrl-C"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
        (True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
