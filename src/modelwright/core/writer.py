"""One writer in a project at a time: a lease with a fencing token.

A run or retraining holds the project while it writes. The kernel's lock tells a dead holder from a
live one at once; a holder that was stopped (SIGSTOP, a sleeping laptop) and has not been heard of
for `SILENT` seconds is passed over, and its token, which is older than the new one, then no longer
opens the registry (Kleppmann, "How to do distributed locking", 2016).
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from modelwright.core.errors import Refused
from modelwright.core.principal import acting
from modelwright.core.store import (
    from_json,
    is_held,
    locked,
    locked_now,
    timestamp,
    to_json,
    write_atomic,
)

FILE = Path(".modelwright") / "writer.json"
SILENT = 60.0
BEAT = 10.0


class Writer(msgspec.Struct, frozen=True):
    """Who holds, or last held, a project. `beat`: seconds since 1970 when it was last heard of."""

    token: int
    who: str
    what: str
    since: str
    beat: float


_HELD: contextvars.ContextVar[Lease | None] = contextvars.ContextVar("held", default=None)


class Lease:
    """The right to write in a project, while `writing` holds it."""

    def __init__(self, folder: Path, writer: Writer) -> None:
        self._folder = folder
        self.writer = writer

    def must_hold(self) -> None:
        """Raise unless no later token was given out.

        Raises:
            Refused: another writer has taken over meanwhile.
        """
        now = last_writer(self._folder)
        if now is not None and now.token != self.writer.token:
            raise Refused(
                f"{now.who} has taken over this project ({now.what}, since {now.since}): "
                f"this {self.writer.what} was silent for more than {SILENT:.0f} s.",
                hint="Nothing was registered; begin again when the other is done.",
                rule="one_writer",
                evidence={"token": self.writer.token, "newer": now.token, "holder": now.who},
            )

    def beat(self) -> None:
        """Say that the holder lives."""
        with locked(_gate(self._folder)):
            now = last_writer(self._folder)
            if now is not None and now.token == self.writer.token:
                _write(self._folder, msgspec.structs.replace(now, beat=time.time()))


@contextlib.contextmanager
def writing(folder: Path, what: str) -> Iterator[Lease]:
    """Hold a project.

    Args:
        folder: of the project.
        what: run, retrain or reproduce, for whoever is refused.

    Raises:
        Refused: another process holds it.
    """
    lease, alive = _take(folder, what)
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(BEAT):
            lease.beat()

    beating = threading.Thread(target=keep, name="writer", daemon=True)
    beating.start()
    held = _HELD.set(lease)
    try:
        yield lease
    finally:
        _HELD.reset(held)
        ended.set()
        beating.join()
        alive.close()


def must_still_hold(folder: Path) -> None:
    """Raise if this process began to write under a lease that was passed over since."""
    lease = _HELD.get()
    if lease is not None and lease._folder.resolve() == folder.resolve():
        lease.must_hold()


def present_writer(folder: Path) -> Writer | None:
    """Who holds a project now; None where nobody does."""
    found = last_writer(folder)
    if found is None or time.time() - found.beat > SILENT:
        return None
    return found if is_held(_token_file(folder, found.token)) else None


def last_writer(folder: Path) -> Writer | None:
    """Who holds or last held a project; None where nobody did."""
    try:
        return from_json((folder / FILE).read_bytes(), Writer, where=str(FILE))
    except FileNotFoundError:
        return None


def _take(folder: Path, what: str) -> tuple[Lease, contextlib.ExitStack]:
    """The next token, and the locked file that tells others that its holder lives."""
    with locked(_gate(folder)):
        before = last_writer(folder)
        if before is not None:
            _must_be_over(folder, before)
        token = before.token + 1 if before else 1
        alive = contextlib.ExitStack()
        alive.enter_context(locked_now(_token_file(folder, token), "A token is in use.", ""))
        writer = Writer(token, acting().name, what, timestamp(), time.time())
        _write(folder, writer)
        return Lease(folder, writer), alive


def _must_be_over(folder: Path, before: Writer) -> None:
    if present_writer(folder) is None:
        _token_file(folder, before.token).unlink(missing_ok=True)
        return
    raise Refused(
        f"{before.who} writes in this project: {before.what}, since {before.since}.",
        hint="Wait for it, or work in another folder: two would disturb what each measures.",
        rule="one_writer",
        evidence={"holder": before.who, "what": before.what, "since": before.since},
    )


def _write(folder: Path, writer: Writer) -> None:
    write_atomic(folder / FILE, to_json(writer))


def _gate(folder: Path) -> Path:
    return (folder / FILE).with_suffix(".lock")


def _token_file(folder: Path, token: int) -> Path:
    return (folder / FILE).with_name(f"writer-{token}.lock")
