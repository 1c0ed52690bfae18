"""What the stages hand over: frozen, and the same after a trip through JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from modelwright.core.limits import METRICS, Limit
from modelwright.core.schema import Schema

Verdict = Literal["pass", "fail", "undecided"]
Severity = Literal["info", "warning", "error"]
ACCEPTED = "accepted in the spec"
"""How the reason of a finding begins that `data.accept` turned into a note."""
NOT_LOOKED_AT = "not looked at"
Alias = Literal["challenger", "canary", "champion", ""]


if TYPE_CHECKING:
    Number = float
else:
    Number = float | None  # JSON has neither NaN nor infinity: they are written as null


class Interval(msgspec.Struct, frozen=True):
    """A measured value and the range that holds it with the stated confidence.

    Where nothing can be said the value is NaN and the ends are infinite, also after JSON.

    Example:
        >>> found = Interval(float("nan"), float("-inf"), float("inf"))
        >>> msgspec.json.decode(msgspec.json.encode(found), type=Interval)
        Interval(value=nan, low=-inf, high=inf, confidence=0.95)
    """

    value: Number
    low: Number
    high: Number
    confidence: float = 0.95

    def __post_init__(self) -> None:
        missing = {"value": math.nan, "low": -math.inf, "high": math.inf}
        for name, unknown in missing.items():
            if getattr(self, name) is None:
                msgspec.structs.force_setattr(self, name, unknown)


class Finding(msgspec.Struct, frozen=True):
    """ONE type for bad data, parity, gates and readiness; one renderer shows them everywhere.

    `check` is what was looked at, `subject` the column, limit or model it is about. `measured`
    and `wanted` are in words and units a person would use; `interval` is in base units.
    `columns`: all columns it is about, where there are more than the subject; `rows`: the first
    few rows that show it, counted from 0.
    """

    check: str
    subject: str
    verdict: Verdict
    measured: str = ""
    wanted: str = ""
    why: str = ""
    advice: str = ""
    severity: Severity = "error"
    interval: Interval | None = None
    columns: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()

    @property
    def blocks(self) -> bool:
        """Whether a release may not go out with this finding."""
        return self.verdict != "pass" and self.severity == "error"


class ColumnBaseline(msgspec.Struct, frozen=True):
    """A column's distribution in training, the reference for drift.

    Numbers and date-times: `edges` are 65 quantiles (64 bins). Categories: `levels` and their
    `shares`, most frequent first, at most 64.
    """

    missing: float
    edges: tuple[float, ...] = ()
    mean: float | None = None
    std: float | None = None
    levels: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()


class DatasetRecord(msgspec.Struct, frozen=True):
    """What was read, how it was split, and what was found in it.

    `read`: how the file is written, as `data.read` would pin it. `origin`: the DVC pointer and git
    state of the source, where it has them. `relations`: what each feature tells about the target
    by itself, 0 to 1 (`data.checks.probe.power`). `sampled`: rows that the costly checks looked
    at, 0 for all; `streamed`: the table was not held in memory, so kinds are those of a sample.
    """

    source: str
    rows: int
    train_rows: int
    holdout_rows: int
    fingerprint: str
    holdout_fingerprint: str
    split: str
    seed: int
    schema: Schema
    baseline: dict[str, ColumnBaseline]
    findings: tuple[Finding, ...] = ()
    read: dict[str, Any] = {}
    column_fingerprints: dict[str, str] = {}
    relations: dict[str, float] = {}
    origin: dict[str, str] = {}
    sampled: int = 0
    streamed: bool = False


class Judgement(msgspec.Struct, frozen=True):
    """A file held against a released model's schema and reference distribution."""

    source: str
    model: str
    rows: int
    findings: tuple[Finding, ...]


class ColumnChange(msgspec.Struct, frozen=True):
    """A column in two versions of a table.

    `distance` is 0 for equal and 1 for disjoint distributions; None where one side lacks it or its
    kind changed. `why` says in words what changed; empty for nothing.
    """

    name: str
    kind: tuple[str, str]
    missing: tuple[float | None, float | None]
    distance: float | None
    equal: bool
    why: str = ""


def not_looked_at(what: Iterable[str]) -> list[Finding]:
    """A note for each piece of evidence that Ctrl-C left out: no verdict, and no gate's either."""
    return [
        Finding(
            NOT_LOOKED_AT, name, "undecided", "left out",
            why="Ctrl-C was pressed; no gate depends on it", advice="run again to have it",
            severity="info",
        )
        for name in what
    ]  # fmt: skip


class DataChange(msgspec.Struct, frozen=True):
    """Two versions of a table: `only` and `both` count rows by their content, -1 when the tables
    were too large to hold. `sampled`: rows a side that distributions are of, 0 for all."""

    sources: tuple[str, str]
    rows: tuple[int, int]
    fingerprints: tuple[str, str]
    only: tuple[int, int]
    both: int
    columns: tuple[ColumnChange, ...]
    sampled: int = 0


class Price(msgspec.Struct, frozen=True):
    """What a candidate is expected to cost, by a cheap measurement of a model of one fold.

    Seconds, bytes, rows per second. `nodes` counts splits and weights: the same on every machine.
    `latency_p95`, `throughput` and `memory` are those of the server, foretold from one that was
    measured in the same run; None where none was.
    """

    in_process: float
    size: int
    nodes: int
    latency_p95: float | None = None
    throughput: float | None = None
    memory: float | None = None


class Measured(msgspec.Struct, frozen=True):
    """What the packed model costs on this machine.

    Seconds, bytes and rows per second. `in_process` is one row through ONNX Runtime; latency,
    throughput and memory are those of the real HTTP server in a process of its own; `cold_start`
    is from its start to its first answer. `rate`: requests per second at which latency was
    measured, 0 for one after the other; `steady`: whether the blocks agreed within a tenth.
    """

    machine: str
    in_process_p50: float
    size: int
    load_seconds: float
    latency_p50: Interval | None = None
    latency_p95: Interval | None = None
    latency_p99: Interval | None = None
    throughput: Interval | None = None
    memory: Interval | None = None
    cold_start: float | None = None
    rate: float = 0.0
    steady: bool = True


Origin = Literal[
    "default", "preset", "search", "blend", "distilled", "shortened", "quantised", "narrowed"
]


class Trial(msgspec.Struct, frozen=True):
    """One candidate: what was tried, what each fold scored, what it cost.

    `scores` are in the goal metric's own direction, `score` is their weighted mean and `error` its
    standard error; `rounds` is what early stopping chose. `members`: (trial, weight) of a blend;
    `teacher`: the trial whose answers it learned. `broken`: limits on cost that it is expected, or
    after `measured` known, to break; `pareto`: nothing has a better
    score and answers one row in process faster; other costs have no part in it.
    """

    number: int
    family: str
    origin: Origin
    params: dict[str, Any]
    scores: tuple[float, ...]
    seconds: float
    outcome: Literal["complete", "pruned", "failed", "stopped"]
    rounds: int = 0
    note: str = ""
    score: float | None = None
    error: float | None = None
    members: tuple[tuple[int, float], ...] = ()
    teacher: int | None = None
    price: Price | None = None
    measured: Measured | None = None
    broken: tuple[str, ...] = ()
    pareto: bool = False


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)


class FitRecord(msgspec.Struct, frozen=True):
    """The search: every trial, the chosen one, and all that is needed to do it again.

    `outputs`: calibration, threshold and interval of the chosen one (`fit.outputs.Outputs`).
    `findings`: what the search has to say about its own choice. `first_feasible`: seconds until a
    candidate was seen that keeps all limits on cost.
    """

    goal: str
    family: str
    params: dict[str, Any]
    best: int
    rounds: int
    folds: str
    seed: int
    budget: str
    seconds: float
    trials: tuple[Trial, ...]
    stopped_by: Literal["budget", "trials", "interrupt", "done"] = "done"
    threads: int = 1
    outputs: dict[str, Any] = {}
    findings: tuple[Finding, ...] = ()
    first_feasible: float | None = None

    def leaderboard(self) -> list[Trial]:
        """Candidates that were scored: complete ones first, the best first; where a small table was
        cut several times, each is compared on the folds that it ran."""
        sign = -1.0 if METRICS[self.goal].better == "higher" else 1.0
        known = [trial for trial in self.trials if trial.score is not None]
        most = max(known, key=lambda trial: len(trial.scores), default=None)

        def place(trial: Trial) -> tuple[bool, float]:
            assert trial.score is not None and most is not None
            run = len(trial.scores)
            easier = _mean(most.scores[:run]) - _mean(most.scores) if run else 0.0
            return trial.outcome != "complete", sign * (trial.score - easier)

        return sorted(known, key=place)


class Parity(msgspec.Struct, frozen=True):
    """How the packed model's answers compared with the trained pipeline's, row by row."""

    rows: int
    edge_rows: int
    largest_difference: float
    label_flips: int
    tolerance: float


class Manifest(msgspec.Struct, frozen=True):
    """`manifest.json` of a model folder: what it is, what made it, and the hash of each file.

    `inputs`: graph input -> the columns it holds, in order; `outputs`: what -> graph output.
    """

    format: int
    model: str
    schema: Schema
    inputs: dict[str, tuple[str, ...]]
    outputs: dict[str, str]
    family: str
    params: dict[str, Any]
    goal: str
    scores: dict[str, float]
    parity: Parity
    limits: tuple[Limit, ...]
    baseline: dict[str, ColumnBaseline]
    example: dict[str, Any]
    spec_digest: str
    data_fingerprint: str
    split: str
    seed: int
    code: str
    versions: dict[str, str]
    files: dict[str, str]


class Override(msgspec.Struct, frozen=True):
    """An undecided gate that a person let through: `check` and `subject` of its finding."""

    check: str
    subject: str
    who: str
    why: str
    at: str


class ReleaseRecord(msgspec.Struct, frozen=True):
    """A judged model: registered with a version when its gates passed.

    `version` is empty when a gate failed: then it cannot be served by name. `artefact` and
    `baseline`: sha256 of the manifest of the model, and of the simple one that can stand in for it.
    """

    model: str
    run: str
    verdict: Verdict
    artefact: str
    evidence: tuple[Finding, ...]
    at: str
    version: str = ""
    alias: Alias = ""
    replaces: str = ""
    report: str = ""
    holdout_uses: int = 0
    overrides: tuple[Override, ...] = ()
    baseline: str = ""


class Reproduced(msgspec.Struct, frozen=True):
    """A run's model made once more: digests of the model files, and what differs."""

    run: str
    same: bool
    digests: tuple[str, str]
    differences: tuple[str, ...] = ()


class AuditLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change of production, or what led to it; `previous` chains it to the line before.

    `action`: promote, rollback or override; canary, ab, shadow or stop for traffic beside the
    champion; void for a change that never came about; moved for a champion that was found moved
    outside modelwright; gc; request, approve, reject, applied and
    failed for what an agent asked for; call for a call of a tool. `subject`: the gate, for an
    override; for traffic the shares; for a request what is asked for; for a call the tool.
    `detail`: what else is known, such as the request that a change was approved by.
    """

    at: str
    who: str
    action: str
    model: str
    version: str
    replaces: str
    why: str
    previous: str
    subject: str = ""
    detail: dict[str, str] = {}
