"""Alertmanager's API v2."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.alerts import Alert
from modelwright.watch.senders.posting import bearer, post, url_of

REPEATS = 300.0
HOLDS = 86_400.0


class AlertmanagerSender:
    """POSTs the alert, and again every five minutes while the episode is open: Alertmanager keeps
    alerts in memory only. Each time it is told to hold on for a day, so that a watcher that is away
    for an hour resolves nothing.
    """

    repeats = REPEATS

    def __init__(self, spec: AlertSpec, environment: Mapping[str, str]) -> None:
        self._url = url_of(spec, environment).rstrip("/") + "/api/v2/alerts"
        self._headers = bearer(spec, environment)

    def send(self, alert: Alert) -> None:
        """POST it."""
        body = msgspec.json.encode([alert_of(alert, time.time())])
        post(self._url, body, self._headers)


def alert_of(alert: Alert, now: float) -> dict[str, Any]:
    """The alert in Alertmanager's terms.

    Labels are what it is known by, so they are the same when it opens and when it is over; the
    version, which may change in between, is an annotation.

    Args:
        alert: the alert.
        now: unix time.
    """
    ends = alert.at if alert.what == "resolved" else _text(now + HOLDS)
    shown = {"summary": alert.title, "version": alert.version, **dict(alert.lines)}
    found: dict[str, Any] = {
        "labels": {
            "alertname": "ModelwrightEpisode", "model": alert.model, "cause": alert.cause,
            "severity": alert.severity, "episode": alert.episode,
        },
        "annotations": shown,
        "startsAt": _moment(alert.began, now),
        "endsAt": _moment(ends, now),
    }  # fmt: skip
    if alert.link:
        found["generatorURL"] = alert.link
    return found


def _moment(text: str, now: float) -> str:
    """RFC 3339 of an ISO time; windows that are numbered in another way get the present."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return _text(now)
    return found.replace(tzinfo=found.tzinfo or UTC).isoformat()


def _text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()
