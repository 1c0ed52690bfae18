"""The report on a live model: one self-contained HTML page, how it is first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from modelwright.release.html import contents, page
from modelwright.watch.distributions_page import changed_page, ranking_page, scores_page
from modelwright.watch.findings_page import (
    age_of,
    episodes_page,
    events_page,
    findings_table,
    journal_page,
    limits_page,
    versions_page,
    watcher_page,
    worst_first,
)
from modelwright.watch.look import Shown
from modelwright.watch.report_records import Records, Told, gather
from modelwright.watch.series_page import (
    canary_page,
    is_quality,
    latency_page,
    other_page,
    other_series,
    quality_page,
    traffic_page,
)
from modelwright.watch.state import Memory
from modelwright.watch.subject import Subject
from modelwright.watch.times import minute_of

STALE = 5.0
"""So many times the usual pause after the last look, nobody watches any more."""
LEAST_STALE = 600.0
"""Seconds that a look is fresh, however short the pauses."""
_PLACED = ("drift", "limits", "canary")


def watch_report(
    subject: Subject, memory: Memory, now: float, *, since: float,
    sent: Sequence[Told] | None = None,
) -> str:  # fmt: skip
    """Write the page.

    Args:
        subject: the model.
        memory: what the watcher remembers of it.
        now: Unix time.
        since: Unix time of the earliest that is drawn and listed.
        sent: what became of alerts, the newest first (`Outbox.sent`); None where none are sent.

    Returns:
        HTML that needs nothing from outside and runs nothing.

    Raises:
        RegistryError: the registry cannot be reached.
        sqlalchemy.exc.SQLAlchemyError: the watch database cannot be reached.

    Example:
        text = watch_report(subject, Memory(engine), time.time(), since=time.time() - 7 * 86400)
        Path("watch.html").write_text(text, encoding="utf-8")
    """
    return render(gather(subject, memory, now, since, sent))


def render(given: Records) -> str:
    """The page of what was read."""
    kind, sentence = verdict(given)
    version = given.subject.champion.version.number
    title = f"{given.subject.name} {version}, watched"
    head = (
        f"<p class='eyebrow'>{escape(title)} &middot; {minute_of(given.now)}, shown since "
        f"{minute_of(given.since)}</p><h1 class='{kind}'>{escape(sentence)}</h1>"
    )
    return page(title, head + contents(sections(given), "report"))


def sections(given: Records) -> list[tuple[str, str]]:
    """Every part of the report: its name and content."""
    found = [
        ("Open episodes", episodes_page(given)),
        ("Limits", limits_page(given)),
        ("Traffic", traffic_page(given)),
        ("Latency and cost", latency_page(given)),
        ("Scores", scores_page(given)),
        ("Columns that changed most", changed_page(given)),
        ("All columns", ranking_page(given)),
        ("Quality", quality_page(given)),
        ("Canary", canary_page(given)),
        ("Alerts and events", events_page(given)),
        ("Versions", versions_page(given)),
        ("Journal", journal_page(given)),
        ("Watcher", watcher_page(given)),
    ]
    if other_series(given):
        found.insert(9, ("Other figures", other_page(given)))
    others = [p for p in given.shown if p not in _PLACED and not is_quality(p)
              and given.findings(p)]  # fmt: skip
    if others:
        found.append(("Other findings", findings_table(given.findings(*others), given.names)))
    return found


def verdict(given: Records) -> tuple[str, str]:
    """How the model is, in one sentence, and as pass, undecided or fail."""
    name = f"{given.subject.name} {given.subject.champion.version.number}"
    last = max((shown.at for shown in given.shown.values()), default=None)
    if last is None:
        return "undecided", f"Nothing is known of {name} yet: nobody has looked at it"
    age = given.now - last
    if age > max(STALE * given.subject.spec.watch.every, LEAST_STALE):
        return "undecided", f"{name} is not watched: the last look was {age_of(age)} ago"
    current = {part: shown for part, shown in given.shown.items() if shown.at >= last}
    missed = [f for f in given.findings("limits") if f.verdict == "fail"]
    broken = [f.subject for f in missed if f.check != "server"]
    unlike = [f"{f.subject}: {f.measured}" for f in missed if f.check == "server"]
    failed = sorted(part for part, shown in current.items() if shown.failed)
    troubles = [_many(given, len(given.open))] if given.open else []
    troubles += [f"over its limit on {', '.join(broken)}"] if broken else []
    troubles += unlike
    troubles += [f"{', '.join(failed)} could not be judged"] if failed else []
    answers = sum(sum(minutes.values()) for minutes in _last_day(given))
    traffic = f"{answers:,} answers in the last day"
    if not troubles:
        return _untroubled(given, current, name, traffic if answers else "")
    errors = missed or any(one.worst.severity == "error" for one in given.open.values())
    how = "needs you" if errors else "has changed" if given.open else "is partly unknown"
    return ("fail" if errors else "undecided"), f"{name} {how}: {'; '.join(troubles)}; {traffic}"


def _untroubled(
    given: Records, current: Mapping[str, Shown], name: str, traffic: str
) -> tuple[str, str]:
    """Well, unless nothing was judged or nobody asks."""
    waits = [shown.waits for shown in current.values() if shown.waits]
    if not given.series and len(waits) == len(current):
        return "undecided", f"Nothing of {name} is judged yet: {waits[0]}"
    if not traffic:
        return "undecided", f"{name} has no open episode, and no answers in the last day"
    return "pass", f"{name} is well: no open episode, {traffic}"


def _many(given: Records, count: int) -> str:
    causes = ", ".join(cause for cause, _ in worst_first(given))
    return f"{count} open episode{'s' if count > 1 else ''} ({causes})"


def _last_day(given: Records) -> list[dict[int, int]]:
    begin = given.now - 86_400
    return [{m: rows for m, rows in minutes.items() if m >= begin}
            for minutes in given.minutes.values()]  # fmt: skip
