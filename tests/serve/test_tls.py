"""Real certificates, a real handshake, and what is said of wrong files."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import signal
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

import modelwright as mw
from modelwright.core.errors import UsageError
from modelwright.serve.settings import Settings, Source, Token
from modelwright.serve.tls import Tls, tls_from, validity
from serve.running import Reply, Running, parsed, request, serving, until

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
PLAIN = NoEncryption()


def write_pair(
    folder: Path,
    name: str = "server",
    *,
    start: dt.datetime = NOW - DAY,
    end: dt.datetime = NOW + 90 * DAY,
    encryption: KeySerializationEncryption = PLAIN,
) -> tuple[str, str]:
    """A self-signed certificate for localhost; its two files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return str(files[0]), str(files[1])


def shown_by(tls: Tls, version: ssl.TLSVersion | None = None) -> tuple[str, str | None]:
    """Common name that a client is shown, and the protocol it settled on."""

    async def ask() -> tuple[str, str | None]:
        server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0, ssl=tls.context)
        port = server.sockets[0].getsockname()[1]
        try:
            return await asyncio.to_thread(handshake, port, version)
        finally:
            server.close()
            await server.wait_closed()

    return asyncio.run(ask())


def handshake(port: int, version: ssl.TLSVersion | None) -> tuple[str, str | None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    if version is not None:
        context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", port), 10) as raw, context.wrap_socket(raw) as made:
        certificate = x509.load_der_x509_certificate(made.getpeercert(binary_form=True) or b"")
        [name] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert made.selected_alpn_protocol() == "http/1.1"
        return str(name.value), made.version()


def test_a_handshake_and_a_new_certificate_on_reload(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    tls = Tls(certificate, key)
    assert shown_by(tls) == ("server", "TLSv1.3") and tls.warnings == ()
    assert shown_by(tls, ssl.TLSVersion.TLSv1_2)[1] == "TLSv1.2"
    new = write_pair(tmp_path, "newer")
    for old, path in zip((certificate, key), new, strict=True):
        Path(path).replace(old)
    tls.reload()
    assert shown_by(tls)[0] == "newer"


def test_old_protocols_are_refused(tmp_path: Path) -> None:
    tls = Tls(*write_pair(tmp_path))
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.warns(DeprecationWarning), pytest.raises(OSError):
        shown_by(tls, ssl.TLSVersion.TLSv1_1)


def test_a_wrong_pair_on_reload_leaves_the_one_before(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    tls = Tls(certificate, key)
    other = write_pair(tmp_path, "other")
    Path(other[0]).replace(certificate)
    with pytest.raises(UsageError, match="the key belongs to another certificate"):
        tls.reload()
    assert shown_by(tls)[0] == "server"
    Path(key).unlink()
    with pytest.raises(UsageError, match="No such file"):
        tls.reload()
    assert shown_by(tls)[0] == "server"


def test_wrong_files_are_named(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    locked = write_pair(tmp_path, "locked", encryption=BestAvailableEncryption(b"secret"))
    noise = tmp_path / "noise.pem"
    noise.write_text("hello")
    for pair, said in (
        ((str(tmp_path / "none.pem"), key), "none.pem: No such file"),
        ((certificate, str(tmp_path)), "Is a directory"),
        ((str(noise), key), "is not PEM"),
        ((certificate, str(noise)), "is not PEM"),
        ((key, certificate), "is not PEM"),
        (locked, "is encrypted"),
    ):
        with pytest.raises(UsageError, match=said):
            Tls(*pair)


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (NOW - 9 * DAY, NOW - DAY, "expired on"),
        (NOW - 9 * DAY, NOW + 3 * DAY, "renew it and send SIGHUP"),
        (NOW + DAY, NOW + 90 * DAY, "not valid before"),
        (NOW - DAY, dt.datetime(2099, 1, 2, tzinfo=dt.UTC), ""),
    ],
)
def test_dates_are_a_warning(
    tmp_path: Path, start: dt.datetime, end: dt.datetime, said: str
) -> None:
    certificate, key = write_pair(tmp_path, start=start, end=end)
    tls = Tls(certificate, key)
    assert said in " ".join(tls.warnings) and len(tls.warnings) == bool(said)
    der = ssl.PEM_cert_to_DER_cert(Path(certificate).read_text())
    assert validity(der) == (start, end)


def test_no_certificate_is_no_error_of_ours() -> None:
    for junk in (b"", b"0", b"0\x03\x30\x01\x00", b"\x30\x84\xff\xff\xff\xff", b"hello" * 9):
        with pytest.raises(ValueError):
            validity(junk)


def test_from_settings(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    assert tls_from(Settings(models=())) is None
    assert tls_from(Settings(models=(), certificate=certificate, key_file=key)) is not None
    with pytest.raises(UsageError, match="needs both"):
        tls_from(Settings(models=(), certificate=certificate))


def ask(on: socket.socket, secret: str) -> Reply:
    """The page of metrics, on a connection that is kept."""
    on.sendall(request("/metrics", method="GET", authorization=f"Bearer {secret}"))
    data = b""
    while b"\r\n\r\n" not in data:
        data += on.recv(65536)
    reply = parsed(data)
    while len(reply.body) < int(reply.headers["content-length"]):
        reply.body += on.recv(65536)
    return reply


def renewed(page: bytes, what: str, outcome: str) -> float:
    name = "modelwright_secret_reloads_total{"
    lines = [line for line in page.decode().splitlines() if line.startswith(name)]
    right = [line for line in lines if f'"{what}"' in line and f'"{outcome}"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in right)


def shown(running: Running) -> str:
    """Whose certificate a new connection sees."""
    with running.connected() as made:
        assert isinstance(made, ssl.SSLSocket)
        found = x509.load_der_x509_certificate(made.getpeercert(binary_form=True) or b"")
        return found.subject.rfc4514_string()


def answers(running: Running, secret: str) -> bool:
    with contextlib.suppress(OSError, AssertionError), running.connected() as new:
        return ask(new, secret).status == 200
    return False


def test_sighup_renews_tokens_and_certificates_and_drops_nobody(
    released: mw.Released, tmp_path: Path
) -> None:
    source = Source(name="shop", folder=str(released.run / "artefact"), tried=True)
    pair, place = write_pair(tmp_path), tmp_path / "token"
    place.write_text("first")
    token = Token("app", "first", frozenset({"predict"}), file=str(place))
    with (
        serving(tmp_path, source, tokens=(token,), certificate=pair[0], key_file=pair[1],
                workers=2) as running,
        running.connected() as kept,
    ):  # fmt: skip
        assert ask(kept, "first").status == 200 and shown(running) == "CN=server"

        def counted(outcome: str) -> bool:
            page = ask(kept, "second")
            both = [renewed(page.body, what, outcome) for what in ("tokens", "certificate")]
            return page.status == 200 and both == [2, 2]

        place.write_text("second")
        for old, new in zip(pair, write_pair(tmp_path, "newer"), strict=True):
            Path(new).replace(old)
        running.process.send_signal(signal.SIGHUP)
        until(lambda: counted("ok"))
        assert ask(kept, "first").status == 401
        assert all(shown(running) == "CN=newer" for _ in range(8))
        # a broken new file changes nothing, is told in the log, and counted
        place.write_text("no token at all")
        Path(pair[0]).write_text("no certificate")
        running.process.send_signal(signal.SIGHUP)
        until(lambda: counted("failed"))
        assert shown(running) == "CN=newer"
        workers = running.workers()  # those that are started now have what is in use
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        until(lambda: len(set(running.workers()) - set(workers)) == 2)
        until(lambda: answers(running, "second"))
        assert shown(running) == "CN=newer"
    said = running.errors.read_text()
    assert "the tokens of before stays in use" in said and "holds a blank" in said
    assert "the certificate of before stays in use" in said
