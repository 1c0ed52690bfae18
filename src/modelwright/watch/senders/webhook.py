"""JSON to any address, signed where the spec names a key."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping

import msgspec

from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.alerts import Alert, secret
from modelwright.watch.senders.posting import bearer, post, url_of


class WebhookSender:
    """POSTs the alert with its key as `id`.

    The signature is HMAC-SHA256 over `<timestamp>.<body>`. A receiver computes it anew, compares in
    constant time, and refuses timestamps that are older than some minutes.
    """

    def __init__(self, spec: AlertSpec, environment: Mapping[str, str]) -> None:
        self._url = url_of(spec, environment)
        self._headers = bearer(spec, environment)
        named = spec.secret_env
        self._secret = secret(environment, named, "secret_env").encode() if named else b""

    def send(self, alert: Alert) -> None:
        """POST it."""
        body = msgspec.json.encode({"id": alert.key, **msgspec.to_builtins(alert)})
        headers = dict(self._headers)
        if self._secret:
            moment = str(int(time.time()))
            headers["X-Modelwright-Timestamp"] = moment
            headers["X-Modelwright-Signature"] = signature(self._secret, moment, body)
        post(self._url, body, headers)


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """What stands in `X-Modelwright-Signature`.

    Example:
        >>> signature(b"key", "1795700000", b"{}")[:20]
        'sha256=c7e767de366fe'
    """
    signed = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={signed.hexdigest()}"
