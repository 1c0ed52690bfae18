"""SIGHUP renews tokens and certificates of a running server, and drops nobody."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
from pathlib import Path

from cryptography import x509

import modelwright as mw
from modelwright.serve.settings import Source, Token
from serve.running import Reply, Running, parsed, request, serving, until
from serve.test_tls import write_pair


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


def test_what_is_renewed_and_what_is_broken(released: mw.Released, tmp_path: Path) -> None:
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
