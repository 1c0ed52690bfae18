"""E-mail to a real SMTP server: plain, with a password over STARTTLS, over TLS, and refused."""

from __future__ import annotations

import email
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from modelwright.core.errors import SendError
from modelwright.core.spec_alerts import AlertSpec
from modelwright.watch.senders.mail import MailSender
from watch.peers import alert
from watch.senders.test_posting import certificate


class Box:
    """Keeps messages; refuses what its `refuses` names."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], EmailMessage]] = []
        self.refuses: dict[str, str] = {}

    async def handle_RCPT(self, _: Any, __: Any, envelope: Any, address: str, *___: Any) -> str:
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:
        if "data" in self.refuses:
            return self.refuses["data"]
        parsed = email.message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        self.got.append((envelope.rcpt_tos, parsed))
        return "250 OK"


@contextmanager
def server(box: Box, **given: Any) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = Controller(box, hostname="127.0.0.1", port=port, **given)
    running.start()
    try:
        yield port
    finally:
        running.stop()


@pytest.fixture
def box() -> Box:
    return Box()


def sender(port: int, environment: dict[str, str] | None = None, **given: Any) -> MailSender:
    spec = {"to": "email", "host": "127.0.0.1", "port": port, "sender": "watch@example.com",
            "recipients": ["a@example.com", "b@example.com"], "encryption": "none"}  # fmt: skip
    return MailSender(AlertSpec(**{**spec, **given}), environment or {})


def missed(one: MailSender) -> SendError:
    with pytest.raises(SendError) as error:
        one.send(alert())
    return error.value


def tls(place: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place)
    return context


def test_plain_and_html(box: Box) -> None:
    with server(box) as port:
        sender(port).send(alert())
        sender(port).send(alert())
        sender(port).send(alert("resolved"))
    (to, opened), (_, again), (_, over) = box.got
    assert (
        to == ["a@example.com", "b@example.com"] and opened["To"] == "a@example.com, b@example.com"
    )
    assert opened["Subject"] == "[error] shop 3: drift of age"
    assert opened["Message-ID"] == again["Message-ID"] != over["Message-ID"]
    assert over["In-Reply-To"] == opened["Message-ID"]
    text, page = (opened.get_body((kind,)) for kind in ("plain", "html"))
    assert text and page and opened.get_content_type() == "multipart/alternative"
    assert "advice: Look at <age> & co." in text.get_content()
    assert "Look at &lt;age&gt; &amp; co." in page.get_content()


def test_a_password_goes_over_starttls(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, heard = certificate(tmp_path), list[tuple[bytes, bytes]]()

    def judge(*given: Any) -> AuthResult:
        login = given[-1]
        assert isinstance(login, LoginPassword)
        heard.append((login.login, login.password))
        return AuthResult(success=login.password == b"p w", handled=False)

    more = {"encryption": "starttls", "user_env": "U", "password_env": "P"}
    with server(box, tls_context=tls(place), authenticator=judge, auth_required=True) as port:
        assert "certificate verify failed" in str(
            missed(sender(port, {"U": "u", "P": "p w"}, **more))
        )
        assert not heard
        monkeypatch.setenv("SSL_CERT_FILE", str(place))
        sender(port, {"U": "u", "P": "p w"}, **more).send(alert())
        error = missed(sender(port, {"U": "u", "P": "s3cr3t"}, **more))
    assert heard[0] == (b"u", b"p w") and len(box.got) == 1
    assert not error.retry and "535" in str(error) and "s3cr3t" not in str(error)


def test_tls_from_the_start(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(place))
    with server(box, ssl_context=tls(place)) as port:
        sender(port, encryption="tls").send(alert())
    assert len(box.got) == 1


def test_a_server_without_starttls_gets_nothing(box: Box) -> None:
    with server(box) as port:
        error = missed(sender(port, encryption="starttls"))
    assert not error.retry and "STARTTLS" in str(error) and not box.got


def test_refusals(box: Box) -> None:
    with server(box) as port:
        box.refuses = {"a@example.com": "550 no such user"}
        error = missed(sender(port))
        assert not error.retry and "refused a@example.com; the others have it" in str(error)
        box.refuses["b@example.com"] = "450 later"
        assert missed(sender(port)).retry
        box.refuses = {"data": "451 greylisted"}
        error = missed(sender(port))
        assert error.retry and "451: greylisted" in str(error)
        box.refuses = {"data": "554 spam"}
        assert not missed(sender(port)).retry
    assert missed(sender(port)).retry  # nobody is there any more
    assert [to for to, _ in box.got] == [["b@example.com"]]
