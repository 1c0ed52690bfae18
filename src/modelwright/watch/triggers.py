"""Whether to train a model anew: pure, from what is known of it and what was done lately.

A cause that goes on is no reason to train again on what was trained on before: after a retraining
it asks again only once there are new labels or another champion. A schedule and a number of new
labels begin anew by themselves. Switch it off by `on: []`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from modelwright.core.records import Finding, Verdict
from modelwright.core.spec_retrain import RetrainSpec

DAY = 86_400.0
QUALITY, SCORE_DRIFT = "quality", "score drift"
"""Causes of episodes that may ask for a retraining."""


class Past(msgspec.Struct, frozen=True):
    """A retraining that was begun: when (Unix time), and who was champion then."""

    at: float
    champion: str
    run: str = ""
    why: str = ""


class Facts(msgspec.Struct, frozen=True):
    """What is known of a model now.

    `champion`: its version; `trained`: Unix time at which it was trained. `episodes`: cause ->
    since when it is open, for those that are. `broken`: limits that are broken live. `labels`: how
    many came since the last retraining began, or since the champion was trained where there was
    none. `past`: see `retraining.past_retrainings`.
    """

    now: float
    champion: str
    trained: float
    episodes: Mapping[str, str] = {}
    broken: tuple[str, ...] = ()
    labels: int = 0
    past: tuple[Past, ...] = ()

    @property
    def last(self) -> Past | None:
        """The newest retraining."""
        return max(self.past, key=lambda past: past.at, default=None)

    @property
    def has_news(self) -> bool:
        """Whether something happened since the last retraining that could make another model."""
        return self.last is None or self.labels > 0 or self.champion != self.last.champion


class Plan(msgspec.Struct, frozen=True):
    """What to do now.

    `retrain`: whether to, now. `causes`: triggers that ask for it; `why` in a sentence; `stopped`:
    why it is not done although they do. One finding a trigger.
    """

    retrain: bool
    why: str = ""
    causes: tuple[str, ...] = ()
    data: str = "journal"
    stopped: str = ""
    findings: tuple[Finding, ...] = ()


def plan(facts: Facts, spec: RetrainSpec) -> Plan:
    """Whether to train anew, why, and what stops it.

    Args:
        facts: of one model.
        spec: `watch.retrain`.

    Example:
        >>> facts = Facts(1e9, "3", 0.0, {"quality": "2001-09-08"}, labels=400)
        >>> plan(facts, RetrainSpec()).why
        'quality: episode open since 2001-09-08'
        >>> plan(msgspec.structs.replace(facts, past=(Past(1e9 - 60, "2"),)), RetrainSpec()).stopped
        'at most 1 in 24 hours, and 1 was begun in the last 24'
    """
    asking = {trigger: reason for trigger in spec.on if (reason := _reason(trigger, facts, spec))}
    fresh = {t: r for t, r in asking.items() if facts.has_news or t in ("schedule", "labels")}
    lately = sum(past.at > facts.now - DAY for past in facts.past)
    stopped = ""
    if asking and not fresh:
        stopped = "no new labels and the same champion since the last retraining"
    elif asking and lately >= spec.most_a_day:
        begun = "was" if lately == 1 else "were"
        stopped = (
            f"at most {spec.most_a_day} in 24 hours, and {lately} {begun} begun in the last 24"
        )
    reasons = fresh or asking
    return Plan(
        retrain=bool(fresh) and not stopped,
        why="; ".join(f"{trigger}: {reason}" for trigger, reason in reasons.items()),
        causes=tuple(reasons),
        data=spec.data,
        stopped=stopped,
        findings=tuple(_finding(t, asking.get(t, ""), facts, spec, stopped) for t in spec.on),
    )


def _reason(trigger: str, facts: Facts, spec: RetrainSpec) -> str:
    """Why a trigger asks, or nothing."""
    if trigger in (QUALITY, SCORE_DRIFT):
        began = facts.episodes.get(trigger)
        return "" if began is None else f"episode open since {began}"
    if trigger == "limit":
        return f"broken: {', '.join(facts.broken)}" if facts.broken else ""
    since = _since(trigger, facts)
    if trigger == "age" and spec.age is not None and since >= spec.age:
        return f"the champion is {_days(since)} old"
    if trigger == "schedule" and spec.every is not None and since >= spec.every:
        return f"{_days(since)} since the last"
    if trigger == "labels" and spec.labels is not None and facts.labels >= spec.labels:
        return f"{facts.labels:,} are new"
    return ""


def _since(trigger: str, facts: Facts) -> float:
    """Seconds since the champion was trained; for a schedule since the last retraining too."""
    began = facts.trained
    if trigger == "schedule" and facts.last is not None:
        began = max(began, facts.last.at)
    return facts.now - began


def _finding(trigger: str, reason: str, facts: Facts, spec: RetrainSpec, stopped: str) -> Finding:
    found = {
        "age": f"the champion is {_days(_since(trigger, facts))} old",
        "schedule": f"{_days(_since(trigger, facts))} since the last",
        "labels": f"{facts.labels:,} new labels",
        "limit": "none is broken",
    }
    wanted = {
        "age": f"at most {_days(spec.age or 0)}",
        "schedule": f"one each {_days(spec.every or 0)}",
        "labels": f"below {spec.labels or 0:,}",
        "limit": "none is broken",
    }
    verdict: Verdict = "fail" if reason else "pass"
    advice = stopped or "modelwright retrain"
    return Finding(
        "retrain", trigger, verdict, reason or found.get(trigger, "no open episode"),
        wanted.get(trigger, "no open episode"), "watch.retrain.on", advice if reason else "",
        "warning",
    )  # fmt: skip


def _days(seconds: float) -> str:
    """A time as people say it.

    Example:
        >>> _days(90_000), _days(7200)
        ('1.0 days', '2.0 hours')
    """
    return f"{seconds / DAY:,.1f} days" if seconds >= DAY else f"{seconds / 3600:,.1f} hours"
