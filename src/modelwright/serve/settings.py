"""How a server process is set up: what the command line or the `serve` operation hands to it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from modelwright.core.errors import UsageError
from modelwright.release.calls import Call

Seconds = float


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model to serve.

    Either a model folder, which is served as it is, or a registered model whose aliases are
    followed.

    Attributes:
        name: what it is called in routes and answers.
        folder, version, digest: a model folder, the number it is shown under, and the sha256 that
            its manifest must have.
        project: the project folder whose registry is followed; then `alias` names the version that
            answers.
        tried: the folder was made by this machine and needs no trial in a child.
    """

    name: str
    folder: str = ""
    version: str = "0"
    digest: str | None = None
    project: str = ""
    alias: str = "champion"
    tried: bool = False


class Token(msgspec.Struct, frozen=True):
    """A named secret, what it may do, and how often (requests a second).

    Attributes:
        file: that it was read from, and is read from again on SIGHUP; each of its lines is a secret
            of that name.
    """

    name: str
    secret: str
    scopes: frozenset[str]
    rate: float | None = None
    file: str = ""


class Breaking(msgspec.Struct, frozen=True):
    """See `core.spec_serve.BreakerSpec`."""

    failures: float = 0.5
    slow: float = 0.5
    slower_than: Seconds | None = None
    window: Seconds = 2.0
    least: int = 10
    pause: Seconds = 5.0


class Caching(msgspec.Struct, frozen=True):
    """See `core.spec_serve.CacheSpec`."""

    rows: int = 0
    ttl: Seconds = 60.0


class Journaling(msgspec.Struct, frozen=True):
    """See `core.spec_serve.JournalSpec`; `to` is empty where nothing is recorded."""

    to: str = ""
    sample: float = 1.0
    rows: int = 10_000
    every: Seconds = 60.0
    keep: Seconds = 30 * 86_400.0
    most: int = 10**10


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a server process needs to know; see `core.spec_serve.ServeSpec` for each field."""

    models: tuple[Source, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = None
    metrics_port: int | None = None
    workers: int = 1
    max_body: int = 16 * 2**20
    max_rows: int = 100_000
    tokens: tuple[Token, ...] = ()
    certificate: str | None = None
    key_file: str | None = None
    unknown_columns: str = "refuse"
    unseen_levels: str = "count"
    out_of_range: str = "count"
    deadline: Seconds = 10.0
    queue: int = 1024
    drain: Seconds = 10.0
    fallback: tuple[str, ...] = ("previous", "baseline")
    constant: float | int | str | bool | None = None
    breaker: Breaking = Breaking()
    cache: Caching = Caching()
    journal: Journaling = Journaling()
    access_log: bool = False
    key: str | None = None
    quiet: bool = False
    called: Call | None = None


def journal_place(to: str, folder: Path) -> str:
    """Where a journal is kept: a URL as it is, a folder below `folder`.

    Raises:
        UsageError: it is blank.
    """
    if not to.strip():
        raise UsageError("The journal has no place.", hint="Such as: --journal journal")
    return to if "://" in to else str(folder.absolute() / to)
