"""Part: does what the champion is asked, and what it says, still look as in training?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from modelwright.core.records import Finding
from modelwright.core.spec_data import SplitSpec
from modelwright.core.spec_watch import WatchSpec
from modelwright.serve import journal_files
from modelwright.watch.by_request import distinct, spread_of
from modelwright.watch.contract import Promise, broken, promise_of, promises
from modelwright.watch.counted import Frame, Reference
from modelwright.watch.drift import AT_ONCE, CAUSES, ColumnPolicy, Drift, Policy, by_cause, judge
from modelwright.watch.episodes import Window, causes_of
from modelwright.watch.look import Looked
from modelwright.watch.names import Names
from modelwright.watch.reference import frame_of
from modelwright.watch.state import Point
from modelwright.watch.subject import Subject
from modelwright.watch.summaries import SCORE, Summary
from modelwright.watch.summary_store import of_callers
from modelwright.watch.times import iso
from modelwright.watch.windows import closed, waits_for

CONSTANT = "constant answer"
SAME_SHARE = 0.999
"""One cell of the score holds so much of a window, and did not in training: the answer is stuck."""
Key = tuple[str, str]
"""Check and column of a finding."""
CHECKED = ("score drift", *dict.fromkeys(CAUSES.values()), CONSTANT)


class DriftState(msgspec.Struct, frozen=True):
    """Where the last window of a version ended, and what it showed.

    `told`: where the window begins whose broken contract was told before it closed.
    """

    version: str = ""
    digest: str = ""
    until: int = 0
    last: Drift | None = None
    told: int = -1


class DriftPart:
    """Windows of the champion's answers against its reference, and its contract at each look."""

    name = "drift"
    causes = CHECKED

    def look(self, subject: Subject, state: bytes | None) -> Looked:
        """Judge the windows that closed, and the contract in the one that is open."""
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
        watched = _Watched(subject, champion.live.reference)
        rows = watched.rows(before.until)
        spans = closed(
            rows, before.until, seconds=subject.spec.watch.window, least=subject.spec.watch.rows,
            settled=subject.settled, grain=subject.spec.watch.grain,
        )  # fmt: skip
        windows, points, after = list[Window](), dict[str, list[Point]](), before
        for begin, end in spans:
            found, frame = watched.judged(begin, end)
            found, sure = watched.by_request(found, begin, end)
            windows.append(_window(found, watched.reference, end, sure))
            last = msgspec.structs.replace(
                found, findings=_readable(found.findings, watched.reference)
            )
            _draw(points, last, frame, end, before.version)
            after = msgspec.structs.replace(after, until=end, last=last)
        early, window = watched.early(after, rows)
        if window is not None:
            windows.append(window)
            after = msgspec.structs.replace(after, told=after.until)
        told = {(f.check, f.subject) for f in early}
        older = after.last.findings if after.last else ()
        findings = early + tuple(f for f in older if (f.check, f.subject) not in told)
        waits = waits_for(
            rows, after.until, seconds=subject.spec.watch.window, least=subject.spec.watch.rows,
            settled=subject.settled,
        )  # fmt: skip
        return Looked(
            msgspec.json.encode(after), tuple(windows), findings, points,
            waits="" if spans else waits,
        )  # fmt: skip


class _Watched:
    """The champion of a look, with what its answers are held against."""

    def __init__(self, subject: Subject, reference: Reference) -> None:
        self.reference = reference
        self._subject, self._champion = subject, subject.champion
        self._where = subject.name, self._champion.version.number, self._champion.digest
        self._policy = policy_of(subject.spec.watch, subject.spec.data.split)

    def rows(self, since: int) -> dict[int, int]:
        """Minute -> answers."""
        return self._subject.store.rows(*self._where, since=since)

    def judged(self, begin: int, end: int) -> tuple[Drift, Frame]:
        """What a closed window showed, and its counts."""
        minutes = self._minutes(begin, end)
        frame = frame_of(sum(minutes.values(), self._champion.plan.empty()))
        found = with_constant(judge(frame, self.reference, self._policy), frame, self.reference)
        if not found.closed:
            return found, frame
        known = {(f.check, f.subject) for f in found.alarms}
        broken = self._broken(minutes)
        new = tuple(f for f in broken if (f.check, f.subject) not in known)
        notes = tuple(f for f in found.findings if f.verdict != "fail")
        return msgspec.structs.replace(found, findings=(*found.alarms, *new, *notes)), frame

    def by_request(self, found: Drift, begin: int, end: int) -> tuple[Drift, frozenset[Key]]:
        """(the same with what requests say, those by which an episode may open at once)."""
        told, sure = list[Finding](), set[Key]()
        for finding in found.findings:
            asked = finding.verdict == "fail" and finding.check in (*AT_ONCE, CONSTANT)
            one, is_sure = self._held(finding, begin, end) if asked else (finding, False)
            told.append(one)
            if is_sure:
                sure.add((finding.check, finding.subject))
        return msgspec.structs.replace(found, findings=tuple(told)), frozenset(sure)

    def early(
        self, state: DriftState, rows: Mapping[int, int]
    ) -> tuple[tuple[Finding, ...], Window | None]:
        """(a broken contract in the window that is open, a window for episodes the first time that
        requests are sure of it)."""
        grain = self._subject.spec.watch.grain
        end = int(self._subject.settled // grain * grain)
        if not any(state.until <= minute < end for minute in rows):
            return (), None
        broke = self._broken(self._minutes(state.until, end))
        if not broke or state.told == state.until:
            return _readable(broke, self.reference), None
        held = [self._held(finding, state.until, end) for finding in broke]
        shown = _readable((one for one, _ in held), self.reference)
        sure = [one for one, (_, is_sure) in zip(shown, held, strict=True) if is_sure]
        if not sure:
            return shown, None
        cause = CAUSES[sure[0].check]
        at_once = frozenset({cause})
        return shown, Window(iso(end), at_once, {cause: sure[0]}, at_once)

    def _minutes(self, begin: int, end: int) -> dict[int, Summary]:
        return self._subject.store.minutes(self._champion.plan, *self._where, begin, end)

    def _broken(self, minutes: Mapping[int, Summary]) -> tuple[Finding, ...]:
        rows = sum(summary.rows for summary in minutes.values())
        return broken(minutes, self._promised(rows), self._policy.q)

    def _promised(self, rows: int) -> list[Promise]:
        schema = self._champion.manifest.schema
        return promises(schema, self.reference, self._policy, rows)

    def _held(self, finding: Finding, begin: int, end: int) -> tuple[Finding, bool]:
        """(the finding with what the requests of the window say, whether one may page for it)."""
        least, column = self._subject.spec.watch.drift.requests, finding.subject
        columns = ["request_id", "time", "arm", column]
        table = journal_files.rows(self._subject.journal, *self._where[:2], begin, end, columns)
        if table is None or column not in table.column_names:
            return _adding(
                finding, "the journal does not hold these requests any more", least
            ), False
        table = of_callers(table)
        if finding.check == CONSTANT:
            requests, sure = distinct(table), distinct(table) >= least
            return _adding(finding, f"{requests:,} requests", 0 if sure else least), sure
        promised = self._promised(len(table))
        plan, grain = self._champion.plan, self._subject.spec.watch.grain
        promise = promise_of(finding, promised, self.reference, self._policy)
        spread = spread_of(table, plan, promise, grain)
        sure = spread.is_sure(least, len(promised), self._policy.q)
        told = f"{spread.odd:,} of {spread.asked:,} requests have such rows"
        return _adding(finding, told, 0 if sure else least), sure


def policy_of(watch: WatchSpec, split: SplitSpec) -> Policy:
    """`watch.drift` as drift takes it; columns go by their names in the journal.

    What a split by time goes by always moves on: nothing is asked of it, unless the spec does.
    """
    spec, rows = watch.drift, watch.rows
    columns: dict[str, ColumnPolicy] = {}
    if split.method == "time" and split.by is not None:
        columns[split.by] = columns[f"f_{split.by}"] = ColumnPolicy(ignore=True)
    for name, own in spec.columns.items():
        policy = ColumnPolicy(
            own.distance, own.missing, own.unseen, own.far, own.outside, own.joint, own.usual,
            own.ignore,
        )  # fmt: skip
        columns[name] = columns[f"f_{name}"] = policy
    return Policy(
        spec.q, spec.distance, spec.missing, spec.unseen, spec.far, spec.outside, spec.joint,
        spec.usual, rows, columns,
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


def _adding(finding: Finding, told: str, least: int) -> Finding:
    """The same with what requests say; `least` of them wake somebody at once, 0 where they do."""
    if least:
        told += f": too few to say so before a second bad window (at once: surely, and {least} "
        told += "distinct requests, watch.drift.requests)"
    return msgspec.structs.replace(finding, why=f"{finding.why}; {told}")


def _window(drift: Drift, reference: Reference, end: int, sure: frozenset[Key]) -> Window:
    """Of a closed window; an episode may open at once by what requests are sure of."""
    causes = by_cause(_without_constant(drift), reference.first)
    bad = causes_of(causes)
    constant = [f for f in drift.findings if f.check == CONSTANT]
    if constant:
        bad[CONSTANT] = constant[0]
        causes[CONSTANT] = constant
    keys = {cause: {(f.check, f.subject) for f in found} for cause, found in causes.items()}
    strict = {cause for cause in bad if keys[cause] & sure}
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
