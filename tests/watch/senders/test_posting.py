"""POST to real servers: what is tried again, what is not, and what is never shown."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modelwright.core.errors import SendError
from modelwright.watch.senders import posting
from modelwright.watch.senders.posting import post
from watch.peers import peer


def certificate(folder: Path) -> Path:
    """Key and certificate of localhost, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    found = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(7).not_valid_before(now - dt.timedelta(1))
        .not_valid_after(now + dt.timedelta(1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    place = folder / "tls.pem"
    place.write_bytes(private + found.public_bytes(serialization.Encoding.PEM))
    return place


def missed(url: str) -> SendError:
    with pytest.raises(SendError) as error:
        post(url, b"{}", {"Authorization": "Bearer s3cr3t"})
    assert "s3cr3t" not in str(error.value)
    return error.value


def test_what_comes() -> None:
    with peer(202) as other:
        post(f"{other.url}/a?b=c", b'{"a":1}', {"X-A": "1"})
    [got] = other.got
    assert (got.path, got.body) == ("/a?b=c", b'{"a":1}')
    assert got.headers["content-type"] == "application/json" and got.headers["x-a"] == "1"
    assert got.headers["user-agent"].startswith("modelwright/")


@pytest.mark.parametrize(
    ("code", "retry"),
    [(400, False), (401, False), (404, False), (410, False), (408, True), (429, True), (500, True),
     (503, True)],
)  # fmt: skip
def test_codes(code: int, retry: bool) -> None:
    with peer((code, {"Retry-After": "7"}, b"no such\nchannel: /hook/s3cr3t")) as other:
        error = missed(f"{other.url}/hook/s3cr3t")
    assert error.retry is retry and error.after == 7.0
    assert f"answered {code}: no such channel: ..." in str(error)


@pytest.mark.parametrize("after", ["soon", "Fri, 20 Nov 2026 10:00:00 GMT", "-1", "²"])
def test_other_words_for_later_are_passed_over(after: str) -> None:
    with peer((503, {"Retry-After": after}, b"")) as other:
        assert missed(other.url).after == 0.0


def test_a_redirection_is_not_followed() -> None:
    with peer() as elsewhere:
        with peer((307, {"Location": f"{elsewhere.url}/x"}, b"")) as other:
            error = missed(other.url)
        assert not elsewhere.got
    assert not error.retry and "redirections are not followed" in str(error)


def test_broken_connections_may_be_tried_again() -> None:
    with peer("hang up") as other:
        assert missed(other.url).retry
    assert missed(other.url).retry  # it is gone by now
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        threading.Thread(target=lambda: listener.accept()[0].sendall(b"SSH-2.0\r\n\r\n")).start()
        assert missed(f"http://127.0.0.1:{port}").retry


def test_a_trickle_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps each step within its time, but not the whole."""
    monkeypatch.setattr(posting, "DEADLINE_SECONDS", 0.2)
    ended = threading.Event()

    def trickle(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                while not ended.wait(0.02):
                    connection.sendall(b"H")
            except OSError:
                ended.set()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=trickle, args=(listener,))
        thread.start()
        assert missed(f"http://127.0.0.1:{listener.getsockname()[1]}").retry
        ended.set()
        thread.join(10)


def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place)
    with peer(context=context) as other:
        assert "certificate verify failed" in str(missed(other.url))
        monkeypatch.setenv("SSL_CERT_FILE", str(place))
        post(other.url, b"{}", {})
    assert len(other.got) == 1


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with peer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        post("http://chat.example.com/hook", b"{}", {})
    assert proxy.got[0].path == "http://chat.example.com/hook"
