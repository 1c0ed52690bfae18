"""The blocks and tables of docs/alerts.md hold."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from modelwright.core.spec_alerts import ALERT_KINDS, AlertSpec, each_has_a_name
from modelwright.watch.alerts import Alert
from modelwright.watch.rules import rule_file
from modelwright.watch.senders.webhook import WebhookSender
from serve.made import LIMITS
from test_docs import blocks
from watch.peers import alert, peer

PAGE = "docs/alerts.md"
OTHERS: dict[str, Any] = {
    "url": "http://127.0.0.1", "port": 25, "sender": "a@example.com",
    "recipients": ["a@example.com"], "encryption": "tls",
}  # fmt: skip
"""Settings that take no name -> one that is not the default."""
TEXT = (Path(__file__).resolve().parents[1] / PAGE).read_text(encoding="utf-8")


def test_the_spec_is_right_and_the_table_is_whole() -> None:
    [text] = blocks(PAGE, 'yaml title="modelwright.yaml"')
    given = YAML(typ="safe").load(text)["watch"]["alerts"]
    specs = each_has_a_name([AlertSpec(**one) for one in given])
    assert [one.to for one in specs] == list(ALERT_KINDS)
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", TEXT, flags=re.M))
    for one in given:
        named = set(re.findall(r"`(\w+)`", rows[one["to"]]))
        assert set(one) - {"to", "least"} <= named
        for setting in set(AlertSpec.model_fields) - named - {"to", "least", "name"}:
            with pytest.raises(ValueError, match=f"no use for .*{setting}|not both"):
                AlertSpec(**{**one, setting: OTHERS.get(setting, "A_NAME")})


def test_the_message_is_one() -> None:
    [text] = blocks(PAGE, 'json title="message"')
    with peer() as other:
        WebhookSender(AlertSpec(to="webhook", url=other.url), {}).send(alert())
    sent: dict[str, Any] = json.loads(other.got[0].body)
    shown = json.loads(text)
    assert list(shown) == list(sent) and list(shown["finding"]) == list(sent["finding"])
    assert shown["id"] == sent["id"]


def test_a_receiver_knows_ours() -> None:
    [code] = blocks(PAGE, 'python title="receiver"')
    space: dict[str, Any] = {}
    exec(code, space)  # the page's own
    with peer() as other:
        spec = AlertSpec(to="webhook", url=other.url, secret_env="KEY")
        WebhookSender(spec, {"KEY": "k"}).send(alert())
    [got] = other.got
    headers = {"-".join(p.capitalize() for p in n.split("-")): v for n, v in got.headers.items()}
    is_ours = space["is_ours"]
    assert is_ours(b"k", headers, got.body)
    assert not is_ours(b"other", headers, got.body)
    assert not is_ours(b"k", headers, got.body + b" ")
    assert not is_ours(
        b"k", headers | {"X-Modelwright-Timestamp": str(int(time.time()) - 9)}, got.body
    )


def test_ones_own_sender(capsys: pytest.CaptureFixture[str]) -> None:
    [code] = blocks(PAGE, 'python title="siren"')
    space: dict[str, Any] = {"__name__": "mine"}
    exec(code, space)  # the page's own
    space["Siren"](AlertSpec(to="mine.alerts:Siren", port=7), {}).send(alert())
    assert alert().key in capsys.readouterr().out
    assert space["Alert"] is Alert


def test_the_table_of_rules_is_whole() -> None:
    found = YAML(typ="safe").load(rule_file("shop", LIMITS))["groups"]
    made = [
        (rule["alert"], rule["labels"]["severity"]) for group in found for rule in group["rules"]
    ]
    told, last = [], ""
    for name, severity in re.findall(
        r"^\| (?:`(Modelwright\w+)`)? ?\| .* \| (\w+) \|$", TEXT, re.M
    ):
        last = name or last
        told.append((last, severity))
    assert told == made
