"""What a project proves of the tests of the ML Test Score that look at a model in service.

Nothing is seen of a server from here: the spec says what is recorded and who is told, the project's
folder whether a watcher has looked, the audit what became of traffic.
"""

from __future__ import annotations

from modelwright.core.limits import QUALITY
from modelwright.core.spec_watch import LiveLimit
from modelwright.release.practice_rules import Points
from modelwright.release.run_records import RunRecords

WATCHED = ".modelwright/watch.db"
"""Written at the first look of a watcher, where no `watch.store_env` names a server."""


def one_example(run: RunRecords) -> Points:
    """I5: an answer can be taken apart by column; what goes on within the model cannot."""
    del run
    return Points(
        0.5,
        "any answer is taken apart by column (POST /predict?explain=true, of the packed model); "
        "steps inside the model are not shown",
    )


def canary(run: RunRecords) -> Points:
    """I6: one was used; a point where each new version gets one by itself."""
    used = [line for line in run.audit if line.action == "canary"]
    if used and "canary" in run.spec.watch.act:
        return Points(1.0, f"used {len(used)} times, and watch.act gives each challenger one")
    if used:
        return Points(0.5, f"used {len(used)} times, last {used[-1].at}; by hand: watch.act")
    return Points(
        0.0, f"never used here: modelwright traffic canary {run.release.model}, or watch.act"
    )


def invariants(run: RunRecords) -> Points:
    """M2: the schema travels with the model; drift, gaps and unseen values are watched."""
    return _watched(run, 0.5, "the training schema is enforced on every served row")


def skew(run: RunRecords) -> Points:
    """M3: one graph holds the transforms for both; served rows are compared with training."""
    parity = run.manifest.parity
    proven = parity.label_flips == 0 and parity.largest_difference <= parity.tolerance
    done = "transforms are inside the served graph" + ", proved equal" * proven
    return _watched(run, 0.5 * proven, done)


def age(run: RunRecords) -> Points:
    """M4: somebody is told of a model that is too old."""
    days = run.spec.watch.limits.age / 86_400
    return _watched(run, 0.0, f"a model older than {days:g} days is a finding", "age")


def numbers(run: RunRecords) -> Points:
    """M5: hostile rows were answered sanely; in service an answer that is no number is an error."""
    sane = run.gates("robustness")
    if not sane or any(f.verdict != "pass" for f in sane):
        return Points(0.0, "answers to hostile rows are not sane: see robustness", bool(sane))
    done = "answers to hostile rows are sane; one that is not finite is never sent, and counted"
    return _watched(run, 0.5, done, "errors")


def speed(run: RunRecords) -> Points:
    """M6: limits on cost hold at each release, and in service."""
    limits = [str(limit) for limit in run.manifest.limits if limit.metric not in QUALITY]
    if not limits:
        return Points(0.0, "no limit on cost: limits: {latency_p95: 20 ms, memory: 500 MB}")
    return _watched(run, 0.5, f"measured at each release: {', '.join(limits)}", "latency")


def quality(run: RunRecords) -> Points:
    """M7: outcomes came back, which only a comparison on them proves."""
    found = _watched(run, 0.0, "outcomes that come as labels are compared with answers")
    if found.score < 1 or run.gates("recent"):
        return found
    return Points(
        0.5, f"{found.why}; no release was compared on outcomes yet (modelwright retrain)"
    )


def _watched(run: RunRecords, before: float, done: str, part: LiveLimit | None = None) -> Points:
    """The points for what is done anyway, and for being told when it breaks."""
    spec = run.spec
    lacking = ["serve.journal"] * (spec.serve.journal is None)
    lacking += ["watch.alerts"] * (not spec.watch.alerts)
    if part in spec.watch.limits.ignore:
        lacking.append(f"watch.limits without ignore: {part}")
    if lacking:
        return Points(before, f"{done}; nobody is told of it yet: set {', '.join(lacking)}")
    told = f"{done}; alerts go to {', '.join(alert.to for alert in spec.watch.alerts)}"
    if not (run.project / WATCHED).exists():
        return Points(0.5, f"{told}; no watcher has looked here: modelwright watch")
    return Points(1.0, f"{told}; a watcher has looked")
