"""What a chat gets has blocks within Slack's sizes, and no column can call a channel."""

from __future__ import annotations

import msgspec

from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.senders.slack import SlackSender, message
from watch.peers import alert, peer


def test_the_message_arrives() -> None:
    with peer() as other:
        sender = SlackSender(AlertSpec(to="slack", url_env="U"), {"U": f"{other.url}/services/x"})
        sender.send(alert())
        sender.send(alert("resolved"))
    opened, over = (msgspec.json.decode(got.body) for got in other.got)
    assert other.got[0].path == "/services/x"
    head, body = (block["text"]["text"] for block in opened["blocks"])
    assert head == "🔴 shop 3: drift of age" and opened["text"].startswith(head)
    assert "*advice*: Look at &lt;age&gt; &amp; co." in body
    assert body.endswith("<https://reports.example.com/shop?a=1&amp;b=2|report>")
    assert over["blocks"][0]["text"]["text"] == "🟢 shop 3: over: drift of age"


def test_sizes_and_commands() -> None:
    found = message(alert(subject="<!channel>", why="x" * 9000))
    head, body = (block["text"]["text"] for block in found["blocks"])
    assert len(head) <= 150 and len(body) <= 3000 and len(found["text"]) <= 3000
    assert "<!channel>" not in body and "<!channel>" not in found["text"]
