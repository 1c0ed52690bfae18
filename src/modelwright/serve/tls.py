"""TLS by two PEM files, read again on SIGHUP."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

from modelwright.core.errors import UsageError
from modelwright.serve.settings import Settings

SOON = dt.timedelta(days=14)
_SEQUENCE, _CONTEXT, _UTC, _GENERAL = 0x30, 0xA0, 0x17, 0x18
_FORMATS = {_UTC: "%y%m%d%H%M%SZ", _GENERAL: "%Y%m%d%H%M%SZ"}


class Tls:
    """A certificate with its key, and the context that connections are made with.

    Make it before privileges are dropped and workers forked; each worker calls `reload` on SIGHUP.

    Args:
        certificate: PEM file with the chain, the server's own certificate first.
        key: PEM file with the private key, not encrypted.
        protocol: what is spoken, by its ALPN name: http/1.1, or h2 for gRPC.

    Raises:
        UsageError: a file is absent, unreadable or no PEM, or the two do not belong together.

    Attributes:
        context: for `loop.create_server(ssl=...)`; TLS 1.2 and 1.3.
        warnings: what is wrong and yet no reason not to serve: expired, or nearly.
    """

    def __init__(self, certificate: str, key: str, *, protocol: str = "http/1.1") -> None:
        self._certificate, self._key, self._protocol = certificate, key, protocol
        self.context = _empty_context(protocol)
        self.warnings: tuple[str, ...] = ()
        self._load(self.context)

    def reload(self) -> None:
        """Read both files again; open connections keep the certificate that they began with.

        Raises:
            UsageError: see `Tls`; then the certificate before stays in use.
        """
        self._load(
            _empty_context(self._protocol)
        )  # a pair that does not fit must not reach the one in use
        self._load(self.context)

    def _load(self, context: ssl.SSLContext) -> None:
        chain = _read(self._certificate)
        _read(self._key)
        try:
            context.load_cert_chain(self._certificate, self._key, password=_refuse_password)
        except _EncryptedKeyError as error:
            raise UsageError(
                f"The key {self._key} is encrypted, and nobody is there to type its password.",
                hint="Write it without: openssl pkey -in KEY -out PLAIN",
            ) from error
        except ssl.SSLError as error:
            raise UsageError(
                f"Cannot use {self._certificate} with the key {self._key}: {_why(error)}",
                hint="Wanted PEM: the certificate with its chain, and the private key of the first "
                "certificate in it.",
            ) from error
        self.warnings = tuple(_of_age(self._certificate, chain))


def tls_from(settings: Settings) -> Tls | None:
    """TLS as the settings ask for it; None without a certificate.

    Raises:
        UsageError: see `Tls`, or one file without the other.
    """
    if settings.certificate is None and settings.key_file is None:
        return None
    if settings.certificate is None or settings.key_file is None:
        raise UsageError("TLS needs both serve.tls.certificate and serve.tls.key.")
    return Tls(settings.certificate, settings.key_file)


def validity(certificate: bytes) -> tuple[dt.datetime, dt.datetime]:
    """From when until when a certificate is valid.

    Args:
        certificate: DER, see RFC 5280 section 4.1.

    Raises:
        ValueError: it is no certificate.
    """
    try:
        body = next(_elements(next(_elements(certificate))[1]))[1]
        parts = [part for part in _elements(body) if part[0] != _CONTEXT]  # without the version
        start, end = (_moment(*part) for part in _elements(parts[3][1]))
    except (StopIteration, IndexError, KeyError) as error:
        raise ValueError("not a certificate") from error
    return start, end


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, content) of each DER element."""
    place = 0
    while place < len(data):
        tag, length = data[place], data[place + 1]
        place += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[place : place + size], "big")
            place += size
        yield tag, data[place : place + length]
        place += length


def _moment(tag: int, text: bytes) -> dt.datetime:
    found = dt.datetime.strptime(text.decode("ascii"), _FORMATS[tag])
    return found.replace(tzinfo=dt.UTC)


def _of_age(name: str, chain: bytes) -> Iterator[str]:
    first = chain.decode("ascii", "replace").partition("-----END CERTIFICATE-----")
    pem = first[0][first[0].find("-----BEGIN") :] + first[1]
    try:
        start, end = validity(ssl.PEM_cert_to_DER_cert(pem))
    except ValueError:
        yield f"The dates of the certificate {name} cannot be read."
        return
    now = dt.datetime.now(dt.UTC)
    if now > end:
        yield f"The certificate {name} expired on {end:%Y-%m-%d}: clients will refuse it."
    elif now < start:
        yield f"The certificate {name} is not valid before {start:%Y-%m-%d}."
    elif end - now < SOON:
        yield f"The certificate {name} expires on {end:%Y-%m-%d}; renew it and send SIGHUP."


def _empty_context(protocol: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([protocol])
    return context


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(
            f"Cannot read {name}: {os.strerror(error.errno or 0)}.",
            hint="See serve.tls.certificate and serve.tls.key.",
        ) from error


class _EncryptedKeyError(Exception):
    """Raised out of OpenSSL's question for a password."""


def _refuse_password() -> str:
    raise _EncryptedKeyError


def _why(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key belongs to another certificate."
    if error.reason in ("NO_START_LINE", "PEM lib", None):
        return "one of them is not PEM."
    return f"{str(error.reason).lower().replace('_', ' ')}."
