"""The `serve` part of modelwright.yaml."""

from __future__ import annotations

import importlib.util
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from modelwright.core.limits import MOST_WORKERS, parse_quantity
from modelwright.core.spec_data import Share, Strict

Scope = Literal["predict", "labels", "admin"]
OnOdd = Literal["refuse", "count"]
FALLBACKS = ("previous", "baseline", "constant")


def _bytes(text: object) -> object:
    return int(parse_quantity(text, "bytes")[0]) if isinstance(text, str) else text


def _seconds(text: object) -> object:
    return parse_quantity(text, "seconds")[0] if isinstance(text, str) else text


Bytes = Annotated[int, BeforeValidator(_bytes, json_schema_input_type=int | str)]
Seconds = Annotated[float, BeforeValidator(_seconds, json_schema_input_type=float | str)]


class TokenSpec(Strict):
    """A named token."""

    env: str = Field(description="Environment variable that holds it.")
    scopes: list[Scope] = Field(
        ["predict"],
        min_length=1,
        description="predict: ask; labels: send truths; admin: load, unload.",
    )
    rate: float | None = Field(None, gt=0, description="Most requests a second, over 10 seconds.")


class TlsSpec(Strict):
    """TLS by files, read again on SIGHUP."""

    certificate: str = Field(description="PEM file with the chain.")
    key: str = Field(description="PEM file with the private key.")


class BreakerSpec(Strict):
    """When a version is taken out, and how it comes back."""

    failures: Share = Field(0.5, description="Share of failed answers in the window that opens it.")
    slow: Share = Field(
        0.5, description="Share of answers slower than `slower_than` that opens it."
    )
    slower_than: Seconds | None = Field(
        None,
        gt=0,
        description="Default: five times the limit on latency_p95, without one a second; or five "
        "times what a run of so many rows should take, if that is more; the deadline at most.",
    )
    window: Seconds = Field(2.0, gt=0, le=600, description="How far back it looks.")
    least: int = Field(
        10,
        ge=1,
        description="Answers in the window that it needs, or bad ones in a row, to open.",
    )
    pause: Seconds = Field(5.0, gt=0, description="How long it stays out before a trial.")


class CacheSpec(Strict):
    """Remembered answers to single rows that are equal after the intake."""

    rows: int = Field(0, ge=0, description="Most rows that are remembered a version; 0: none.")
    ttl: Seconds = Field(60.0, gt=0, description="How long one is believed.")


class JournalSpec(Strict):
    """Every answer with its features, as Parquet files for `watch` and for whoever asks."""

    to: str = Field(
        min_length=1,
        description="Folder, relative to the project, or a URL that fsspec writes, such as "
        "`s3://bucket/journal`.",
    )
    sample: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of requests that are recorded, chosen by their request id.",
    )
    rows: int = Field(10_000, ge=1, le=10_000_000, description="Rows that close a file.")
    every: Seconds = Field(
        60.0, ge=0.1, description="A file is closed after so long; a killed process loses it."
    )
    keep: Seconds = Field(30 * 86_400.0, gt=0, description="Files older than this are removed.")
    most: Bytes = Field(
        10**10, gt=0, description="Size of the whole journal; the oldest files give way."
    )

    @field_validator("to")
    @classmethod
    def _kind_is_known(cls, to: str) -> str:
        chain, slashes, _ = to.partition("://")
        if slashes and importlib.util.find_spec("fsspec") is not None:
            from fsspec import available_protocols

            kind = chain.rpartition("::")[2]
            if kind not in available_protocols():
                raise ValueError(
                    f"fsspec knows no {kind}://; wanted a folder, or a URL of one of its kinds, "
                    f"such as s3://bucket/journal"
                )
        return to


class ServeSpec(Strict):
    """How answers are given."""

    host: str = Field("127.0.0.1", description="Anything but loopback needs a token.")
    port: int = Field(8000, ge=0, le=65535, description="0: any free port.")
    grpc_port: int | None = Field(
        None, ge=0, le=65535, description="gRPC of the Open Inference Protocol; none without it."
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Prometheus on a port of its own, without a token; /metrics is always there.",
    )
    workers: int = Field(
        1, ge=1, le=MOST_WORKERS, description="Processes that answer; the model's memory is shared."
    )
    max_body: Bytes = Field(16 * 2**20, gt=0, description="Largest request body, such as '16 MiB'.")
    max_rows: int = Field(100_000, gt=0, description="Most rows in one request.")
    token_env: str = Field(
        "MODELWRIGHT_TOKEN", description="Environment variable that holds a token for everything."
    )
    tokens: dict[str, TokenSpec] = Field({}, description="name: further tokens.")
    tls: TlsSpec | None = Field(None, description="Serve HTTPS, and gRPC with TLS.")
    unknown_columns: OnOdd = Field(
        "refuse", description="Columns that the model never saw: refuse the row, or count them."
    )
    unseen_levels: OnOdd = Field(
        "count", description="Categories that training never saw: refuse the row, or count them."
    )
    out_of_range: OnOdd = Field(
        "count", description="Numbers outside the training range: refuse the row, or count them."
    )
    deadline: Seconds = Field(
        10.0, gt=0, description="How long a request may take; the client may ask for less."
    )
    queue: int = Field(1024, ge=1, description="Most requests a process holds at once.")
    drain: Seconds = Field(
        10.0, gt=0, description="After SIGTERM, how long open requests may take to end."
    )
    fallback: list[Literal["previous", "baseline", "constant"]] = Field(
        ["previous", "baseline"],
        description="Who stands in for a version that fails, in this order: the champion before, "
        "the linear baseline, or `constant`.",
    )
    constant: float | int | str | bool | None = Field(
        None, description="The answer of last resort, a label or a value of the target."
    )
    breaker: BreakerSpec = BreakerSpec()
    cache: CacheSpec = CacheSpec()
    journal: JournalSpec | None = Field(None, description="Record every answer; none without it.")
    access_log: bool = Field(False, description="A line of JSON a request, on standard error.")
    key: str | None = Field(
        None, description="Column whose value keeps a caller with one arm of a canary or A/B test."
    )

    @field_validator("fallback")
    @classmethod
    def _each_once(cls, fallback: list[str]) -> list[str]:
        if len(set(fallback)) < len(fallback):
            raise ValueError("names one of them twice")
        return fallback

    @model_validator(mode="after")
    def _constant_is_given(self) -> ServeSpec:
        if "constant" in self.fallback and self.constant is None:
            raise ValueError("fallback names constant, so give serve.constant")
        return self
