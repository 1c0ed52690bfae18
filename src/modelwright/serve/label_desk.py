"""`POST /v2/models/{m}/labels`: truths that are on disk before they are confirmed.

A thread writes what has come meanwhile into one file a model, so many small requests share the wait
for the disk, and the event loop never waits. Who gets no answer sends again: a label that is there
twice changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from modelwright.core.schema import Target
from modelwright.serve.journal_store import Place, place_of
from modelwright.serve.label_bodies import read_labels
from modelwright.serve.labels import Labels, Sender, compact, models, sweep
from modelwright.serve.messages import ProtocolError, Request, Response
from modelwright.serve.metrics import Counts
from modelwright.serve.settings import Settings

LINGER = 0.005
"""Seconds that a file waits for more: about as long as a disk takes to sync."""
MOST_WAITING = 1_000_000
"""Labels that may wait for the disk; then it is 503."""
INLINE_BYTES = 8 * 1024
"""Larger bodies are read in a thread: checking a label takes some microseconds."""
UPKEEP_SECONDS = 60.0
END_SECONDS = 5.0
_LOG = logging.getLogger("modelwright.serve")


class Desk(Protocol):
    """Takes labels; when there is no journal it says so."""

    async def take(self, request: Request, model: str, target: Target, seconds: float) -> Response:
        """Keep the labels of a request.

        Args:
            target: what the model predicts.
            seconds: how long the caller waits.

        Raises:
            ProtocolError: 400, 413, 415, 422 the body; 409 there is no journal; 503 they cannot be
                kept now.
        """

    def close(self) -> None:
        """Write what waits."""


class Off:
    """No journal, so no labels."""

    async def take(self, *_: object, **__: object) -> Response:
        """Refuse."""
        raise ProtocolError(
            409, "This server keeps no journal, so labels have nothing to belong to: start it with "
            "--journal, or release with serve.journal in the spec."
        )  # fmt: skip

    def close(self) -> None:
        """Nothing."""


CLOSED = Off()


def desk_of(settings: Settings, counts: Counts, *, keeps_up: bool) -> Desk:
    """The desk of a process. Make it after the fork, on the event loop.

    Args:
        keeps_up: whether this process also merges and removes old files; one of a server is enough.
    """
    if not settings.journal.to:
        return CLOSED
    return Taking(settings, place_of(settings.journal.to), counts, keeps_up=keeps_up)


@dataclass(slots=True)
class _Waiting:
    model: str
    labels: Labels
    done: Callable[[OSError | None], None]


class Taking:
    """A desk that is open.

    Args:
        settings: of the server.
        place: of the journal.
        counts: of the process.
        keeps_up: see `desk_of`.
    """

    def __init__(
        self, settings: Settings, place: Place, counts: Counts, *, keeps_up: bool = False
    ) -> None:
        self._settings, self._place, self._counts = settings, place, counts
        self._loop = asyncio.get_running_loop()
        self._sender = Sender(place)
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0
        self._some, self._ending = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._go_on, name="labels", daemon=True)]
        if keeps_up:
            upkeep = threading.Thread(target=self._keep_up, name="labels upkeep", daemon=True)
            self._threads.append(upkeep)
        for thread in self._threads:
            thread.start()

    async def take(self, request: Request, model: str, target: Target, seconds: float) -> Response:
        """See `Desk`."""
        labels = await self._read(request, model, target)
        count = len(labels)
        if self._waiting + count > MOST_WAITING:
            raise ProtocolError(
                503, f"{self._waiting:,} labels wait to be kept.", retry_after=1, reason="labels"
            )
        self._waiting += count
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.append(_Waiting(model, labels, self._told(future, count)))
        self._some.set()
        try:
            await asyncio.wait_for(future, seconds)
        except TimeoutError:
            raise ProtocolError(
                503, f"The labels were not on disk within {seconds:g} s; send them again.",
                retry_after=1, reason="labels",
            ) from None  # fmt: skip
        except OSError as error:
            raise ProtocolError(
                503, "The labels cannot be kept: the journal's place refuses writes.",
                retry_after=1, reason="labels",
            ) from error  # fmt: skip
        self._counts.counter("modelwright_labels_total", model)[0] += count
        return Response(200, msgspec.json.encode({"model": model, "labels": count}))

    def close(self) -> None:
        """Write what waits."""
        self._ending.set()
        self._some.set()
        for thread in self._threads:
            thread.join(END_SECONDS)

    async def _read(self, request: Request, model: str, target: Target) -> Labels:
        kind = request.headers.get("content-type", "")
        most, arrived = self._settings.max_rows, int(time.time() * 1e6)

        def read() -> Labels:
            return read_labels(target, kind, request.body, most, arrived)

        try:
            if len(request.body) <= INLINE_BYTES:
                return read()
            return await self._loop.run_in_executor(None, read)
        except ProtocolError:
            self._counts.counter("modelwright_labels_refused_total", model)[0] += 1
            raise

    def _told(
        self, future: asyncio.Future[None], count: int
    ) -> Callable[[OSError | None], None]:  # fmt: skip
        def on_loop(error: OSError | None) -> None:
            self._waiting -= count
            if future.done():  # nobody waits any more
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        def done(error: OSError | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(on_loop, error)

        return done

    # All that follows runs in threads.

    def _go_on(self) -> None:
        while not self._ending.is_set():
            self._some.wait()
            self._ending.wait(LINGER)
            self._some.clear()
            self._write()
        self._write()

    def _write(self) -> None:
        waiting: dict[str, list[_Waiting]] = {}
        while self._queue:
            one = self._queue.popleft()
            waiting.setdefault(one.model, []).append(one)
        for model, several in waiting.items():
            labels, error = Labels(), None
            try:
                for one in several:
                    labels.extend(one.labels)
                self._sender.send(model, labels)
            # every kind of storage has errors of its own, and one that ended this thread would keep
            # all who wait, now and later, without an answer
            except Exception as found:  # noqa: BLE001  logged, and told to all who wait
                error = found if isinstance(found, OSError) else OSError(str(found))
                _LOG.error("labels cannot be kept: %s", found, exc_info=error is not found)
            for one in several:
                one.done(error)

    def _keep_up(self) -> None:
        while not self._ending.wait(UPKEEP_SECONDS):
            try:
                now = time.time()
                sweep(self._place, now, self._settings.journal.keep)
                for model in models(self._place):
                    compact(self._place, model, now)
            except Exception:  # noqa: BLE001  logged, tried again: one odd file must not end it all
                _LOG.exception("files of labels could not be merged")
