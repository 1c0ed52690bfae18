"""The page in a real browser, under its own policy: it shows the columns and asks the model."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

import modelwright as mw
from modelwright.pack.artefact import Artefact
from modelwright.serve.docs_page import CSP, PAGES, SCRIPT
from modelwright.serve.openapi import Described, document
from pages import FLAGS, browser

DRIVE = """
addEventListener('load', async () => {
  const until = async (found) => {
    for (let tries = 0; tries < 200 && !found(); tries++) {
      await new Promise((go) => setTimeout(go, 10));
    }
    return found();
  };
  await until(() => document.querySelector('button'));
  document.querySelector('button').click();
  await until(() => !document.querySelector('pre').hidden);
  const wide = [...document.querySelectorAll('main *')].filter((one) => !one.closest('.scroll')
    && one.getBoundingClientRect().right > innerWidth + 1).length;
  document.title = 'done ' + JSON.stringify({ wide, page: document.documentElement.scrollWidth });
});
"""


class Asked(BaseHTTPRequestHandler):
    """The pages, the document, and a model behind /predict."""

    artefact: Artefact
    token = ""

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: bytes, kind: str, policy: str = CSP) -> None:
        self.send_response(status)
        for name, value in (
            ("content-type", kind),
            ("content-length", str(len(body))),
            ("content-security-policy", policy),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        path, framed = self.path.partition("?")[::2]
        if path == "/openapi.json":
            if self.token and self.headers["authorization"] != f"Bearer {self.token}":
                return self.reply(401, b'{"error": "Wanted a token."}', "application/json")
            manifest = self.artefact.manifest
            described = document([Described("shop", ("3",), manifest)], protected=bool(self.token))
            return self.reply(200, json.dumps(described).encode(), "application/json")
        if path in PAGES:
            page, kind = PAGES[path].body, PAGES[path].kind.decode()
            policy = CSP.replace("frame-ancestors 'none'", "frame-ancestors 'self'")
            page = page.replace(b"</head>", b'<script src="drive.js" defer></script></head>')
            return self.reply(200, page, kind, policy if framed else CSP)
        if path == "/frame":
            inner = "<iframe src='docs?framed' style='width:390px;height:900px;border:0'></iframe>"
            seen = "<script>setInterval(() => { document.title = frames[0].document.title; }, 20)"
            body = f"<body style='margin:0'>{inner}{seen}</script>"
            return self.reply(200, body.encode(), "text/html", "")
        drive = path == "/drive.js"
        return self.reply(200 if drive else 404, DRIVE.encode(), "text/javascript")

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))["rows"]
        body = msgspec.json.encode({"predictions": self.artefact.predict(rows)})
        self.reply(200, body, "application/json")


@pytest.fixture
def address(released: mw.Released) -> Iterator[str]:
    asked = type("Here", (Asked,), {"artefact": mw.load(str(released.run / "artefact"))})
    server = ThreadingHTTPServer(("127.0.0.1", 0), asked)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def shown(address: str, scratch: Path) -> str:
    """The page after its scripts ran."""
    done = subprocess.run(
        [browser(), *FLAGS, f"--user-data-dir={scratch}", "--window-size=1000,900",
         "--virtual-time-budget=6000", "--dump-dom", address],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout


def test_it_shows_the_columns_and_the_model_answers(address: str, tmp_path: Path) -> None:
    found = shown(f"{address}/docs", tmp_path)
    assert "<code>size, cm</code>" in found and "red, green, blue, d\u00e9j\u00e0 vu" in found
    assert re.search(r"<summary>.*POST.*/v2/models/\{model\}/infer", found)
    assert re.search(r"200 in [\d.]+ ms", found) and '"prediction": ' in found


def test_it_fits_a_narrow_window(address: str, tmp_path: Path) -> None:
    title = re.search(r"<title>done (.*?)</title>", shown(f"{address}/frame", tmp_path))
    assert title, "the page did not come to its end"
    assert json.loads(title[1]) == {"wide": 0, "page": 390}


def test_nothing_in_it_breaks_its_policy() -> None:
    page = PAGES["/docs"].body.decode()
    assert not re.search(r"<script(?! src)|\son\w+=|style=|https?:", page)
    assert not re.search(r"innerHTML|insertAdjacent|document\.write|eval\(|Function\(", SCRIPT)
    assert all(dict(one.headers)[b"content-security-policy"] for one in PAGES.values())


def test_it_asks_for_a_token(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Asked, "token", "s3cret")
    assert 'type="password"' in shown(f"{address}/docs", tmp_path)
