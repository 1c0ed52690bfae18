"""Part: how good are the answers, as far as truths have come?

Truths come late, so two questions are asked. In the order in which they arrive, each one feeds an
alarm with a stated rate of false ones (`watch.sequential`), which needs no window. By the time of
the answer, windows are judged against the limits of the spec once they are mature: once they have
most of the labels that windows get. What has no truth yet is estimated, and the estimate is shown
with its record against the truths that came (`watch.estimate`).
"""

from __future__ import annotations

import msgspec
import numpy as np

from modelwright.core.intake import Array
from modelwright.core.records import Finding, Interval
from modelwright.watch import estimate, expected, sequential
from modelwright.watch.answered import Answered, answered, of_champion
from modelwright.watch.episodes import Window
from modelwright.watch.estimate import Labelled
from modelwright.watch.expected import Expected
from modelwright.watch.labels import Cursor, arrived_since
from modelwright.watch.lateness import in_words, newest
from modelwright.watch.look import Looked
from modelwright.watch.quality_limits import of_limits
from modelwright.watch.reference import Live
from modelwright.watch.sequential import Detector
from modelwright.watch.state import Point
from modelwright.watch.subject import Subject
from modelwright.watch.times import iso

QUALITY, ALARM, ESTIMATE = "quality", "quality alarm", "estimated quality"
LEAST_OF_ESTIMATE = 200
KEPT = 60
"""Closed windows that are remembered, for the back-test and the usual share of labels."""


class Judged(msgspec.Struct, frozen=True):
    """A window whose truths came.

    Attributes:
        begin, end: Unix times of its answers.
        share: of its answers that had a truth.
        delay: median seconds from answer to truth.
        loss: mean loss, see `reference.Live.loss`.
        estimated: what was expected of it without labels.
    """

    begin: int
    end: int
    answers: int
    share: float
    delay: float
    loss: float
    estimated: float


class QualityState(msgspec.Struct, frozen=True):
    """What is remembered of a version.

    Attributes:
        since: answers of before it are those of a canary, or of an earlier champion.
        until: windows before it are closed.
        labelled: minute -> its answers whose truth came, of those in no closed window. By them a
            window is closed, so that a look costs the same however few answers have a truth.
        cursor: of labels in order of arrival.
        delays: of the newest of them, see `lateness.newest`.
        detector: None before the first label.
        findings: of the last closed window.
        guessed: where the last window of the estimate ended.
        expected: what the answers of the estimate's window lead one to expect.
    """

    digest: str = ""
    until: int = 0
    labelled: dict[int, int] = {}
    cursor: Cursor | None = None
    detector: Detector | None = None
    windows: tuple[Judged, ...] = ()
    findings: tuple[Finding, ...] = ()
    guessed: int = 0
    expected: Expected = Expected()
    since: int = 0
    delays: tuple[float, ...] = ()


class QualityPart:
    """The champion against the truths."""

    name = QUALITY
    causes: tuple[str, ...] = (QUALITY, ALARM, ESTIMATE)

    def look(self, subject: Subject, state: bytes | None) -> Looked:
        """Take the truths that came."""
        before = msgspec.json.decode(state, type=QualityState) if state else QualityState()
        champion, live = subject.champion, subject.champion.live
        if before.digest != champion.digest:
            # what it answered before, as champion or canary, is no news of now
            until = _minute(subject) if before.digest else 0
            before = QualityState(champion.digest, until, cursor=before.cursor, since=until)
        if live is None:
            why = f"version {champion.version.number} was released without a reference; run again"
            return Looked(msgspec.json.encode(before), waits=why)
        alarmed, sounded = _in_order(before, subject, live)
        after, more, points = _in_windows(alarmed, subject, live)
        after, guessed, findings = _without_truths(after, subject, live, points)
        windows = _numbered([*sounded, *more, *guessed], subject.now)
        alarms = tuple(f for w in sounded for f in w.bad.values())
        waits = "" if after.windows else _waits(after, subject)
        shown = (*alarms, *after.findings, *findings)
        return Looked(msgspec.json.encode(after), windows, shown, points, waits=waits)


def _minute(subject: Subject) -> int:
    """The last minute's end of which all answers are on record."""
    grain = subject.spec.watch.grain
    return int(subject.settled // grain * grain)


# -- in the order in which truths arrive


def _in_order(
    before: QualityState, subject: Subject, live: Live
) -> tuple[QualityState, list[Window]]:
    spec = subject.spec.watch.quality
    table, cursor = arrived_since(
        subject.journal, subject.name, before.cursor,
        columns=["fallback"], sample=subject.journaling.sample, now=subject.now,
        remembered=subject.remembered,
    )  # fmt: skip
    if table.num_rows:  # a label that corrects another one was counted when that came
        table = table.filter(table["label_before"].is_null())
    found = of_champion(table, subject)
    found = found.take(found.known & (found.time >= before.since))
    counts, delays = _counted(before, found.time, subject), newest(before.delays, found.delay)
    after = msgspec.structs.replace(before, cursor=cursor, labelled=counts, delays=delays)
    losses = _losses(found, live)
    if not len(losses):
        return after, []
    bound = float(np.clip(live.loss.value + spec.margin, 1e-6, 1 - 1e-6))
    detector, windows = before.detector or Detector(bound, spec.alpha), list[Window]()
    late = _late(after, subject)
    while len(losses):  # however labels are cut into looks, the windows are the same
        part = losses[: spec.rows - (detector.seen - detector.alarmed) % spec.rows]
        losses = losses[len(part) :]
        detector, alarms = sequential.watch(detector, part)
        at_once = frozenset({ALARM})
        windows += [Window("", at_once, {ALARM: _severe(one, late)}, at_once) for one in alarms]
        if not alarms and not (detector.seen - detector.alarmed) % spec.rows:
            windows.append(Window("", at_once))
    return msgspec.structs.replace(after, detector=detector), windows


def _severe(finding: Finding, late: str) -> Finding:
    why = f"{finding.why}; {late}"
    return msgspec.structs.replace(finding, check=ALARM, severity="error", why=why)


def _late(state: QualityState, subject: Subject) -> str:
    """Labelled share and label delay: of the last closed window, with what was answered since up to
    the newest answer that has a truth; the delay of the newest truths."""
    held, grain = sum(state.labelled.values()), subject.spec.watch.grain
    end = max(state.labelled, default=0) // grain * grain + grain
    answers = _answers(_begin(state, subject), end, held, subject)
    for last in state.windows[-1:]:
        held, answers = held + round(last.share * last.answers), answers + last.answers
    return in_words(held, answers, float(np.median(state.delays)))


def _losses(found: Answered, live: Live) -> Array:
    """Between 0 and 1: a wrong label, or the error over the reference's scale."""
    if found.codes is not None:
        return np.asarray((found.codes != found.truth).astype(np.float64))
    return np.asarray(np.minimum(np.abs(found.answers - found.truth) / live.scale, 1.0))


# -- by the time of the answer


def _counted(state: QualityState, times: Array, subject: Subject) -> dict[int, int]:
    """Labelled answers by their minute, of those that are in no closed window and on record."""
    grain, begin = subject.spec.watch.grain, _begin(state, subject)
    counts = {at: many for at, many in state.labelled.items() if at >= begin}
    minutes, many = np.unique(times[times >= begin] // grain * grain, return_counts=True)
    for at, more in zip(minutes.astype(int).tolist(), many.tolist(), strict=True):
        counts[at] = counts.get(at, 0) + more
    return counts


def _begin(state: QualityState, subject: Subject) -> int:
    """Answers of before are judged already, or forgotten."""
    return max(state.until, int(subject.now - subject.journaling.keep))


def _in_windows(
    state: QualityState, subject: Subject, live: Live
) -> tuple[QualityState, list[Window], dict[str, list[Point]]]:
    windows, points = list[Window](), dict[str, list[Point]]()
    while (end := _mature(state, subject)) is not None:
        begin = _begin(state, subject)
        one = answered(subject, begin, end, labelled=True)
        one = one.take(one.known)
        later = {at: many for at, many in state.labelled.items() if at >= end}
        state = msgspec.structs.replace(state, until=end, labelled=later)
        if len(one.time):  # else retention was faster
            many = _answers(begin, end, len(one.time), subject)
            state, window = _judged(state, one, many, subject, live, points)
            windows.append(window)
    return state, windows, points


def _answers(begin: int, end: int, least: int, subject: Subject) -> int:
    """How many answers a time has, with a truth or without."""
    champion = subject.champion
    found = subject.store.answers(
        subject.name, champion.version.number, champion.digest, begin, end
    )
    return max(found, least)


def _mature(state: QualityState, subject: Subject) -> int | None:
    """The end of the first window that is over and has most of its labels; None for none yet."""
    spec, grain = subject.spec.watch.quality, subject.spec.watch.grain
    held, end = 0, 0
    for minute, many in sorted(state.labelled.items()):
        held, end = held + many, minute // grain * grain + grain
        if held >= spec.rows:
            break
    if held < spec.rows or end > subject.settled:
        return None
    share = held / _answers(_begin(state, subject), end, held, subject)
    usual = max([one.share for one in state.windows], default=share)
    waited = subject.now - end > spec.patience
    return end if share >= spec.mature * usual or waited else None


def _waits(state: QualityState, subject: Subject) -> str:
    held, wanted = sum(state.labelled.values()), subject.spec.watch.quality.rows
    late = ", of which more may come" if held >= wanted else ""
    return f"{held:,} of {wanted:,} labels of a window{late}"


def _judged(
    state: QualityState,
    labelled: Answered,
    many: int,
    subject: Subject,
    live: Live,
    points: dict[str, list[Point]],
) -> tuple[QualityState, Window]:
    rows, end = len(labelled.time), state.until
    loss = float(_losses(labelled, live).mean())
    guess = expected.of(labelled.answers, labelled.codes, live).loss(live).value
    delay, share = float(np.median(labelled.delay)), rows / many
    judged = Judged(int(labelled.time.min()), end, many, share, delay, loss, guess)
    findings = tuple(of_limits(labelled, in_words(rows, many, delay), subject))
    at = float(end)
    for finding in findings:
        if finding.interval is not None:
            name = f"quality {finding.subject}"
            points.setdefault(name, []).append(_point(at, finding.interval, rows))
    points.setdefault("labelled share", []).append(Point(at, share, rows=many))
    points.setdefault("label delay", []).append(Point(at, delay, rows=rows))
    windows = (*state.windows, judged)[-KEPT:]
    after = msgspec.structs.replace(state, windows=windows, findings=findings)
    bad = _bad({QUALITY: [f for f in findings if f.verdict == "fail"]})
    return after, Window("", frozenset({QUALITY}), bad)


# -- without truths


def _without_truths(
    state: QualityState, subject: Subject, live: Live, points: dict[str, list[Point]]
) -> tuple[QualityState, list[Window], list[Finding]]:
    """The loss of the newest answers, whose truths did not come yet, with its record. It is shown
    at each look, and a window for episodes once it has nothing in common with the one before."""
    length, end = subject.spec.watch.window, _minute(subject)
    begin = max(float(state.until), end - length)
    state = msgspec.structs.replace(
        state, expected=expected.grown(state.expected, subject, live, begin, end)
    )
    rows = state.expected.rows
    if rows < LEAST_OF_ESTIMATE:
        return state, [], []
    record = [Labelled(one.estimated, live.loss.value, one.loss) for one in state.windows]
    test = estimate.back_test(record)
    value = state.expected.total.loss(live)
    found = estimate.judged("loss", value, live.loss.high, test, higher=False)
    levels = subject.champion.manifest.schema.target.levels
    shown = [found, *state.expected.total.matrix(live, levels, found.why)]
    if end - length < state.guessed:
        return state, [], shown
    points["estimated loss"] = [_point(end, found.interval, rows)]
    window = Window("", frozenset({ESTIMATE}), _bad({ESTIMATE: [found]}))
    return msgspec.structs.replace(state, guessed=end), [window], shown


def _bad(found: dict[str, list[Finding]]) -> dict[str, Finding]:
    return {
        cause: failed[0]
        for cause, some in found.items()
        if (failed := [f for f in some if f.verdict == "fail"])
    }


def _numbered(windows: list[Window], now: float) -> tuple[Window, ...]:
    """Windows of one look, in the order in which they were found: a millisecond apart."""
    return tuple(
        msgspec.structs.replace(window, at=iso(now + place / 1e3))
        for place, window in enumerate(windows)
    )


def _point(at: float, value: Interval | None, rows: int = 0) -> Point:
    assert value is not None
    return Point(at, value.value, value.low, value.high, rows)
