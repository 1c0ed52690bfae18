"""Pages are read as Prometheus' own parser reads them; whatever else answers is told plainly."""

from __future__ import annotations

import functools
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

import modelwright as mw
from modelwright.core.errors import ScrapeError, SpecError, UsageError
from modelwright.core.spec import Spec
from modelwright.serve.metrics import Counts
from modelwright.serve.metrics_door import write
from modelwright.serve.scopes import LABELS
from modelwright.serve.settings import Source
from modelwright.serve.tokens import Token
from modelwright.watch import scrape as scraping
from modelwright.watch.scrape import Server, parse, scrape, servers
from projects import spec_for
from serve.made import traffic
from serve.running import serving
from serve.test_tls import write_pair


def spec(folder: Path, more: str = "") -> Spec:
    return spec_for(folder, "shop.csv", "bought", more).spec


def theirs(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, {})[tuple(sorted(one.labels.items()))] = one.value
    return found


def test_it_reads_what_prometheus_reads() -> None:
    counts = Counts()
    traffic(counts)
    text = write(counts.book)[1].decode()
    found, wanted = parse(text).series, theirs(text)
    ours = {name for name in found if not name.startswith("nv_")}  # it renames Triton's
    assert {name: found[name] for name in ours} == {name: wanted[name] for name in ours}
    assert len(ours) > 50


@given(st.lists(st.text(max_size=20), max_size=4))
@example(['a"} 1', "back\\slash\\n", "\x85\u2028 lines", "\r", "\x0c x", "é="])
def test_labels_may_hold_anything(values: list[str]) -> None:
    counts = Counts()
    for number, value in enumerate(values):
        counts.counter("modelwright_missing_total", value, "shop", str(number))[0] += 1
    text = write(counts.book)[1].decode()
    assert parse(text).series == theirs(text)


@pytest.mark.parametrize(
    "text",
    ["<html>", "up", "up{", 'up{a="1} 2', 'up{a="1" b="2"} 3', "up one", "up 1 2 3", '{"a": 1}',
     'up{a="1"', "up{,} 1", "1up 3"],
)  # fmt: skip
def test_what_is_no_page_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="line 2 is"):
        parse(f"# a comment\n{text}\n")


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ("", "http://127.0.0.1:8000/metrics"),
        ("serve: {metrics_port: 9090, host: 0.0.0.0}", "http://127.0.0.1:9090/metrics"),
        ("serve: {host: '::'}", "http://[::1]:8000/metrics"),
        ("serve: {host: 10.0.0.7, port: 80}", "http://10.0.0.7:80/metrics"),
        ("serve: {tls: {certificate: a, key: b}}", "https://127.0.0.1:8000/metrics"),
        ("serve: {metrics_port: 1, tls: {certificate: a, key: b}}", "http://127.0.0.1:1/metrics"),
        ("watch: {server: 'https://a.example:1'}", "https://a.example:1/metrics"),
        ("watch: {server: ['http://a', 'http://b/own/page']}",
         "http://a/metrics http://b/own/page"),
    ],
)  # fmt: skip
def test_where_the_server_is(tmp_path: Path, more: str, wanted: str) -> None:
    found = servers(spec(tmp_path, more), tmp_path, {"MODELWRIGHT_TOKEN": "secret"})
    assert " ".join(one.url for one in found) == wanted
    assert all(one.token == "secret" for one in found)


def test_any_free_port_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"metrics_port is 0.*Give watch\.server"):
        servers(spec(tmp_path, "serve: {metrics_port: 0}"), tmp_path, {})


@pytest.mark.parametrize(
    "server", ["10.0.0.7:9090", "ftp://a", "http://u:p@a", "http://a b", "http://a:0",
               "[http://a, http://a]"]
)  # fmt: skip
def test_odd_addresses_are_refused(tmp_path: Path, server: str) -> None:
    with pytest.raises(SpecError, match=r"watch\.server"):
        spec(tmp_path, f"watch: {{server: {server if '[' in server else repr(server)}}}")


def test_a_real_server_is_asked_with_a_token_where_it_wants_one(
    released: mw.Released, tmp_path: Path
) -> None:
    source = Source(name="shop", folder=str(released.run / "artefact"), version="1", tried=True)
    token = Token("truth", "a-secret", LABELS)
    with serving(tmp_path, source, tokens=(token,), metrics_port=0) as running:
        url = f"http://127.0.0.1:{running.port}/metrics"
        with pytest.raises(ScrapeError, match=r"answers 401\..*token_env"):
            scrape(Server(url))
        with pytest.raises(ScrapeError, match="answers 401"):
            scrape(Server(url, token="another"))
        page = scrape(Server(url, token="a-secret"))
        assert page.total("modelwright_model_info", model="shop", version="1") == 1
        assert page.total("modelwright_workers") == 1
        more = running.process.stdout.readline() if running.process.stdout else ""
        assert "metrics on " in more  # the port of its own asks for no token
        page = scrape(Server(more.split("metrics on ")[1].strip()))
        assert page.total("modelwright_requests_total", code="401") == 4
    with pytest.raises(ScrapeError, match=r"cannot be read: .*Is the server running"):
        scrape(Server(url))


class Page(BaseHTTPRequestHandler):
    """Answers as its server says."""

    def __init__(self, answer: bytes, *more: object) -> None:
        self.answer = answer
        super().__init__(*more)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.wfile.write(self.answer)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(answer: bytes, pair: tuple[str, str] | None = None) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Page, answer))
    if pair is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*pair)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http{'s' if pair else ''}://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    thread.join()
    server.server_close()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (OK + b"\r\n<html>", "other than metrics: line 1 is '<html>'"),
        (OK + b"\r\n\xff\xfe", "other than metrics"),
        (OK + b"content-length: 90\r\n\r\nup 1\n", "cannot be read"),
        (OK + b"\r\n" + b"# more\n" * 2000, "more than 0 MiB"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n\r\n", "answers 302"),
        (b"HTTP/1.1 421 No\r\n\r\n", "MODELWRIGHT_ALLOWED_HOSTS"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_other_answers_are_told(answer: bytes, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scraping, "MOST_BYTES", 9000)
    with answering(answer) as url, pytest.raises(ScrapeError) as caught:
        scrape(Server(url, token="secret"))
    assert why in str(caught.value) and "secret" not in str(caught.value)


def test_a_page_without_length_is_read() -> None:
    with answering(OK + b"\r\nup 1\n") as url:
        assert scrape(Server(url)).total("up") == 1


def test_the_certificate_of_the_spec_is_the_one_that_is_believed(tmp_path: Path) -> None:
    own, other = write_pair(tmp_path), write_pair(tmp_path, "other")
    text = "serve: {tls: {certificate: server.pem, key: server.key}}"
    [place] = servers(spec(tmp_path, text), tmp_path, {})
    assert place.certificate == own[0]
    with answering(OK + b"\r\nup 1\n", own) as url:
        assert scrape(Server(url, own[0])).total("up") == 1
        for wrong in (other[0], "", str(tmp_path / "nowhere.pem")):
            with pytest.raises(ScrapeError, match="cannot be read"):
                scrape(Server(url, wrong))
