"""A line on the logger `modelwright.watch`."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from modelwright.core.records import Severity
from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.alerts import Alert

LOG = logging.getLogger("modelwright.watch")
_LEVELS: dict[Severity, int] = {
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class LogSender:
    """Writes the alert as JSON, in one line; an episode that is over is information."""

    def __init__(self, spec: AlertSpec, environment: Mapping[str, str]) -> None:
        del spec, environment  # it has no settings

    def send(self, alert: Alert) -> None:
        """Log it."""
        level = _LEVELS[alert.severity] if alert.what == "opened" else logging.INFO
        text = msgspec.json.encode(alert).decode()
        LOG.log(level, "alert %s", text, extra={"alert": msgspec.to_builtins(alert)})
