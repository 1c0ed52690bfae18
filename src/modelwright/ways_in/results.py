"""Results of every operation, the same at every door."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class FindingLine(BaseModel):
    """A finding, as every door shows it."""

    check: str
    subject: str
    verdict: Literal["pass", "fail", "undecided"]
    severity: Literal["info", "warning", "error"]
    measured: str = ""
    wanted: str = ""
    why: str = ""
    advice: str = ""
    columns: list[str] = []
    rows: list[int] = []


class InitResult(BaseModel):
    """What init wrote."""

    spec: str
    name: str
    task: str
    rows: int
    features: int
    findings: list[FindingLine]


class ColumnLine(BaseModel):
    """A column, as check shows it; `relation`: what it tells about the target alone, 0 to 1."""

    name: str
    kind: str
    missing: float | None
    values: str
    unused: str
    relation: float | None = None
    fingerprint: str = ""


class CheckResult(BaseModel):
    """What check found; with --against, `model` is set and there is no split."""

    source: str
    rows: int
    model: str = ""
    train_rows: int = 0
    holdout_rows: int = 0
    split: str = ""
    fingerprint: str = ""
    target: str = ""
    task: str = ""
    read: dict[str, Any] = {}
    origin: dict[str, str] = {}
    sampled: int = 0
    columns: list[ColumnLine] = []
    findings: list[FindingLine]


class ChangedColumn(BaseModel):
    """A column in two versions of a table; `distance`: 0 equal to 1 disjoint."""

    name: str
    kinds: tuple[str, str]
    missing: tuple[float | None, float | None]
    distance: float | None
    equal: bool
    why: str


class Figure(BaseModel):
    """A number with its interval, in the metric's own unit (seconds, bytes, rows a second); None
    for an end that is not known."""

    value: float | None
    low: float | None
    high: float | None
    confidence: float


class Difference(BaseModel):
    """One thing in which two judged models differ. `values`: the numbers behind `one` and `two`;
    `lead`: how much better the first is than the second on the same rows, below 0 when worse, and
    none where they were judged on different rows; `better` says it in words."""

    what: str
    one: str
    two: str
    better: str = ""
    values: tuple[Figure | None, Figure | None] = (None, None)
    lead: Figure | None = None


class CompareResult(BaseModel):
    """What changed between two tables; counts of rows are -1 when the tables were sampled. For two
    models `differences` and `report` are set, and nothing of the tables."""

    sources: tuple[str, str]
    rows: tuple[int, int] = (0, 0)
    fingerprints: tuple[str, str] = ("", "")
    only: tuple[int, int] = (0, 0)
    both: int = 0
    sampled: int = 0
    columns: list[ChangedColumn] = []
    differences: list[Difference] = []
    report: str = ""


class CandidateLine(BaseModel):
    """A line of the leaderboard. Seconds, bytes, rows a second; None where it was not measured.
    `score` and `error`: cross-validated; `latency_p95`, `throughput` and `memory`: of the real
    server; `in_process`: one row, measured or estimated; `feasible`: keeps the limits on cost."""

    number: int
    candidate: str
    origin: str
    score: float | None
    error: float | None
    in_process: float | None
    latency_p95: float | None
    throughput: float | None
    memory: float | None
    size: float | None
    fit_seconds: float
    folds: int
    measured: bool
    outcome: str
    feasible: bool
    pareto: bool
    chosen: bool


class RunResult(BaseModel):
    """What a run came to."""

    model: str
    version: str
    alias: str
    verdict: Literal["pass", "fail", "undecided"]
    headline: str
    family: str
    trials: int
    report: str
    project: str
    run: str
    artefact: str
    replaces: str
    goal: str
    first_feasible: float | None
    leaderboard: list[CandidateLine]
    findings: list[FindingLine]
    next: str = ""


class RetrainResult(BaseModel):
    """What a model is trained on anew, and what came of it; `run` is None for a dry run.

    `window` and `recent`: first and last answer that is learned from, and that only judges.
    """

    model: str
    why: str
    champion: str
    champion_run: str
    data: str
    source: str
    source_rows: int
    sealed_rows: int
    learned: int
    judging: int
    window: tuple[str, str]
    recent: tuple[str, str]
    left_out: dict[str, int]
    problem: str = ""
    run: RunResult | None = None


class ReportResult(RunResult):
    """A judged run again, as its report shows it."""


class ReleaseResult(BaseModel):
    """A run that was released on a person's word."""

    model: str
    version: str
    alias: str
    run: str
    headline: str
    overrides: list[str]
    next: str = ""


class ReproduceResult(BaseModel):
    """A run's model made once more; digests are those of model.onnx."""

    run: str
    same: bool
    then: str
    now: str
    differences: list[str]


class ServeResult(BaseModel):
    """Serve does not return while it serves."""


class DashboardResult(BaseModel):
    """The dashboard that was written; `scrape`: an entry of `scrape_configs` of Prometheus;
    `rules`: the file with alerting rules, empty for none."""

    model: str
    out: str
    panels: int
    scrape: str
    rules: str


class PredictResult(BaseModel):
    """What predict wrote."""

    rows: int
    out: str


class ClientResult(BaseModel):
    """The file that client wrote."""

    language: str
    out: str


class ChangeResult(BaseModel):
    """What changed in production, or which gate (`subject`) was let through on whose word; moved
    for a champion that was found moved outside modelwright."""

    action: Literal["promote", "rollback", "override", "moved"]
    subject: str = ""
    model: str
    champion: str
    replaces: str
    by: str
    at: str
    why: str


class TrafficResult(BaseModel):
    """Who answers a model's requests.

    `changed`: whether this command changed it; `shares`: version -> share now; `steps`: of the
    canary, as (share, seconds); `began`: when the canary did; `seed`: of canary or test.
    """

    model: str
    champion: str
    changed: bool
    shares: dict[str, float]
    kind: Literal["champion", "canary", "ab"]
    canary: str = ""
    steps: list[tuple[float, float]] = []
    began: str = ""
    arms: dict[str, float] = {}
    seed: int | None = None
    shadow: str = ""
    by: str = ""
    at: str = ""
    why: str = ""


class VersionLine(BaseModel):
    """A registered version."""

    version: str
    aliases: list[str]
    verdict: str
    run: str
    let_through: list[str] = []
    created: str


class HistoryResult(BaseModel):
    """Versions newest first, changes of the champion oldest first."""

    model: str
    versions: list[VersionLine]
    changes: list[ChangeResult]


class AuditLineResult(BaseModel):
    """A line of the audit log; `subject`: the gate, for an override; the tool, for a call."""

    at: str
    by: str
    action: str
    model: str
    version: str
    replaces: str
    why: str
    subject: str = ""
    detail: dict[str, str] = {}


class AuditResult(BaseModel):
    """The audit log; `broken_at`: the first line that does not follow from the one before;
    `count`: of lines, `calls` of tools among them."""

    whole: bool
    broken_at: int | None
    count: int
    calls: int = 0
    lines: list[AuditLineResult]


class LabelsResult(BaseModel):
    """What became of the rows of a file of labels."""

    new: int
    changed: int
    older: int
    repeated: int
    refused: int
    problems: list[str]


class WatchResult(BaseModel):
    """The last look at a live model, labels that were taken, or the page that was written."""

    model: str
    looks: int = 0
    look: dict[str, Any] | None = None
    labels: LabelsResult | None = None
    report: str | None = None


class GarbageLine(BaseModel):
    """Something that nothing refers to; `kind`: run, artefact, job or part."""

    path: str
    kind: str
    why: str
    bytes: int


class GcResult(BaseModel):
    """What was found, or with --apply removed; `bytes` in all."""

    applied: bool
    bytes: int
    garbage: list[GarbageLine]


class KeysResult(BaseModel):
    """A new pair: the private key's file, the public key's file, the key's id; for an approver the
    public key itself, and the policy file that has it now."""

    private: str
    public: str
    key: str
    approver: str = ""
    policy: str = ""


class SpecResult(BaseModel):
    """A document: the resolved spec or the JSON Schema."""

    document: dict[str, Any]


class DoctorResult(BaseModel):
    """What doctor looked at."""

    findings: list[FindingLine]
