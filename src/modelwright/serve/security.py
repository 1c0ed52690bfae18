"""What keeps web pages away from a server on the same machine or network: Host and Origin.

A page of any site can make a browser ask 127.0.0.1, and with DNS rebinding read the answer under
a name of its own. So a request must name this server, and what changes or computes something must
not come from another site. See fetch.spec.whatwg.org (Origin), RFC 9110 (Host, 421).
"""

from __future__ import annotations

import ipaddress
import socket

from modelwright.serve.messages import ProtocolError

HOSTS_ENV = "MODELWRIGHT_ALLOWED_HOSTS"
_REMEMBERED = 256


class Hosts:
    """The names under which this server may be asked for.

    Loopback names, the address it is bound to, and those of MODELWRIGHT_ALLOWED_HOSTS: names with
    commas between, `.example.com` for all below it, `*` for any. Bound to every address of the
    machine, it also answers to any IP address and to the machine's own name: an address cannot be
    a rebound name.

    Args:
        bound: the address it listens on.
        allowed: the variable's content.

    Example:
        >>> hosts = Hosts("127.0.0.1", "model.example.com")
        >>> hosts.check("localhost:8000")
        >>> hosts.check("model.example.com")
        >>> hosts.check("evil.example.org")
        Traceback (most recent call last):
        ...
        modelwright.serve.messages.ProtocolError: This server is not 'evil.example.org'; ...
    """

    def __init__(self, bound: str, allowed: str = "") -> None:
        self._everywhere = bound in ("", "0.0.0.0", "::", "[::]")  # noqa: S104  compared, not bound
        given = [name.strip().lower() for name in allowed.split(",") if name.strip()]
        self._any = "*" in given
        self._below = tuple(name for name in given if name.startswith("."))
        self._given = frozenset(given)
        own = socket.gethostname().lower() if self._everywhere else bound.lower().strip("[]")
        self._names = self._given | {"localhost", own}
        self.fine: set[str] = set()

    def check(self, host: str) -> None:
        """Refuse a Host header that names another server; none at all is no browser's.

        Raises:
            ProtocolError: 421.
        """
        if host in self.fine or not host:
            return
        if not self._is_ours(name_of(host)):
            raise ProtocolError(
                421,
                f"This server is not {host[:80]!r}; a name it may be asked by is added with "
                f"{HOSTS_ENV}.",
            )
        if len(self.fine) < _REMEMBERED:
            self.fine.add(host)

    def check_origin(self, origin: str, host: str) -> None:
        """Refuse what a page of another site sends.

        Raises:
            ProtocolError: 403.
        """
        whence = origin.lower().partition("://")[2]
        if whence and (whence == host.lower() or self._is_given(name_of(whence))):
            return
        raise ProtocolError(403, "A page of another site may not send this.")

    def _is_ours(self, name: str) -> bool:
        if self._any or name in self._names or self._is_given(name):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._everywhere or address.is_loopback

    def _is_given(self, name: str) -> bool:
        return name in self._given or name.endswith(self._below)


def name_of(host: str) -> str:
    """The name in a Host header, without port, brackets and a last dot.

    Example:
        >>> name_of("[::1]:8000"), name_of("LocalHost:80"), name_of("a.b."), name_of("::1")
        ('::1', 'localhost', 'a.b', '::1')
    """
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    if colon and ":" not in name and port.isdigit():
        host = name
    return host.removesuffix(".")
