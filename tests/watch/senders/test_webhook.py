"""The signature is what the receiver computes."""

from __future__ import annotations

import hashlib
import hmac
import time

import msgspec
import pytest

from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.alerts import Alert
from modelwright.watch.senders.webhook import WebhookSender
from watch.peers import alert, peer


@pytest.mark.parametrize("secret", ["", "key"])
def test_the_alert_arrives_signed(secret: str) -> None:
    with peer() as other:
        named = {"secret_env": "KEY", "token_env": "T"} if secret else {}
        spec = AlertSpec(to="webhook", url=f"{other.url}/hook", **named)
        WebhookSender(spec, {"KEY": secret, "T": "t0k3n"}).send(alert())
    [got] = other.got
    body = msgspec.json.decode(got.body)
    assert body.pop("id") == alert().key
    assert msgspec.convert(body, Alert) == alert()
    assert ("x-modelwright-signature" in got.headers) is bool(secret)
    if secret:
        moment = got.headers["x-modelwright-timestamp"]
        assert abs(int(moment) - time.time()) < 60
        signed = hmac.new(b"key", f"{moment}.".encode() + got.body, hashlib.sha256).hexdigest()
        assert got.headers["x-modelwright-signature"] == f"sha256={signed}"
        assert got.headers["authorization"] == "Bearer t0k3n"
