"""Start a server, read its memory and CPU time, and stop it with everything it started.

Linux only: it reads /proc, and takes in daemonised grandchildren as a child subreaper.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
TICKS = os.sysconf("SC_CLK_TCK")


class DidNotStart(Exception):
    """The server ended, or gave no good answer in time."""


def become_subreaper() -> None:
    """Orphans of our children become our children, so that none is lost."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants() -> list[int]:
    """Every living process below this one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) and fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def cpu_seconds() -> float:
    """CPU time of the server and all its processes; only it runs when this is read."""
    fields = [_stat(pid) for pid in descendants()]
    return sum(int(f[11]) + int(f[12]) for f in fields if f) / TICKS


def pss_mb() -> float:
    """Memory of the server and all its processes; a page shared by n processes counts 1/n."""
    kilobytes = 0
    for pid in descendants():
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1024


class Running:
    """A started server, as a context: leaving it stops every process below this one."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
    ) -> None:
        self.command = list(command)
        self.environment = {**os.environ, **environment}
        self.folder = folder
        self.log = log

    def __enter__(self) -> Running:
        self.started = time.perf_counter()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def first_answer(self, ask: Callable[[], bytes | None], patience: float = 90) -> float:
        """Seconds from the start to the first good answer.

        Raises:
            DidNotStart: it ended, or `patience` seconds passed; with the end of its log.
        """
        while time.perf_counter() - self.started < patience:
            if ask() is not None:
                return time.perf_counter() - self.started
            if self.process.poll() is not None and not descendants():
                break
            time.sleep(0.005)
        tail = self.log.read_text(errors="replace")[-1500:]
        raise DidNotStart(f"{' '.join(self.command)}\n{tail}")

    def __exit__(self, *_: object) -> None:
        for number, patience in ((signal.SIGTERM, 3), (signal.SIGKILL, 3)):
            for pid in descendants():
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
            end = time.perf_counter() + patience
            while descendants() and time.perf_counter() < end:
                self.process.poll()
                time.sleep(0.05)
        self.process.wait()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []
