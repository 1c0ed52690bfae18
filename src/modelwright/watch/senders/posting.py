"""POST of a few bytes: within a deadline, never redirected, errors sorted into later and never."""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from modelwright.core.errors import SendError, UsageError
from modelwright.core.spec_alerts import AlertSpec, must_be_web
from modelwright.core.version import __version__
from modelwright.watch.alerts import secret

WAIT_SECONDS = 10.0
"""How long one step, such as connecting, may take."""
DEADLINE_SECONDS = 30.0
"""How long all of it may take; far below the outbox's lease."""
_LATER = {408, 425, 429}
_MOST_SHOWN = 200
_MOST_AFTER = 3600.0


def url_of(spec: AlertSpec, environment: Mapping[str, str]) -> str:
    """The address in the spec, or in the variable that it names.

    Raises:
        UsageError: the variable is not set, or holds no address of http or https.
    """
    if spec.url is not None:
        return spec.url
    if spec.url_env is None:
        raise UsageError(f"Alert {spec.called!r} has no address.", hint="Give url or url_env.")
    url = secret(environment, spec.url_env, "url_env")
    try:
        must_be_web(url)
    except ValueError as error:
        raise UsageError(
            f"Environment variable {spec.url_env} holds no address:", hint=f"{error}."
        ) from None
    return url


def bearer(spec: AlertSpec, environment: Mapping[str, str]) -> dict[str, str]:
    """The header with the token, where the spec names one."""
    if spec.token_env is None:
        return {}
    token = secret(environment, spec.token_env, "token_env")
    if not token.isascii() or not token.isprintable():
        raise UsageError(
            f"Environment variable {spec.token_env} holds no token.", hint="Wanted visible ASCII."
        )
    return {"Authorization": f"Bearer {token}"}


def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Send JSON. Proxies of the environment (`https_proxy`, `no_proxy`) are used.

    Raises:
        SendError: no answer of 200 to 299. 5xx, 408, 425, 429, time-outs and broken connections
            may be tried again; every other answer, a redirection too, is final.
    """
    known = {"Content-Type": "application/json", "User-Agent": f"modelwright/{__version__}"}
    request = urllib.request.Request(url, body, {**known, **headers}, method="POST")  # noqa: S310 - url_of
    host = urlsplit(url).netloc.rpartition("@")[2]
    opened: list[http.client.HTTPConnection] = []
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(), _Http(opened), _Https(opened),
        urllib.request.HTTPErrorProcessor(), urllib.request.HTTPDefaultErrorHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    try:
        with ended_by(lambda: [one.sock for one in opened], DEADLINE_SECONDS):
            opener.open(request, timeout=WAIT_SECONDS).close()
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(host, error, urlsplit(url).path) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        shown = str(reason) or type(reason).__name__
        raise SendError(f"{host} did not answer: {shown}", retry=True) from None


@contextmanager
def ended_by(sockets: Callable[[], list[Any]], seconds: float) -> Iterator[None]:
    """Shut sockets down that are still in use after so long: a time-out of each step alone does
    not end an exchange in which a byte comes every few seconds."""

    def end() -> None:
        for one in sockets():
            if one is not None:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # it ended by itself

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Http(urllib.request.HTTPHandler):
    """Keeps its connections at hand."""

    def __init__(self, opened: list[http.client.HTTPConnection]) -> None:
        super().__init__()
        self._opened = opened

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        def made(host: str, **given: Any) -> http.client.HTTPConnection:
            self._opened.append(http.client.HTTPConnection(host, **given))
            return self._opened[-1]

        return self.do_open(made, req)


class _Https(urllib.request.HTTPSHandler):
    """The same with TLS, certificates checked."""

    def __init__(self, opened: list[http.client.HTTPConnection]) -> None:
        super().__init__()
        self._opened = opened

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        def made(host: str, **given: Any) -> http.client.HTTPConnection:
            self._opened.append(http.client.HTTPSConnection(host, **given))
            return self._opened[-1]

        return self.do_open(made, req)


def _refused(host: str, error: urllib.error.HTTPError, path: str) -> SendError:
    try:
        shown = error.read1(_MOST_SHOWN).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException, AttributeError):
        shown = ""
    if len(path) > 1:
        shown = shown.replace(path, "...")  # of chats it is the secret
    shown = " ".join("".join(c if c.isprintable() else " " for c in shown).split())
    retry = error.code >= 500 or error.code in _LATER
    after = error.headers.get("Retry-After", "") if error.headers else ""
    seconds = min(float(after), _MOST_AFTER) if after.isascii() and after.isdigit() else 0.0
    moved = " (redirections are not followed)" if 300 <= error.code < 400 else ""
    text = f"{host} answered {error.code}{moved}{': ' if shown else ''}{shown}"
    return SendError(text, retry=retry, after=seconds)
