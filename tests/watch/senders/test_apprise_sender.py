"""Through Apprise to a real server, by its scheme for JSON."""

from __future__ import annotations

import msgspec
import pytest

from modelwright.core.errors import SendError
from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.senders.apprise_sender import AppriseSender
from watch.peers import alert, peer


def test_it_arrives_or_is_tried_again() -> None:
    with peer(200, 200, 500) as other:
        place = other.url.replace("http", "json")
        sender = AppriseSender(AlertSpec(to="apprise", url_env="U"), {"U": f" {place}/a "})
        sender.send(alert())
        sender.send(alert("resolved"))
        with pytest.raises(SendError, match="its log says why") as error:
            sender.send(alert())
    assert error.value.retry
    bodies = [msgspec.json.decode(got.body) for got in other.got]
    assert [body["type"] for body in bodies] == ["failure", "success", "failure"]
    assert bodies[0]["title"] == "shop 3: drift of age"
    assert "measured: distance .31" in bodies[0]["message"]
