"""The `watch` part of modelwright.yaml."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from modelwright.core.spec_alerts import AlertSpec, each_has_a_name
from modelwright.core.spec_data import Names, Share, Strict
from modelwright.core.spec_retrain import RetrainSpec
from modelwright.core.spec_serve import Seconds

Act = Literal["roll back", "promote", "canary", "retrain"]
LiveLimit = Literal[
    "server", "latency", "throughput", "memory", "errors", "fallback", "breaker", "restarts",
    "journal", "age", "contract", "not_finite",
]  # fmt: skip


class DriftColumnSpec(Strict):
    """What differs for one column."""

    distance: Share | None = Field(None, description="Least change of its distribution.")
    missing: Share | None = Field(None, description="Least change of the share that is missing.")
    unseen: Share | None = Field(None, description="Least share of categories never seen.")
    far: Share | None = Field(None, description="Least share of numbers far outside.")
    outside: Share | None = Field(
        None, description="Least share of numbers outside the range of training."
    )
    joint: Share | None = Field(
        None, description="Least change of a correlation with it; of two columns the larger counts."
    )
    usual: float | None = Field(
        None, ge=1, description="Times its largest change among stretches of the reference."
    )
    ignore: bool = Field(False, description="Ask nothing of it.")


class DriftSpec(Strict):
    """When a window of answers differs from the reference enough to say so."""

    q: float = Field(
        0.001, gt=0, lt=1, description="False discovery rate of one window, all columns together."
    )
    distance: Share = Field(
        0.05, description="Least difference of distribution functions, or total variation."
    )
    missing: Share = Field(0.01, description="Least change of the share that is missing.")
    unseen: Share = Field(0.001, description="Least share of categories never seen.")
    far: Share = Field(0.001, description="Least share of numbers far outside.")
    outside: Share = Field(
        0.01,
        description="Least share of numbers outside the range of training; none is asked where "
        "expect.range is declared.",
    )
    joint: Share = Field(0.05, description="Least change of a correlation.")
    usual: float = Field(
        1.25, ge=1, description="Times the largest change among stretches of the reference."
    )
    opens: int = Field(2, ge=1, description="Bad windows in a row that open an episode.")
    requests: int = Field(
        10,
        ge=1,
        description="Distinct requests that must break the contract, or be answered alike, to open "
        "one at once; with fewer it takes `opens` windows.",
    )
    resolves: int = Field(3, ge=1, description="Quiet windows in a row that end it.")
    columns: dict[str, DriftColumnSpec] = Field(
        {}, description="column: what differs for it; score and prediction are columns too."
    )


class QualitySpec(Strict):
    """How late labels are judged."""

    rows: int = Field(500, ge=50, description="Labelled answers that close a window of quality.")
    mature: Share = Field(
        0.8,
        description="A window counts once it has this part of the labels that windows usually get.",
    )
    patience: Seconds = Field(
        14 * 86_400.0,
        gt=0,
        description="One with fewer counts so long after its end; labels later than serve.journal."
        "keep have no answer any more.",
    )
    margin: Share = Field(
        0.01, description="Mean loss above the reference's that is still well, for the alarm."
    )
    alpha: float = Field(
        1e-4, gt=0, lt=1, description="The alarm is false once in 1 / alpha labels at most."
    )


class LiveLimitsSpec(Strict):
    """When what a server counts is bad enough to say so, beside the limits of the release."""

    window: Seconds = Field(300.0, ge=1, description="A window is at least so long,")
    requests: int = Field(
        100,
        ge=20,
        description="and holds at least so many requests. Twelve times as long with fewer, it is "
        "closed all the same, and only what is certain is said.",
    )
    errors: Share = Field(0.01, description="Most requests that may fail with 5xx.")
    contract: Share = Field(
        0.01,
        description="Most requests that may be refused with 422, because of rows that break "
        "`expect:` or cannot be read.",
    )
    contract_requests: int = Field(
        10,
        ge=1,
        description="So many must have been refused with 422 to say so at once; with fewer it "
        "takes two windows.",
    )
    fallback: Share = Field(0.05, description="Most answers that stand-ins may give.")
    not_finite: Share = Field(
        0.001, description="Most requests that the champion may answer with NaN or an infinity."
    )
    refused: Share = Field(
        0.01,
        description="A server that refuses more requests than this with 503 is loaded: then the "
        "limit on throughput can be judged.",
    )
    journal: Share = Field(0.001, description="Most rows that the journal may lose.")
    restarts: int = Field(
        3, ge=1, description="Workers that end within a quarter of an hour and are too many."
    )
    age: Seconds = Field(90 * 86_400.0, gt=0, description="A model older than this is old.")
    ignore: list[LiveLimit] = Field([], description="What is not watched.")


class CanaryWatchSpec(Strict):
    """How a canary is judged, by counts of each minute."""

    alpha: float = Field(0.01, gt=0, lt=1, description="Chance that a healthy one is rolled back.")
    beta: float = Field(0.05, gt=0, lt=1, description="Chance that a harmful one is promoted.")
    tolerance: float = Field(
        0.05, ge=0, description="How much larger its odds of an error may be; 0.05 is 5 %."
    )
    slack: Share = Field(0.0005, description="Difference of rates that is tolerated as well.")
    margin: float = Field(1.5, gt=1, description="Odds ratio that is ruled out before promotion.")
    budget: Share = Field(
        0.01,
        description="Or: a rate of errors, or of slow answers, that is ruled out before promotion, "
        "whatever the odds.",
    )
    weight: Share = Field(0.05, description="Share that a challenger gets, with `act: [canary]`.")
    slower: Seconds = Field(
        0.001,
        ge=0,
        description="An answer is slow beyond the champion's percentile and this: time that nobody "
        "notices.",
    )
    minimum: Seconds = Field(600.0, ge=0, description="It is not promoted before.")
    maximum: Seconds = Field(7200.0, gt=0, description="Then a person must decide.")
    key: str | None = Field(
        None,
        description="Column by which callers are counted in the place of requests, where errors "
        "of one caller come in bursts; of each caller one label counts. A feature, or the column "
        "of `serve.key`. Default for labels: what keeps a caller with one arm.",
    )

    @model_validator(mode="after")
    def _can_be_decided(self) -> CanaryWatchSpec:
        if self.margin <= 1 + self.tolerance:
            raise ValueError("margin is above 1 + tolerance")
        if self.maximum < self.minimum:
            raise ValueError("maximum is not below minimum")
        return self


class WatchSpec(Strict):
    """How a live model is watched, and what may be done about it without asking."""

    every: Seconds = Field(60.0, ge=1, description="Time between two looks.")
    store_env: str | None = Field(
        None,
        description="Environment variable with the DSN of a PostgreSQL; without it, a file in the "
        "project's .modelwright.",
    )
    server: Names = Field(
        [],
        description="Where the server's metrics are, such as http://10.0.0.7:9090, or several "
        "servers of the same model; default: serve.metrics_port or serve.port on this machine.",
    )
    window: Seconds = Field(3600.0, gt=0, description="A window is at least so long,")
    rows: int = Field(1000, ge=200, description="and holds at least so many answers.")
    grain: int = Field(
        60, ge=1, le=3600, description="Seconds that answers are added up over; windows are whole."
    )
    drift: DriftSpec = DriftSpec()
    quality: QualitySpec = QualitySpec()
    limits: LiveLimitsSpec = LiveLimitsSpec()
    canary: CanaryWatchSpec = CanaryWatchSpec()
    retrain: RetrainSpec = RetrainSpec()
    alerts: list[AlertSpec] = Field([], description="Who is told when an episode begins or ends.")
    act: list[Act] = Field(
        ["roll back"],
        description="What is done without asking: end a canary that is worse (roll back), make one "
        "that is proven the champion (promote), give a new challenger a canary (canary), train "
        "anew (retrain). All of it is audited; what is not named is advised only.",
    )

    @field_validator("alerts")
    @classmethod
    def _alerts_can_be_told_apart(cls, alerts: list[AlertSpec]) -> list[AlertSpec]:
        return each_has_a_name(alerts)

    @field_validator("server")
    @classmethod
    def _addresses_are_of_the_web(cls, server: list[str]) -> list[str]:
        for address in server:
            parts = urlsplit(address)  # refuses some by itself
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
                raise ValueError(f"wanted an address such as http://10.0.0.7:9090, not {address!r}")
            if parts.username or parts.password:
                raise ValueError("holds a password; the token of serve.token_env is sent by itself")
            if not address.isascii() or not address.isprintable() or " " in address:
                raise ValueError("wanted an address without blanks, in ASCII")
        if len(set(server)) < len(server):
            raise ValueError("names one of them twice")
        return server

    @field_validator("act")
    @classmethod
    def _each_once(cls, act: list[Act]) -> list[Act]:
        if len(set(act)) < len(act):
            raise ValueError("names one of them twice")
        return act
