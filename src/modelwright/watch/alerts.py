"""What a person is told, and who tells it: one record, and one method for each place it goes to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

import msgspec

from modelwright.core.errors import UsageError
from modelwright.core.extend import resolve
from modelwright.core.records import Finding, Severity
from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.episodes import Event

_SENDERS = "modelwright.watch.senders"
SENDERS = {
    "log": f"{_SENDERS}.log:LogSender",
    "webhook": f"{_SENDERS}.webhook:WebhookSender",
    "slack": f"{_SENDERS}.slack:SlackSender",
    "email": f"{_SENDERS}.mail:MailSender",
    "alertmanager": f"{_SENDERS}.alertmanager:AlertmanagerSender",
    "apprise": f"{_SENDERS}.apprise_sender:AppriseSender",
}
"""Short name -> `package.module:Name`; yours stand in the spec in the long form."""
_RANK: dict[Severity, int] = {"info": 0, "warning": 1, "error": 2}


class Alert(msgspec.Struct, frozen=True):
    """One message: that an episode opened, or that it is over.

    Attributes:
        episode: its id; with `what` it is the key by which a receiver knows a repetition.
        version: that was served when it happened; may differ between the two messages.
        began: end of the first bad window; `at`: of the window that made this message.
        finding: what opened the episode.
        link: address of a report; empty for none.
    """

    episode: str
    what: Literal["opened", "resolved"]
    model: str
    version: str
    cause: str
    began: str
    at: str
    severity: Severity
    finding: Finding
    link: str = ""

    @classmethod
    def of(cls, event: Event, model: str, version: str, *, link: str = "") -> Alert:
        """The message about an event.

        Args:
            event: of `episodes.step`.
            model, version: what is watched.
            link: address of a report.
        """
        episode, finding = event.episode, event.episode.worst
        return cls(
            episode.id, event.what, model, version, event.cause, episode.began, event.at,
            finding.severity, finding, link,
        )  # fmt: skip

    @property
    def key(self) -> str:
        """Id of the episode with `opened` or `resolved`: the same for each repetition."""
        return f"{self.episode}/{self.what}"

    @property
    def title(self) -> str:
        """One line."""
        over = "over: " if self.what == "resolved" else ""
        about = f" of {self.finding.subject}" if self.finding.subject else ""
        return f"{self.model} {self.version}: {over}{self.cause}{about}"

    @property
    def lines(self) -> list[tuple[str, str]]:
        """(word, text) of everything that is known, for mail and chat."""
        found, asked = self.finding, f"{self.finding.check} {self.finding.subject}".strip()
        known = [
            ("severity", self.severity), ("found", asked), ("measured", found.measured),
            ("wanted", found.wanted), ("why", found.why), ("advice", found.advice),
            ("columns", ", ".join(found.columns)), ("began", self.began),
            ("over" if self.what == "resolved" else "opened", self.at), ("episode", self.episode),
            ("report", self.link),
        ]  # fmt: skip
        return [(word, text) for word, text in known if text]

    def reaches(self, least: Severity) -> bool:
        """Whether it is severe enough for who wants `least`."""
        return _RANK[self.severity] >= _RANK[least]


class Sender(Protocol):
    """The extension point: an object with one method.

    Its class is made by `Name(spec, environment)`: an `AlertSpec`, and the variables that hold
    secrets. An attribute `repeats`, in seconds, asks for an open episode to be sent again and
    again, for receivers that forget.

    Example:
        class Siren:
            def __init__(self, spec: AlertSpec, environment: Mapping[str, str]) -> None:
                self._port = spec.port

            def send(self, alert: Alert) -> None:
                ...
    """

    def send(self, alert: Alert) -> None:
        """Tell it, within a minute; the same one may come twice.

        Raises:
            SendError: it did not arrive; `retry` says whether to try again.
        """


class Target(msgspec.Struct, frozen=True):
    """A place that alerts go to, under its name in records."""

    name: str
    sender: Sender
    least: Severity = "info"


def targets_of(
    alerts: Iterable[AlertSpec], environment: Mapping[str, str] | None = None
) -> tuple[Target, ...]:
    """Make the senders of a spec.

    Args:
        alerts: `watch.alerts`.
        environment: where secrets are; default that of this process.

    Raises:
        UsageError: a variable is not set, or there is no such class.
        MissingExtra: apprise is not installed.
    """
    variables = os.environ if environment is None else environment
    return tuple(Target(alert.called, _sender(alert, variables), alert.least) for alert in alerts)


def secret(environment: Mapping[str, str], name: str, key: str) -> str:
    """What the variable holds that `key` of the spec names; one line end is taken off.

    Raises:
        UsageError: it is not set, empty, or has more than one line.
    """
    found = environment.get(name, "").strip("\r\n")
    if not found or "\n" in found or "\r" in found:
        state = "has several lines" if found else "is not set"
        raise UsageError(
            f"Environment variable {name} {state}.", hint=f"watch.alerts: {key} names it."
        )
    return found


def _sender(spec: AlertSpec, environment: Mapping[str, str]) -> Sender:
    made: Any = resolve(spec.to, SENDERS, kind="alert")
    try:
        sender: Sender = made(spec, environment)
    except TypeError as error:
        raise UsageError(
            f"Alert {spec.to!r} cannot be made: {error}.",
            hint="Its class takes an AlertSpec and the environment.",
        ) from error
    if not callable(getattr(sender, "send", None)):
        raise UsageError(f"Alert {spec.to!r} has no method send.", hint="It takes an Alert.")
    return sender
