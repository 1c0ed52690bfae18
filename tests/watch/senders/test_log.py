"""The line is JSON, and its level is the severity."""

from __future__ import annotations

import logging

import msgspec
import pytest

from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.alerts import Alert
from modelwright.watch.senders.log import LogSender
from watch.peers import alert


def test_a_line(caplog: pytest.LogCaptureFixture) -> None:
    sender = LogSender(AlertSpec(to="log"), {})
    with caplog.at_level(logging.INFO, "modelwright.watch"):
        for one in (alert(), alert(severity="warning"), alert("resolved")):
            sender.send(one)
    assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING", "INFO"]
    text = caplog.records[0].getMessage()
    assert "\n" not in text
    assert msgspec.json.decode(text.removeprefix("alert "), type=Alert) == alert()
