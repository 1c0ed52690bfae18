"""The report's parts that say how things stand: episodes, limits, events, versions, the journal."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from html import escape

from modelwright.core.limits import Limit, show
from modelwright.core.records import Finding
from modelwright.release.drawing import limit_bar
from modelwright.release.html import table
from modelwright.release.report import SIGN
from modelwright.watch.episodes import Episode
from modelwright.watch.look import Shown
from modelwright.watch.names import Names
from modelwright.watch.report_records import Records, Told
from modelwright.watch.state import Said
from modelwright.watch.times import minute_of, unix

MOST_EVENTS, MOST_VERSIONS, MOST_CHANGES, MOST_FINDINGS = 100, 20, 40, 60
_SAYS = {"error": "&#10007; error", "warning": "! warning", "info": "&middot; note"}


def nothing(why: str) -> str:
    """What stands where there is nothing to show."""
    return f"<p>Nothing yet: {escape(why)}.</p>"


def findings_table(found: Sequence[Finding], names: Names) -> str:
    """Findings, the worst first as they come."""
    rows = [
        f"<tr><th scope='row'>{escape(f.check)}</th><td class='{_weight(f)} sign'>{_sign(f)}</td>"
        f"<td>{escape(names.shown(f.subject))}</td><td>{escape(names.words(f.measured))}</td>"
        f"<td>{escape(names.words(f.wanted))}</td>"
        f"<td class='why'>{escape(names.words(_why(f)))}</td></tr>"
        for f in found[:MOST_FINDINGS]
    ]
    left = len(found) - MOST_FINDINGS
    more = f"<p class='key'>{left} more are not shown.</p>" if left > 0 else ""
    head = ("about", "verdict", "of", "measured", "wanted", "why, and what to do")
    return table(head, rows) + more


def episodes_page(given: Records) -> str:
    """What is going on, and what should be done."""
    rows = [_episode(given, cause, one) for cause, one in worst_first(given)]
    head = ("cause", "weight", "measured", "wanted", "began", "why, and what to do")
    body = table(head, rows) if rows else "<p>None is open.</p>"
    advice = [shown.advice for shown in given.shown.values() if shown.advice is not None]
    if not advice:
        return body
    lines = [
        f"<tr><th scope='row'>{escape(one.act)}</th><td>{escape(one.version)}</td>"
        f"<td>{escape(given.names.words(one.why))}</td></tr>"
        for one in advice
    ]
    return f"{body}<h3>Advised</h3>{table(('do', 'version', 'why'), lines)}"


def worst_first(given: Records) -> list[tuple[str, Episode]]:
    """Open episodes: errors first, then those that go on longest."""
    order = ("error", "warning", "info")

    def place(pair: tuple[str, Episode]) -> tuple[int, str]:
        return order.index(pair[1].worst.severity), pair[1].began

    return sorted(given.open.items(), key=place)


def _episode(given: Records, cause: str, one: Episode) -> str:
    worst, names = one.worst, given.names
    measured = f"{names.shown(worst.subject)}: {names.words(worst.measured)}"
    began = f"{_moment(one.began)}, {one.bad} bad window{'s' if one.bad > 1 else ''}"
    return (
        f"<tr><th scope='row'>{escape(cause)}</th><td class='{worst.severity} sign'>"
        f"{_SAYS[worst.severity]}</td><td>{escape(measured)}</td>"
        f"<td>{escape(names.words(worst.wanted))}</td><td>{escape(began)}</td>"
        f"<td class='why'>{escape(names.words(_why(worst)))}</td></tr>"
    )


def limits_page(given: Records) -> str:
    """Each limit with what was measured last."""
    shown = given.shown.get("limits")
    if shown is None or not shown.findings:
        why = (shown.failed or shown.waits) if shown else ""
        says = nothing(why or "no look has measured the limits")
        return says + _wanted(given.limits)
    by_name = {limit.metric: limit for limit in given.limits if not limit.relative}
    rows = []
    for f in shown.findings:
        limit = by_name.get(f.subject.partition(" where ")[0])
        drawn = limit_bar(f, limit) if limit is not None else ""
        rows.append(
            f"<tr><th scope='row'>{escape(given.names.words(f.subject))}</th>"
            f"<td class='{_weight(f)} sign'>{_sign(f)}</td><td>{escape(f.measured)}</td>"
            f"<td>{escape(f.wanted)}</td><td>{drawn}</td>"
            f"<td class='why'>{escape(_why(f))}</td></tr>"
        )
    head = ("limit", "verdict", "measured", "wanted", "", "why, and what to do")
    return table(head, rows) + f"<p class='key'>As of {minute_of(shown.at)}.</p>"


def _wanted(limits: Sequence[Limit]) -> str:
    if not limits:
        return "<p>The spec sets no limits.</p>"
    return f"<p>The limits are: {escape('; '.join(map(str, limits)))}.</p>"


def events_page(given: Records) -> str:
    """What opened, what was resolved, what was done; and what became of the alerts."""
    said = list(given.said)[::-1]
    rows = [_event(given, one) for one in said[:MOST_EVENTS]]
    head = ("when", "what", "of", "measured", "began")
    body = table(head, rows) if rows else nothing("no episode opened or ended, nothing was done")
    left = len(said) - MOST_EVENTS
    more = f"<p class='key'>{left} earlier ones are not shown.</p>" if left > 0 else ""
    return f"{body}{more}<h3>Sent</h3>{_sent(given.sent)}"


def _event(given: Records, one: Said) -> str:
    names = given.names
    event, finding = one.event, one.finding
    what, began = one.done, ""
    if event is not None:
        finding = finding or event.episode.worst
        what, began = f"{event.cause} {event.what}", _moment(event.episode.began)
    subject, measured = (finding.subject, finding.measured) if finding is not None else ("", "")
    cells = (names.words(what), names.shown(subject), names.words(measured), began)
    others = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f"<tr><th scope='row'>{minute_of(one.at)}</th>{others}</tr>"


def _sent(sent: Sequence[Told] | None) -> str:
    if sent is None:
        return nothing("no place to send alerts to is in the spec")
    if not sent:
        return nothing("no alert was to be sent")
    kinds = {"sent": "pass", "failed": "fail"}
    rows = [
        f"<tr><th scope='row'>{escape(str(one.alert.title))}</th><td>{escape(one.target)}</td>"
        f"<td class='sign {kinds.get(one.state, 'undecided')}'>{escape(one.state)}</td>"
        f"<td>{minute_of(one.queued)}</td>"
        f"<td>{'' if one.sent is None else minute_of(one.sent)}</td>"
        f"<td>{one.tries}</td><td>{escape(one.why)}</td></tr>"
        for one in sent[:MOST_EVENTS]
    ]
    return table(("alert", "to", "state", "queued", "sent", "tries", "error"), rows)


def versions_page(given: Records) -> str:
    """What there is, and who made what the champion, when and why."""
    rows = []
    for one in given.versions[:MOST_VERSIONS]:
        made = minute_of(one.created / 1e3)
        mark = " class='chosen'" if "champion" in one.aliases else ""
        answers = sum(given.minutes.get(one.number, {}).values())
        cells = (", ".join(one.aliases), one.verdict, made, one.run, f"{answers:,}")
        others = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f"<tr{mark}><th scope='row'>{escape(one.number)}</th>{others}</tr>")
    head = ("version", "alias", "verdict", "made", "run", "answers counted")
    left = len(given.versions) - MOST_VERSIONS
    more = f"<p class='key'>{left} older ones are not shown.</p>" if left > 0 else ""
    return f"{table(head, rows)}{more}<h3>Changes of production</h3>{_changes(given)}"


def _changes(given: Records) -> str:
    lines = list(given.audit)[::-1]
    if not lines:
        return nothing("nothing was promoted or rolled back by hand")
    rows = []
    for one in lines[:MOST_CHANGES]:
        cells = (f"{one.action} {one.subject}".strip(), one.version, one.replaces, one.who, one.why)
        others = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f"<tr><th scope='row'>{escape(_moment(one.at))}</th>{others}</tr>")
    broken = given.audit_broken
    chain = ""
    if broken is not None:
        chain = (f"<p class='fail'>Line {broken} of the audit does not follow from the one before: "
                 "it was changed by hand.</p>")  # fmt: skip
    left = len(lines) - MOST_CHANGES
    more = f"<p class='key'>{left} earlier ones are not shown.</p>" if left > 0 else ""
    head = ("when", "what", "version", "in place of", "by", "why")
    return chain + table(head, rows) + more


def journal_page(given: Records) -> str:
    """What is on record."""
    if given.files is None:
        why = escape(_without_password(given.unread))
        return f"<p class='fail'>The journal cannot be read: {why}</p>"
    if not given.files:
        return nothing("the journal has no file of this model")
    found = given.files
    rows = sum(sum(minutes.values()) for minutes in given.minutes.values())
    drops = [name for name in given.series if "drop" in name.lower()]
    dropped = [f"{given.series[name][-1].value:,.0f}" for name in drops if given.series[name]]
    missing = "not known here: modelwright_journal_dropped_total of the server's metrics"
    lines = [
        ("place", _without_password(given.subject.journal)),
        ("answers counted", f"{rows:,}"),
        ("files", f"{len(found):,}"),
        ("size", show("size", float(sum(file.size for file in found)))),
        ("oldest answer", minute_of(min(file.begin for file in found))),
        ("newest answer", minute_of(max(file.end for file in found))),
        ("kept for", f"{given.subject.journaling.keep / 86_400:g} days, at most "
                     f"{show('size', float(given.subject.journaling.most))}"),
        ("share recorded", f"{given.subject.journaling.sample:.0%}"),
        ("dropped", ", ".join(dropped) or missing),
    ]  # fmt: skip
    return _pairs(lines)


def watcher_page(given: Records) -> str:
    """Each part: when it looked, and what it waits for; findings that no other part shows."""
    if not given.shown:
        return nothing("no look was taken; start modelwright watch")
    rows = []
    for name, one in sorted(given.shown.items()):
        sign, says = _state(one)
        rows.append(
            f"<tr><th scope='row'>{escape(name)}</th><td class='sign {sign}'>{says}</td>"
            f"<td>{minute_of(one.at)}</td><td>{escape(one.version)}</td>"
            f"<td>{escape(one.failed or one.waits)}</td></tr>"
        )
    body = table(("part", "state", "last look", "version", "waits for"), rows)
    drift = given.findings("drift")
    notes = f"<h3>Drift of the last window</h3>{findings_table(drift, given.names)}"
    return body + (notes if drift else "")


def _state(one: Shown) -> tuple[str, str]:
    if one.failed:
        return "fail", "&#10007; failed"
    if any(f.verdict == "fail" for f in one.findings):
        return "warning", "! found something"
    return ("info", "&middot; waits") if one.waits else ("pass", "&#10003; well")


def _pairs(lines: Sequence[tuple[str, str]]) -> str:
    rows = [f"<tr><th scope='row'>{a}</th><td>{escape(b)}</td></tr>" for a, b in lines]
    return table(("what", "value"), rows)


def _weight(finding: Finding) -> str:
    if finding.verdict == "pass":
        return "info" if finding.severity == "info" else "pass"
    return finding.severity if finding.severity != "error" else finding.verdict


def _sign(finding: Finding) -> str:
    if finding.severity == "info" and finding.verdict == "pass":
        return "&middot; note"
    if finding.severity == "warning" and finding.verdict != "pass":
        return "! warning"
    return SIGN[finding.verdict]


def _why(finding: Finding) -> str:
    return ". ".join(filter(None, (finding.why, finding.advice)))


def _moment(text: str) -> str:
    """ISO 8601 as people read it; any other text as it is."""
    try:
        return minute_of(unix(text))
    except ValueError:
        return text


def age_of(seconds: float) -> str:
    """How long ago.

    Example:
        >>> age_of(90), age_of(7200), age_of(3 * 86400)
        ('2 minutes', '2 hours', '3 days')
    """
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            many = round(dt.timedelta(seconds=seconds) / dt.timedelta(seconds=size))
            return f"{many} {name}{'s' if many > 1 else ''}"
    return "less than a minute"


def _without_password(text: str) -> str:
    """A text without the passwords of the addresses in it."""
    return re.sub(r"//[^/@\s]*@", "//", text)
