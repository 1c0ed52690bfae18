"""Slack, and chats that take its messages, such as Mattermost and Rocket.Chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.alerts import Alert
from modelwright.watch.senders.posting import post, url_of

_MOST_TITLE, _MOST_TEXT = 150, 2900
"""Of a header 150 characters, of a section 3000: docs.slack.dev/reference/block-kit/blocks."""
_MARKS = {"info": "🔵", "warning": "🟠", "error": "🔴"}


class SlackSender:
    """POSTs a message to an incoming webhook."""

    def __init__(self, spec: AlertSpec, environment: Mapping[str, str]) -> None:
        self._url = url_of(spec, environment)

    def send(self, alert: Alert) -> None:
        """POST it."""
        post(self._url, msgspec.json.encode(message(alert)), {})


def message(alert: Alert) -> dict[str, Any]:
    """Blocks for who shows them, and `text` for notifications and for who does not."""
    mark = "🟢" if alert.what == "resolved" else _MARKS[alert.severity]
    title = f"{mark} {alert.title}"
    lines = [(word, text) for word, text in alert.lines if word != "report"]
    text = "\n".join(f"*{word}*: {_plain(text)}" for word, text in lines)
    if alert.link:
        text += f"\n<{_plain(alert.link).replace('|', '%7C')}|report>"
    return {
        "text": f"{_plain(title)}\n{text}"[:_MOST_TEXT],
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title[:_MOST_TITLE]}},
            {"type": "section", "text": {"type": "mrkdwn", "text": text[:_MOST_TEXT]}},
        ],
    }


def _plain(text: str) -> str:
    """Slack's three letters that are commands; so no column's name can mention a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
