"""What passes between the doors (HTTP, gRPC) and the models: requests, questions, answers.

A door reads bytes, the dispatcher chooses a version, the version's own schema turns the bytes into
a Question, its graph gives Answers, and the door writes them down again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from modelwright.core.errors import ModelwrightError
from modelwright.core.intake import Feeds
from modelwright.core.records import Manifest
from modelwright.core.schema import Schema
from modelwright.pack.artefact import Answers
from modelwright.serve.heads import Head

JSON = b"application/json"


class ProtocolError(ModelwrightError):
    """A request that cannot be answered.

    Attributes:
        status: its HTTP code; gRPC has the code that means the same.
        retry_after: seconds after which it is worth another try, for 429 and 503.
        allow: methods that the route takes, for 405.
        reason: for metrics and the access log, where the code does not tell: out of a fixed set,
            `metric_names.REASONS` and `CLOSER_REASONS`.
    """

    def __init__(
        self,
        status: int,
        message: str,
        problems: tuple[str, ...] = (),
        *,
        retry_after: float | None = None,
        allow: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.retry_after = retry_after
        self.allow = allow
        self._problems = problems

    @property
    def problems(self) -> tuple[str, ...]:
        return self._problems


class Overloaded(ProtocolError):
    """503: it would wait too long. Whoever tells the caller does so by `refusals.Refusals`."""

    def __init__(self, message: str, retry_after: float, reason: str) -> None:
        super().__init__(503, message, retry_after=retry_after, reason=reason)


class Request(msgspec.Struct, gc=False):
    """One HTTP request, whole.

    Attributes:
        path: decoded once, without the query.
        query: what stands behind the question mark, as it came.
        headers: names in lower case; of a repeated header the values joined by a comma.
        received: `time.perf_counter()` when its first byte was read.
        peer: the client's address.
        head: what it begins with, where the very same was read before.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: bytes = b""
    received: float = 0.0
    peer: str = ""
    head: Head | None = None


class Response(msgspec.Struct, gc=False):
    """Status, body, content type and further headers of an answer.

    Attributes:
        lines: headers that are written out already, each ending in CRLF.
    """

    status: int
    body: bytes
    kind: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    lines: bytes = b""


@dataclass(slots=True)
class Question:
    """Checked rows, and how their answer is wanted.

    Attributes:
        feeds: what `core.intake` made of them.
        shape: rows or columns, as in the request.
        id: the request id of OIP.
        outputs: OIP names of the wanted outputs; empty for all.
        binary: OIP names of the outputs that are wanted as bytes behind the JSON.
        unknown: columns that the model never saw -> in how many rows, where they are only counted.
        key: of the caller, by the first row's value of the spec's `serve.key`, whether or not the
            model reads that column.
        lines: of the body, in which each row begins, where people count by them: of a CSV.
    """

    feeds: Feeds
    rows: int
    shape: str = "rows"
    id: str | None = None
    outputs: tuple[str, ...] = ()
    binary: frozenset[str] = frozenset()
    unknown: Mapping[str, int] = field(default_factory=dict)
    key: str | None = None
    lines: Sequence[int] | None = None


class Live(Protocol):
    """One version of a model: loaded, checked on its golden rows, warm."""

    @property
    def model(self) -> str:
        """The name it is served under."""

    @property
    def version(self) -> str:
        """Its number in the registry."""

    @property
    def manifest(self) -> Manifest:
        """Schema, limits, baseline, example."""

    @property
    def schema(self) -> Schema:
        """What it reads and predicts."""

    def run(self, feeds: Feeds) -> Answers:
        """Answer checked rows in this thread."""


Reader = Callable[[Live], Question]
"""Reads a request with the schema of the version that will answer; raises ProtocolError."""


@dataclass(slots=True)
class Call:
    """Which model is asked, and under which conditions.

    Attributes:
        version: asked for by URL or header; None for whatever traffic says.
        key: what sticky assignment hashes; None for a column of the first row, or chance.
        deadline: `time.perf_counter()` after which nobody waits any more.
        id: request id, for logs and the journal.
        traceparent: W3C trace context of the caller.
        received: `time.perf_counter()` of the first byte; size: bytes of the body.
    """

    model: str
    version: str | None = None
    key: str | None = None
    deadline: float | None = None
    id: str = ""
    traceparent: str = ""
    received: float = 0.0
    size: int = 0


@dataclass(slots=True)
class Answered:
    """A question with its answer, and who gave it.

    Attributes:
        arm: champion, canary, a or b of a test, pinned.
        fallback: empty, or who stood in: previous, baseline, constant.
        cached: the answer was remembered.
        caller: see `keys.recorded`; only while versions share the requests.
    """

    question: Question
    answers: Answers
    live: Live
    arm: str = "champion"
    fallback: str = ""
    cached: bool = False
    caller: str = ""

    @property
    def marks(self) -> dict[str, str]:
        """What is said of who gave the answer, where that is not the champion."""
        marks = {"arm": self.arm} if self.arm not in ("champion", "pinned") else {}
        return marks | ({"fallback": self.fallback} if self.fallback else {})


Then = Callable[[Answered | BaseException], None]
"""Told the answer, or the error."""


class Dispatcher(Protocol):
    """What the gRPC door asks."""

    def ask(self, call: Call, read: Reader, then: Then) -> None:
        """Choose a version, read the request with its schema, and answer it.

        Args:
            then: called once, now or later, on the event loop; an error is a ProtocolError (404 no
                such model or version, 422 values, 429 / 503 too busy, 504 too late), or a fault.
        """

    def live(self, model: str, version: str | None = None) -> Live:
        """The version that answers now, or the named one.

        Raises:
            ProtocolError: 404 when it is not served.
        """

    def models(self) -> tuple[str, ...]:
        """Names of all models that are served."""

    def versions(self, model: str) -> tuple[str, ...]:
        """Versions of a model that can be asked for, the champion first."""

    def is_ready(self, model: str | None = None) -> bool:
        """Whether a model, or everything, can answer."""
