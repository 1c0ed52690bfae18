"""The `watch.alerts` part of modelwright.yaml: whom to tell, and from which severity on."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from modelwright.core.errors import did_you_mean
from modelwright.core.records import Severity
from modelwright.core.spec_data import Names, Strict

ALERT_KINDS = ("log", "webhook", "slack", "email", "alertmanager", "apprise")
_EVERYWHERE = {"to", "name", "least"}
_WANTED: dict[str, tuple[str, ...]] = {
    "log": (),
    "webhook": ("url or url_env",),
    "slack": ("url_env",),
    "email": ("host", "sender", "recipients"),
    "alertmanager": ("url or url_env",),
    "apprise": ("url_env",),
}
_ALLOWED: dict[str, tuple[str, ...]] = {
    "log": (),
    "webhook": ("url", "url_env", "secret_env", "token_env"),
    "slack": ("url_env",),
    "email": ("host", "port", "sender", "recipients", "encryption", "user_env", "password_env"),
    "alertmanager": ("url", "url_env", "token_env"),
    "apprise": ("url_env",),
}
_EXTENSION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ADDRESS = re.compile(r"[!-?A-~]+@[!-?A-~]+")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class AlertSpec(Strict):
    """One place that alerts are sent to. Secrets stand in environment variables only."""

    to: str = Field(
        description="log, webhook, slack, email, alertmanager, apprise, or 'package.module:Name' "
        "of your own."
    )
    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="What it is called in records; default: `to`. Wanted where two have one `to`.",
    )
    least: Severity = Field("info", description="Tell it from this severity on.")
    url: str | None = Field(
        None, description="http(s) address of a webhook, or of Alertmanager without /api/v2."
    )
    url_env: str | None = Field(
        None, description="Environment variable that holds the address, where it is a secret."
    )
    secret_env: str | None = Field(
        None, description="webhook: environment variable with the key that signs each message."
    )
    token_env: str | None = Field(
        None, description="Environment variable with a token, sent as `Authorization: Bearer`."
    )
    host: str | None = Field(None, min_length=1, description="email: the SMTP server.")
    port: int | None = Field(
        None, ge=1, le=65535, description="email: default 587, with `encryption: tls` 465."
    )
    sender: str | None = Field(None, description="email: the address that it comes from.")
    recipients: Names = Field([], description="email: addresses that it goes to.")
    encryption: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="email: certificates are checked; none sends in the clear."
    )
    user_env: str | None = Field(
        None, description="email: environment variable with the user's name."
    )
    password_env: str | None = Field(
        None, description="email: environment variable with the password."
    )

    @property
    def called(self) -> str:
        """Its name in records."""
        return self.name or self.to

    @field_validator("to")
    @classmethod
    def _kind_is_known(cls, to: str) -> str:
        if to not in ALERT_KINDS and not _EXTENSION.fullmatch(to):
            closest = did_you_mean(to, ALERT_KINDS) or f"known: {', '.join(ALERT_KINDS)}"
            raise ValueError(f"unknown {to!r}; {closest}, or 'package.module:Name'")
        return to

    @field_validator("url")
    @classmethod
    def _url_is_plain(cls, url: str | None) -> str | None:
        if url is not None:
            must_be_web(url)
            if urlsplit(url).username or urlsplit(url).password:
                raise ValueError("holds a password; name a variable in token_env in its place")
        return url

    @field_validator("url_env", "secret_env", "token_env", "user_env", "password_env")
    @classmethod
    def _variable_has_a_name(cls, name: str | None) -> str | None:
        if name is not None and not _VARIABLE.fullmatch(name):
            raise ValueError(
                "wanted the name of an environment variable, such as ALERT_KEY, not a secret itself"
            )
        return name

    @field_validator("recipients", "sender")
    @classmethod
    def _addresses_look_like_some(cls, given: str | list[str] | None) -> str | list[str] | None:
        for address in [given] if isinstance(given, str) else given or []:
            if not _ADDRESS.fullmatch(address):
                raise ValueError(f"wanted an address such as ops@example.com, found {address!r}")
        return given

    @model_validator(mode="after")
    def _has_what_its_kind_wants(self) -> AlertSpec:
        fields = type(self).model_fields  # a spec that was written whole names every key
        given = {
            name for name in self.model_fields_set - _EVERYWHERE
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        }  # fmt: skip
        if self.url and self.url_env:
            raise ValueError("give url or url_env, not both")
        for wanted in _WANTED.get(self.to, ()):
            if not given & set(wanted.split(" or ")):
                secret = "url" in given and wanted == "url_env"
                why = ": this address is a secret, so it stands in a variable" if secret else ""
                raise ValueError(f"{self.to} needs {wanted}{why}")
        allowed = _ALLOWED.get(self.to)
        if allowed is not None and (odd := sorted(given - set(allowed))):
            known = f"it knows {', '.join(allowed)}" if allowed else "it has no settings"
            raise ValueError(f"{self.to} has no use for {', '.join(odd)}; {known}")
        if (self.user_env is None) != (self.password_env is None):
            raise ValueError("give user_env and password_env, or neither")
        if self.password_env and self.encryption == "none" and self.host not in _LOOPBACK:
            raise ValueError("a password is not sent in the clear; use encryption: starttls or tls")
        return self


def must_be_web(url: str) -> None:
    """Refuse what is no address of http or https; the message does not repeat it.

    Raises:
        ValueError: it is none.

    Example:
        >>> must_be_web("https://hooks.example.com/x")
    """
    parts = urlsplit(url)  # refuses some by itself
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("wanted an address that begins with http:// or https://")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("wanted an address without blanks, in ASCII")


def each_has_a_name(alerts: list[AlertSpec]) -> list[AlertSpec]:
    """Return `alerts` when no two are called the same; a validator for the list.

    Raises:
        ValueError: two have one name.

    Example:
        >>> each_has_a_name([AlertSpec(to="log"), AlertSpec(to="log")])
        Traceback (most recent call last):
        ValueError: two are called 'log'; give each a name of its own
    """
    seen: set[str] = set()
    for alert in alerts:
        if alert.called in seen:
            raise ValueError(f"two are called {alert.called!r}; give each a name of its own")
        seen.add(alert.called)
    return alerts
