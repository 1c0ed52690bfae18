"""Some hundred services through Apprise: Teams, Discord, Telegram, PagerDuty, SMS and more."""

from __future__ import annotations

from collections.abc import Mapping

from modelwright.core.errors import MissingExtra, SendError, UsageError
from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.alerts import Alert, secret


class AppriseSender:
    """Hands the alert to Apprise; the variable that `url_env` names holds its address or several,
    with blanks between. Apprise tells only whether all of them took it.
    """

    def __init__(self, spec: AlertSpec, environment: Mapping[str, str]) -> None:
        try:
            import apprise
        except ImportError:
            raise MissingExtra("apprise", "apprise") from None
        named = spec.url_env
        if named is None:
            raise UsageError(f"Alert {spec.called!r} has no address.", hint="Give url_env.")
        self._services = apprise.Apprise()
        for url in secret(environment, named, "url_env").split():
            if not self._services.add(url):
                raise UsageError(
                    f"Environment variable {named} holds an address that Apprise does not know.",
                    hint="Try it with the command apprise; it begins with a scheme such as tgram://.",
                )

    def send(self, alert: Alert) -> None:
        """Hand it over."""
        kind = {"info": "info", "warning": "warning", "error": "failure"}[alert.severity]
        body = "\n".join(f"{word}: {text}" for word, text in alert.lines)
        taken = self._services.notify(
            body, title=alert.title, notify_type="success" if alert.what == "resolved" else kind
        )
        if not taken:
            raise SendError("Apprise could not deliver it; its log says why.", retry=True)
