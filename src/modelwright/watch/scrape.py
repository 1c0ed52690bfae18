"""What a server shows of itself: its page of metrics, fetched within a time and a size, and read.

Format: Prometheus text 0.0.4, prometheus.io/docs/instrumenting/exposition_formats.
"""

from __future__ import annotations

import http.client
import re
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from modelwright.core.errors import ScrapeError, UsageError
from modelwright.core.spec import Spec
from modelwright.core.spec_serve import ServeSpec
from modelwright.serve.tokens import secret_in

STEP_SECONDS = 5.0
"""How long one step, such as connecting, may take."""
DEADLINE_SECONDS = 15.0
"""How long the whole page may take."""
MOST_BYTES = 32 * 2**20
_PART = 65_536
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  replaced
_HINTS = {
    401: "set the variable of serve.token_env or serve.tokens where the watcher runs",
    403: "its token was refused; it needs any of the scopes",
    404: "is it the port of the server, or of something else?",
    421: "the server does not go by that name; see MODELWRIGHT_ALLOWED_HOSTS",
}

Labels = tuple[tuple[str, str], ...]
"""Pairs of name and value, in order of the names."""


class Samples(msgspec.Struct, frozen=True):
    """A page: metric -> labels -> value. Histograms are `_bucket`, `_count` and `_sum`.

    Example:
        >>> page = parse('requests_total{code="200",door="infer"} 3\\n')
        >>> page.total("requests_total", code="200")
        3.0
    """

    series: dict[str, dict[Labels, float]]

    def of(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of every series with these labels."""
        wanted = labels.items()
        found = ((dict(pairs), value) for pairs, value in self.series.get(name, {}).items())
        return [(own, value) for own, value in found if wanted <= own.items()]

    def total(self, name: str, **labels: str) -> float:
        """Their sum; 0 where there is none."""
        return sum(value for _, value in self.of(name, **labels))

    def largest(self, name: str, **labels: str) -> float | None:
        """The largest of them; None where there is none."""
        return max((value for _, value in self.of(name, **labels)), default=None)


class Server(msgspec.Struct, frozen=True):
    """Where to ask, and with what.

    Attributes:
        url: of the page.
        certificate: PEM file that is believed in the place of the system's authorities, whatever
            name it is for; empty for the usual checks.
        token: sent only where the server asks for one.
    """

    url: str
    certificate: str = ""
    token: str = ""


def servers(spec: Spec, folder: Path, environ: Mapping[str, str]) -> tuple[Server, ...]:
    """Every server of a model: those of `watch.server`, or the one that the spec describes.

    Args:
        spec: of the project.
        folder: that the path of a certificate is relative to.
        environ: holds the tokens.

    Raises:
        UsageError: the spec says "any free port", so that nobody knows where the server is.
    """
    token = _token(spec.serve, environ)
    if spec.watch.server:
        return tuple(Server(_page(address), token=token) for address in spec.watch.server)
    serve = spec.serve
    apart = serve.metrics_port is not None
    port = serve.metrics_port if serve.metrics_port is not None else serve.port
    if port == 0:
        raise UsageError(
            f"serve.{'metrics_port' if apart else 'port'} is 0, any free port, so the server is "
            "not found.",
            hint="Give watch.server, such as http://127.0.0.1:9090.",
        )
    host = _EVERYWHERE.get(serve.host, serve.host)
    host = f"[{host}]" if ":" in host else host
    if apart or serve.tls is None:  # the port of metrics is without TLS
        return (Server(f"http://{host}:{port}/metrics", token=token),)
    certificate = str(folder / serve.tls.certificate)
    return (Server(f"https://{host}:{port}/metrics", certificate, token),)


def scrape(server: Server) -> Samples:
    """Fetch its page. A token is sent only after the server has asked for one; nothing is sent on
    to where an answer points, and no proxy is used.

    Raises:
        ScrapeError: it cannot be reached in time, answers otherwise, or with something else.
    """
    end = time.monotonic() + DEADLINE_SECONDS
    status, body = _get(server, {}, end)
    if status == 401 and server.token:
        status, body = _get(server, {"Authorization": f"Bearer {server.token}"}, end)
    if status != 200:
        raise ScrapeError(f"{server.url} answers {status}.", hint=_HINTS.get(status, ""))
    try:
        return parse(body.decode())
    except ValueError as error:
        raise ScrapeError(
            f"{server.url} answers with something other than metrics: {error}.",
            hint="Is watch.server the address of a server of Modelwright?",
        ) from error


_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|\})', re.ASCII)
_ESCAPED = re.compile(r"\\(.)")


def parse(text: str) -> Samples:
    """Read a page.

    Raises:
        ValueError: a line is none of the format; says which.

    Example:
        >>> parse('# TYPE up gauge\\nup{host="a\\\\"b"} 1 1700000000000\\n').series
        {'up': {(('host', 'a"b'),): 1.0}}
    """
    series: dict[str, dict[Labels, float]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            name, labels, value = _sample(line)
        except ValueError:
            raise ValueError(f"line {number} is {line[:60]!r}") from None
        series.setdefault(name, {})[labels] = value
    return Samples(series)


def _sample(line: str) -> tuple[str, Labels, float]:
    found = _NAME.match(line)
    if found is None:
        raise ValueError
    name, at, labels = found.group(), found.end(), list[tuple[str, str]]()
    if line[at : at + 1] == "{":
        at += 1
        while True:
            if line[at : at + 1] == "}":
                at += 1
                break
            pair = _LABEL.match(line, at)
            if pair is None:
                raise ValueError
            labels.append((pair[1], _ESCAPED.sub(_unescaped, pair[2])))
            at = pair.end()
            if pair[3] == "}":
                break
    value, *stamp = line[at:].split()
    if len(stamp) > 1:
        raise ValueError
    return name, tuple(sorted(labels)), float(value)


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]


def _page(address: str) -> str:
    return address if urlsplit(address).path.strip("/") else f"{address.rstrip('/')}/metrics"


def _token(serve: ServeSpec, environ: Mapping[str, str]) -> str:
    """Any of them may read metrics; those with a scope first, since they may do less."""
    names = [*(about.env for about in serve.tokens.values()), serve.token_env]
    return next((found for name in names if (found := secret_in(name, environ))), "")


def _get(server: Server, headers: Mapping[str, str], end: float) -> tuple[int, bytes]:
    parts = urlsplit(server.url)
    assert parts.hostname is not None
    try:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=STEP_SECONDS)
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=STEP_SECONDS, context=_context(server)
            )
        try:
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers={"Accept": "text/plain", **headers})
            response = connection.getresponse()
            return response.status, _body(response, server.url, end)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ScrapeError(
            f"{server.url} cannot be read: {error or type(error).__name__}.",
            hint="Is the server running, and is watch.server its address?",
        ) from error


def _body(response: http.client.HTTPResponse, url: str, end: float) -> bytes:
    found = bytearray()
    while part := response.read1(_PART):
        found += part
        if len(found) > MOST_BYTES:
            raise ScrapeError(f"{url} answers with more than {MOST_BYTES // 2**20} MiB.")
        if time.monotonic() > end:
            raise ScrapeError(f"{url} takes longer than {DEADLINE_SECONDS:g} s.")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return bytes(found)


def _context(server: Server) -> ssl.SSLContext:
    if not server.certificate:
        return ssl.create_default_context()
    context = ssl.create_default_context(cafile=server.certificate)
    context.check_hostname = False  # it is the very certificate, asked for on this machine
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
