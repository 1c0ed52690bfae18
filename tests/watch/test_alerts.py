"""An alert is made of an event; senders are made of the spec and of what the environment holds."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from modelwright.core.errors import UsageError
from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.alerts import SENDERS, Alert, secret, targets_of
from watch.peers import alert

SPECS = {
    "log": AlertSpec(to="log"),
    "webhook": AlertSpec(to="webhook", url="http://x", secret_env="KEY", least="warning"),
    "slack": AlertSpec(to="slack", url_env="URL"),
    "email": AlertSpec(to="email", host="x", sender="a@b", recipients=["c@d"]),
    "alertmanager": AlertSpec(to="alertmanager", url="http://x", name="am"),
    "apprise": AlertSpec(to="apprise", url_env="APPRISE"),
}


class Siren:
    """Somebody's own."""

    def __init__(self, spec: AlertSpec, environment: Mapping[str, str]) -> None:
        self.port, self.heard = spec.port, list[str]()

    def send(self, alert: Alert) -> None:
        self.heard.append(alert.key)


class Mute:
    """Lacks its method."""

    def __init__(self, spec: AlertSpec, environment: Mapping[str, str]) -> None:
        """Nothing."""


class Odd:
    """Takes nothing."""


def test_of_an_event() -> None:
    opened, over = alert(), alert("resolved")
    assert opened.key == "shop/drift/2026-11-20T10:00:00+00:00/opened" != over.key
    assert opened.episode == over.episode and opened.severity == "error"
    assert opened.title == "shop 3: drift of age" and over.title == "shop 3: over: drift of age"
    assert dict(opened.lines)["advice"] == "Look at <age> & co."
    assert "over" in dict(over.lines) and "opened" not in dict(over.lines)
    assert all(text for _, text in alert(measured="", why="").lines)
    assert msgspec.json.decode(msgspec.json.encode(opened), type=Alert) == opened
    warning = alert(severity="warning")
    assert [warning.reaches(least) for least in ("info", "warning", "error")] == [True, True, False]


def test_every_kind_is_made_and_named() -> None:
    assert set(SPECS) == set(SENDERS)
    environment = {"KEY": "k", "URL": "https://localhost/x", "APPRISE": "json://localhost"}
    found = targets_of(SPECS.values(), environment)
    assert [one.name for one in found] == ["log", "webhook", "slack", "email", "am", "apprise"]
    assert [one.least for one in found][:2] == ["info", "warning"]


def test_ones_own_takes_the_same_road() -> None:
    [found] = targets_of([AlertSpec(to="watch.test_alerts:Siren", port=7)], {})
    found.sender.send(alert())
    assert vars(found.sender) == {"port": 7, "heard": [alert().key]}


@pytest.mark.parametrize(
    ("spec", "environment", "said"),
    [
        (SPECS["webhook"], {}, "KEY is not set. Watch.alerts: secret_env names it"),
        (SPECS["webhook"], {"KEY": ""}, "KEY is not set"),
        (SPECS["slack"], {"URL": "a\nb"}, "URL has several lines"),
        (SPECS["slack"], {"URL": "hooks.slack.com/s3cr3t"}, "URL holds no address"),
        (SPECS["slack"], {"URL": "https://hooks.slack.com/s3 cr3t"}, "without blanks"),
        (SPECS["apprise"], {"APPRISE": "nothing://s3cr3t"}, "Apprise does not know"),
        (AlertSpec(to="alertmanager", url="http://x", token_env="T"), {"T": "ü"}, "visible ASCII"),
        (AlertSpec(to="watch.test_alerts:Nobody"), {}, "has no 'Nobody'"),
        (AlertSpec(to="watch.nowhere:Siren"), {}, "Cannot import alert"),
        (AlertSpec(to="watch.test_alerts:Mute"), {}, "has no method send"),
        (AlertSpec(to="watch.test_alerts:Odd"), {}, "takes an AlertSpec and the environment"),
    ],
)
def test_what_is_missing_is_named_and_no_secret_is_shown(
    spec: AlertSpec, environment: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError) as error:
        targets_of([spec], environment)
    assert said in str(error.value) and "cr3t" not in str(error.value)


def test_a_line_end_of_a_secret_is_taken_off() -> None:
    assert secret({"K": " a b \n"}, "K", "secret_env") == " a b "
