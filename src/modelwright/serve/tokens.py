"""Who may ask: named tokens with scopes and rates, and the gate before every door."""

from __future__ import annotations

import hashlib
import hmac
import mmap
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelwright.core.errors import UsageError
from modelwright.serve.messages import ProtocolError
from modelwright.serve.scopes import ANY, CALLS, Need, needs
from modelwright.serve.security import HOSTS_ENV, Hosts
from modelwright.serve.settings import Settings, Token

if TYPE_CHECKING:
    from modelwright.core.spec_serve import ServeSpec

EVERYTHING = "everything"
"""Name of the token in `serve.token_env`, which has every scope."""
FILE = "_FILE"
"""Behind the name of a variable: it holds the path of a file with the secret."""
BURST = 10.0
"""Seconds over which a rate is kept: so many seconds' worth of requests may come at once."""
_REMEMBERED = 512
_VISIBLE = re.compile(r"[!-~]+")
_BEARER = "bearer "


def tokens_from(spec: ServeSpec, environ: Mapping[str, str]) -> tuple[Token, ...]:
    """The tokens of a spec, with their secrets out of the environment.

    A variable holds a secret, or with `_FILE` behind its name the path of a file of secrets, one a
    line: as many as are valid at a time, such as an old and a new one.

    Args:
        spec: its `token_env` may be unset, and then there is no such token; the variables of
            `tokens` must be there.
        environ: such as `os.environ`.

    Raises:
        UsageError: a variable or file is missing, empty, or cannot be sent in a header; or two
            tokens have the same secret.
    """
    found = list(everything_from(spec.token_env, environ))
    for name, about in spec.tokens.items():
        found += _tokens(Token(name, "", frozenset(about.scopes), about.rate), about.env, environ)
    _check_unlike(found)
    return tuple(found)


def everything_from(variable: str, environ: Mapping[str, str]) -> tuple[Token, ...]:
    """The token with every scope, where its variable or that of its file is set.

    Raises:
        UsageError: see `tokens_from`.
    """
    if variable not in environ and variable + FILE not in environ:
        return ()
    return tuple(_tokens(Token(EVERYTHING, "", ANY), variable, environ))


def secret_in(variable: str, environ: Mapping[str, str]) -> str:
    """The secret, of several the first, in a variable or in its file; empty where neither is set.

    Raises:
        UsageError: see `tokens_from`.
    """
    if not (environ.get(variable) or environ.get(variable + FILE)):
        return ""
    return _tokens(Token("", "", ANY), variable, environ)[0].secret


def _tokens(about: Token, variable: str, environ: Mapping[str, str]) -> list[Token]:
    file = environ.get(variable + FILE, "")
    if file and variable in environ:
        raise UsageError(
            f"Both {variable} and {variable}{FILE} are set.", hint="Take one of them away."
        )
    if file:
        return _from_file(msgspec.structs.replace(about, file=file))
    secret = environ.get(variable, "")
    if not secret:
        what = "is empty" if variable in environ else "is not set"
        raise UsageError(
            f"The token in {variable} {what}.",
            hint=f"Set it, or {variable}{FILE} to a file that holds it, or take it out of "
            "serve.token_env or serve.tokens.",
        )
    return [msgspec.structs.replace(about, secret=_sane(secret, variable))]


def _from_file(about: Token) -> list[Token]:
    """A token for each line of its file."""
    try:
        text = Path(about.file).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(
            f"The tokens in {about.file} cannot be read: {os.strerror(error.errno or 0)}.",
            hint="One a line, in a file that the server may read.",
        ) from error
    lines = [line for line in text.split("\n") if line]
    if not lines:
        raise UsageError(f"No token is in {about.file}.", hint="One a line.")
    return [msgspec.structs.replace(about, secret=_sane(line, about.file)) for line in lines]


def _sane(secret: str, where: str) -> str:
    if not _VISIBLE.fullmatch(secret):
        raise UsageError(
            f"The token in {where} holds a blank, a line break or a letter that is not ASCII, "
            "so no request could send it.",
            hint="Such as a line break at the end of the file that it came from.",
        )
    return secret


def _check_unlike(tokens: Iterable[Token]) -> None:
    names: dict[str, str] = {}
    for token in tokens:
        other = names.setdefault(token.secret, token.name)
        if other != token.name:
            raise UsageError(
                f"The tokens {other!r} and {token.name!r} are the same.",
                hint="Give each its own, or give one of them both scopes.",
            )


class Gate:
    """Lets a request in, or says why not, before it is routed. One for HTTP and gRPC.

    Make it before the workers are forked: then a token's rate holds over all of them.

    Args:
        settings: its tokens and the address it is bound to.
        environ: for MODELWRIGHT_ALLOWED_HOSTS.

    Example:
        >>> gate = Gate(Settings(models=(), tokens=(Token("app", "s3cret", frozenset({"predict"})),
        ... )))
        >>> gate.admit("POST", "/predict", {"authorization": "Bearer s3cret"}, 0.0)
        'app'
        >>> gate.admit("GET", "/v2/health/live", {}, 0.0)
        ''
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        self._hosts = Hosts(settings.host, (environ or {}).get(HOSTS_ENV, ""))
        self._given = settings.tokens
        names = dict.fromkeys(token.name for token in self._given)
        self._places = {name: at for at, name in enumerate(names)}
        self._tokens = self._digested(self._given)
        self._known: dict[str, tuple[int, Token]] = {}
        self._needs: dict[str, dict[str, Need]] = {}
        # One float a token, shared with forked workers: when its allowance will be used up.
        self._until = memoryview(mmap.mmap(-1, 8 * max(1, len(self._places)))).cast("d")

    def renew(self) -> bool:
        """Read the files of tokens again, for requests from now on; whether there are any.

        Raises:
            UsageError: see `tokens_from`; then all tokens stay as they are.
        """
        files = {token.name: token for token in self._given if token.file}
        fresh = {name: _from_file(token) for name, token in files.items()}
        kept = [token for token in self._given if not token.file]
        found = (*kept, *(token for tokens in fresh.values() for token in tokens))
        _check_unlike(found)
        self._given, self._tokens, self._known = found, self._digested(found), {}
        return bool(files)

    def _digested(self, tokens: Iterable[Token]) -> tuple[tuple[bytes, int, Token], ...]:
        return tuple((_digest(token.secret), self._places[token.name], token) for token in tokens)

    def admit(self, method: str, path: str, headers: Mapping[str, str], now: float) -> str:
        """Check Host, Origin, token, scope and rate of an HTTP request.

        Args:
            method: in capitals.
            path: decoded once, without the query.
            headers: names in lower case.
            now: `time.perf_counter()`, which is the same clock in all processes.

        Returns:
            The token's name; empty where none is asked for.

        Raises:
            ProtocolError: 421 another host, 403 another site or no such scope, 401 no or a wrong
                token, 404 no such route, 405 no such method, 429 too often.
        """
        host = headers.get("host", "")
        if host not in self._hosts.fine:
            self._hosts.check(host)
        if method != "GET" and method != "HEAD" and "origin" in headers:
            self._hosts.check_origin(headers["origin"], host)
        if not self._tokens:
            return ""
        route = self._needs.get(path)
        if route is None:
            route = needs(path)
            if route and len(self._needs) < _REMEMBERED:
                self._needs[path] = route
        need = route.get(method)
        if need is not None and not need:
            return ""
        place, token = self._token(headers.get("authorization", ""))
        if not route:
            raise ProtocolError(404, "No such route: see /openapi.json.")
        if need is None:
            raise ProtocolError(405, f"{path[:80]} takes {', '.join(route)}.")
        return self._allowed(place, token, need, now)

    def admit_call(self, method: str, metadata: Mapping[str, str], now: float) -> str:
        """The same for a gRPC call; browsers cannot make one, so Host and Origin do not matter.

        Args:
            method: its full name, such as `/inference.GRPCInferenceService/ModelInfer`.
            metadata: names in lower case; the token is in `authorization`, as with HTTP.
            now: see `admit`.

        Raises:
            ProtocolError: 401, 403, 404 (of a method that is not there), 429.
        """
        if not self._tokens:
            return ""
        need = CALLS.get(method)
        if need is not None and not need:
            return ""
        place, token = self._token(metadata.get("authorization", ""))
        if need is None:
            raise ProtocolError(404, "No such method.")
        return self._allowed(place, token, need, now)

    def _token(self, header: str) -> tuple[int, Token]:
        """Only headers that were right are remembered, so wrong ones always take the same time."""
        found = self._known.get(header)
        if found is not None:
            return found
        digest = _digest(header[len(_BEARER) :].strip(" "))
        right = [
            (place, token)
            for wanted, place, token in self._tokens
            if hmac.compare_digest(digest, wanted)
        ]
        if header[: len(_BEARER)].lower() != _BEARER:
            raise ProtocolError(401, "Wanted the header 'Authorization: Bearer <token>'.")
        if not right:
            raise ProtocolError(401, "The token in 'Authorization' is none of this server's.")
        if len(self._known) < _REMEMBERED:
            self._known[header] = right[0]
        return right[0]

    def _allowed(self, place: int, token: Token, need: Need, now: float) -> str:
        if need.isdisjoint(token.scopes):
            wanted = " or ".join(sorted(need))
            raise ProtocolError(403, f"The token {token.name!r} has no scope {wanted}.")
        if token.rate is not None:
            # GCRA, a token bucket in one number. Two workers may write it at once; then one
            # request more is let in, which a lock would cost every request to prevent.
            until = max(now, self._until[place]) + 1.0 / token.rate
            over = until - now - max(BURST, 1.0 / token.rate)
            if over > 1e-9:
                raise ProtocolError(
                    429,
                    f"The token {token.name!r} may ask {token.rate:g} times a second.",
                    retry_after=over,
                )
            self._until[place] = until
        return token.name


def _digest(secret: str) -> bytes:
    """Digests have one length, so comparing them tells nothing about the secret's."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
