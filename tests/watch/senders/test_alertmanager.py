"""What Alertmanager's API v2 takes (its openapi.yaml: postableAlerts)."""

from __future__ import annotations

import time
from datetime import datetime

import msgspec

from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.alerts import Alert
from modelwright.watch.senders.alertmanager import AlertmanagerSender, alert_of
from watch.peers import alert, peer


def test_opened_and_over_have_the_same_labels() -> None:
    with peer() as other:
        sender = AlertmanagerSender(AlertSpec(to="alertmanager", url=f"{other.url}/"), {})
        sender.send(alert())
        sender.send(msgspec.structs.replace(alert("resolved"), version="4"))
    assert {got.path for got in other.got} == {"/api/v2/alerts"}
    [opened], [over] = (msgspec.json.decode(got.body) for got in other.got)
    assert opened["labels"] == over["labels"]
    assert all(isinstance(v, str) and v for v in [*opened["labels"].values(),
                                                   *opened["annotations"].values()])  # fmt: skip
    assert opened["annotations"]["version"] == "3" and over["annotations"]["version"] == "4"
    begin, end = (datetime.fromisoformat(opened[name]) for name in ("startsAt", "endsAt"))
    assert begin == datetime.fromisoformat(alert().began)
    assert end.timestamp() > time.time() + 80_000
    assert over["startsAt"] == opened["startsAt"] and over["endsAt"] == alert("resolved").at
    assert opened["generatorURL"] == alert().link


def test_windows_that_are_not_times_begin_now() -> None:
    odd = Alert("e", "resolved", "shop", "3", "drift", "w1", "w2", "error", alert().finding)
    found = alert_of(odd, 0.0)
    assert found["startsAt"] == found["endsAt"] == "1970-01-01T00:00:00+00:00"
    assert "generatorURL" not in found
