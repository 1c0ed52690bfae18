"""Part: does what the champion is asked, and what it says, still look as in training?"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from modelwright.core.records import Finding
from modelwright.core.spec_watch import DriftSpec
from modelwright.watch.counted import Frame, Reference
from modelwright.watch.drift import AT_ONCE, CAUSES, ColumnPolicy, Drift, Policy, by_cause, judge
from modelwright.watch.episodes import Window, causes_of
from modelwright.watch.look import Looked
from modelwright.watch.names import Names
from modelwright.watch.reference import frame_of
from modelwright.watch.state import Point
from modelwright.watch.subject import Subject
from modelwright.watch.summaries import SCORE
from modelwright.watch.times import iso
from modelwright.watch.windows import closed, waiting

CONSTANT = "constant answer"
SAME_SHARE = 0.999
"""One cell of the score holds so much of a window, and did not in training: the answer is stuck."""
CHECKED = ("score drift", *dict.fromkeys(CAUSES.values()), CONSTANT)


class DriftState(msgspec.Struct, frozen=True):
    """Where the last window of a version ended, and what it showed."""

    version: str = ""
    digest: str = ""
    until: int = 0
    last: Drift | None = None


class DriftPart:
    """Windows of the champion's answers against its reference."""

    name = "drift"
    causes = CHECKED

    def look(self, subject: Subject, state: bytes | None) -> Looked:
        """Judge the windows that closed."""
        before = msgspec.json.decode(state, type=DriftState) if state else DriftState()
        champion = subject.champion
        if champion.digest != before.digest:
            # what it answered before, as champion or canary, is no news of now
            grain = subject.spec.watch.grain
            until = int(subject.settled // grain * grain) if before.digest else 0
            before = DriftState(champion.version.number, champion.digest, until)
        if champion.live is None:
            why = f"version {before.version} was released without a reference; run again"
            return Looked(msgspec.json.encode(before), waits=why)
        spec, grain = subject.spec.watch, subject.spec.watch.grain
        where = subject.name, champion.version.number, champion.digest
        rows = subject.store.rows(*where, since=before.until)
        spans = closed(
            rows, before.until,
            seconds=spec.window, least=spec.rows, settled=subject.settled, grain=grain,
        )  # fmt: skip
        if not spans:
            waits = f"{waiting(rows, before.until):,} of {spec.rows:,} answers of a window"
            findings = before.last.findings if before.last else ()
            return Looked(msgspec.json.encode(before), findings=findings, waits=waits)
        policy = policy_of(spec.drift, spec.rows)
        reference = champion.live.reference
        windows, points, last = list[Window](), dict[str, list[Point]](), before.last
        for begin, end in spans:
            summary = subject.store.window(champion.plan, *where, begin, end)
            frame = frame_of(summary)
            found = with_constant(judge(frame, reference, policy), frame, reference)
            windows.append(_window(found, reference, end))
            last = msgspec.structs.replace(found, findings=_readable(found.findings, reference))
            _draw(points, last, frame, end, before.version)
        after = DriftState(before.version, before.digest, spans[-1][1], last)
        findings = last.findings if last else ()
        return Looked(msgspec.json.encode(after), tuple(windows), findings, points)


def policy_of(spec: DriftSpec, rows: int) -> Policy:
    """`watch.drift` as drift takes it; columns go by their names in the journal."""
    columns: dict[str, ColumnPolicy] = {}
    for name, own in spec.columns.items():
        policy = ColumnPolicy(
            own.distance, own.missing, own.unseen, own.far, own.joint, own.usual, own.ignore
        )
        columns[name] = columns[f"f_{name}"] = policy
    return Policy(
        spec.q, spec.distance, spec.missing, spec.unseen, spec.far, spec.joint, spec.usual,
        rows, columns,
    )  # fmt: skip


def with_constant(drift: Drift, frame: Frame, reference: Reference) -> Drift:
    """The same with a finding where all answers are alike, which in training they were not."""
    seen, known = frame.columns[SCORE].bins, reference.whole.columns[SCORE].bins
    if not drift.closed or not seen.sum() or not known.sum():
        return drift
    cell = int(seen.argmax())
    now, then = float(seen[cell] / seen.sum()), float(known[cell] / known.sum())
    if now < SAME_SHARE or then > 0.9:
        return drift
    finding = Finding(
        check=CONSTANT,
        subject=SCORE,
        verdict="fail",
        measured=f"{now:.1%} of the scores in one of 64 bins",
        wanted=f"as in training, {then:.1%}",
        why="the model is asked the same, or nothing of what it is asked reaches it",
        advice="look at what callers send; try the example of the model card",
        severity="error",
    )
    return msgspec.structs.replace(drift, findings=(finding, *drift.findings))


def _window(drift: Drift, reference: Reference, end: int) -> Window:
    causes = by_cause(_without_constant(drift), reference.first)
    bad = causes_of(causes)
    constant = [f for f in drift.findings if f.check == CONSTANT]
    if constant:
        bad[CONSTANT] = constant[0]
    strict = {cause for cause, f in bad.items() if f.check in (*AT_ONCE, CONSTANT)}
    shown = dict(zip(bad, _readable(bad.values(), reference), strict=True))
    return Window(iso(end), frozenset(CHECKED), shown, frozenset(strict))


def _readable(findings: Iterable[Finding], reference: Reference) -> tuple[Finding, ...]:
    """The same in the names of the table; `columns` keeps those of the journal."""
    names = Names(tuple(reference.kinds))
    return tuple(
        msgspec.structs.replace(
            f, subject=names.words(names.shown(f.subject)), measured=names.words(f.measured),
            advice=names.words(f.advice), columns=f.columns or (f.subject,),
        )
        for f in findings
    )  # fmt: skip


def _without_constant(drift: Drift) -> Drift:
    kept = tuple(f for f in drift.findings if f.check != CONSTANT)
    return msgspec.structs.replace(drift, findings=kept)


def _draw(
    points: dict[str, list[Point]], drift: Drift, frame: Frame, end: int, version: str
) -> None:
    points.setdefault("rows", []).append(Point(end, drift.rows, rows=drift.rows, version=version))
    alarms = len(drift.alarms)
    points.setdefault("drift alarms", []).append(Point(end, alarms, rows=drift.rows))
    bins = frame.columns[SCORE].bins[1:-1]
    if bins.sum():
        mean = float((bins * np.arange(len(bins))).sum() / bins.sum() / max(1, len(bins) - 1))
        points.setdefault("score place", []).append(Point(end, mean, rows=drift.rows))
