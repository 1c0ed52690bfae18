"""E-mail over SMTP, as plain text and HTML."""

from __future__ import annotations

import html
import smtplib
import socket
import ssl
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import localtime

from modelwright.core.errors import SendError, UsageError
from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.alerts import Alert, secret
from modelwright.watch.senders.posting import DEADLINE_SECONDS, WAIT_SECONDS, ended_by


class MailSender:
    """Sends one message to all recipients. Both messages of an episode are one thread."""

    def __init__(self, spec: AlertSpec, environment: Mapping[str, str]) -> None:
        if not spec.host or not spec.sender or not spec.recipients:
            raise UsageError(
                f"Alert {spec.called!r} lacks something.", hint="Give host, sender, recipients."
            )
        self._host, self._sender, self._recipients = spec.host, spec.sender, spec.recipients
        self._encryption = spec.encryption
        self._port = spec.port or (465 if spec.encryption == "tls" else 587)
        self._login = tuple(
            secret(environment, name, key)
            for name, key in ((spec.user_env, "user_env"), (spec.password_env, "password_env"))
            if name is not None
        )

    def send(self, alert: Alert) -> None:
        """Hand it to the server; who of several recipients was refused is in the error."""
        message = message_of(alert, self._sender, self._recipients)
        opened: list[smtplib.SMTP] = []
        try:
            with ended_by(lambda: [one.sock for one in opened], DEADLINE_SECONDS):
                self._hand_over(message, opened)
        except smtplib.SMTPRecipientsRefused as error:
            codes = {code for code, _ in error.recipients.values()}
            shown = ", ".join(sorted(error.recipients))
            raise SendError(
                f"{self._host} refused {shown}.", retry=any(code < 500 for code in codes)
            ) from None
        except smtplib.SMTPResponseException as error:
            text = error.smtp_error
            shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
            raise SendError(
                f"{self._host} answered {error.smtp_code}: {shown[:200]}",
                retry=not 500 <= error.smtp_code < 600,
            ) from None
        except smtplib.SMTPNotSupportedError as error:
            raise SendError(f"{self._host}: {error}", retry=False) from None
        except (OSError, smtplib.SMTPException) as error:  # TLS and time-outs among them
            raise SendError(f"{self._host} did not answer: {error}", retry=True) from None

    def _hand_over(self, message: EmailMessage, opened: list[smtplib.SMTP]) -> None:
        if self._encryption == "tls":
            context = ssl.create_default_context()
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=WAIT_SECONDS, context=context
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=WAIT_SECONDS)
        opened.append(server)
        with server:
            if self._encryption == "starttls":
                server.starttls(context=ssl.create_default_context())
            if self._login:
                server.login(*self._login)
            refused = server.send_message(message, self._sender, self._recipients)
        if refused:
            shown = ", ".join(sorted(refused))
            raise SendError(f"{self._host} refused {shown}; the others have it.", retry=False)


def message_of(alert: Alert, sender: str, recipients: list[str]) -> EmailMessage:
    """The message; a repetition has the same Message-ID, by which readers show it once.

    Args:
        alert: the alert.
        sender, recipients: addresses.
    """
    message = EmailMessage()
    domain = Address(addr_spec=sender).domain or socket.gethostname()
    message["Subject"] = f"[{alert.severity}] {alert.title}"
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = localtime()
    message["Message-ID"] = _id(alert.key, domain)
    if alert.what == "resolved":
        message["In-Reply-To"] = message["References"] = _id(f"{alert.episode}/opened", domain)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n".join([alert.title, "", *(f"{w}: {t}" for w, t in alert.lines)]) + "\n")
    rows = "".join(
        f"<tr><th align=left valign=top>{html.escape(word)}</th><td>{html.escape(text)}</td></tr>"
        for word, text in alert.lines
    )
    page = f"<h3>{html.escape(alert.title)}</h3><table cellpadding=4>{rows}</table>"
    message.add_alternative(page, subtype="html")
    return message


def _id(key: str, domain: str) -> str:
    return f"<{key.encode().hex()}@{domain}>"
