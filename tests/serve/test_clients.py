"""The made clients pass their type checkers and talk to a real server."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

import modelwright as mw
from away import away
from modelwright.core.schema import Column, Expect, Schema, Target
from modelwright.serve.clients import client
from modelwright.serve.explain import explain
from modelwright.serve.messages import Answered, ProtocolError
from modelwright.serve.protocol import error_body, read_predict
from modelwright.serve.replies import options_of, write_answer
from modelwright.serve.settings import Source
from serve.alive import Loaded
from serve.running import serving, until
from serve.versions import TRIGGER, Shop, row_of

ODD = Schema(
    (
        Column('a"b\\c\n\'\'\'""" */ #', "number", minimum=1, maximum=2),
        Column("class", "category", nullable=True, levels=('x"y', "line\nbreak", "*/", "\u2028")),
        Column("\u540d\u524d", "list", expect=Expect(required=True)),
        Column("when", "datetime", format='%d/%m "%Y'),
        Column("secret", "number", private=True, minimum=1, maximum=2),
        Column("flag", "boolean"),
    ),
    Target('ta"rget\n*/', "multiclass", "string", ('q"', "it's", "new\nline")),
)


class Asked(BaseHTTPRequestHandler):
    """The real readers and writers behind a plain HTTP server, busy at first."""

    protocol_version = "HTTP/1.1"
    live: Loaded
    seen: ClassVar[list[tuple[str, Any]]] = []
    busy = 0

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((self.path, dict(self.headers)))
        path, _, query = self.path.partition("?")
        try:
            status, body = 200, self.answer(path, query, content)
        except ProtocolError as error:
            status, body = error.status, error_body(error.message, error.problems)
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        if status == 503:
            self.send_header("retry-after", "0.01")
        self.end_headers()
        self.wfile.write(body)

    def answer(self, path: str, query: str, content: bytes) -> bytes:
        if path != "/models/shop/predict":
            raise ProtocolError(404, "No such model.")
        if type(self).busy > 0:
            type(self).busy -= 1
            raise ProtocolError(503, "Busy.")
        options = options_of(query)
        question = read_predict(self.live.schema, content, 100)
        answered = Answered(question, self.live.run(question.feeds), self.live)
        why = explain(self.live, question.feeds, answered.answers) if options.explain else None
        return write_answer(answered, options, why).body


@pytest.fixture
def address(released: mw.Released) -> Iterator[str]:
    live = Loaded(mw.load(str(released.run / "artefact")))
    asked = type("Here", (Asked,), {"live": live})
    Asked.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), asked)
    server.daemon_threads = True
    asked.busy = 2
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def written(released: mw.Released, language: str, folder: Path) -> Path:
    return mw.write_client(str(released.run / "artefact"), language, folder)


def odd_client(released: mw.Released, language: str, folder: Path) -> Path:
    manifest = mw.load(str(released.run / "artefact")).manifest
    example = {ODD.columns[0].name: 1.5, "class": None, "\u540d\u524d": "a|b", "when": "2020-01-01",
               "secret": 1.0, "flag": True}  # fmt: skip
    name, text = client(
        msgspec.structs.replace(manifest, schema=ODD, example=example), language, name="odd-1"
    )
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_python_asks_the_server(released: mw.Released, address: str, tmp_path: Path) -> None:
    made = loaded(written(released, "python", tmp_path))
    with made.Client(address, token="t0ken") as asks:
        answer = asks.predict_one(made.EXAMPLE)
        [wanted] = mw.load(str(released.run / "artefact")).predict([made.EXAMPLE])
        assert answer == wanted
        assert Asked.seen[0][1]["authorization"] == "Bearer t0ken" and len(Asked.seen) == 3
        [[best]] = asks.top([made.EXAMPLE], 1)
        assert best["label"] == answer["prediction"]
        [why] = asks.explain([made.EXAMPLE])
        assert set(why["contributions"]) == set(made.EXAMPLE)
        with pytest.raises(made.ModelError, match="row 0, column 'big'") as caught:
            asks.predict([{**made.EXAMPLE, "big": "x"}])
        assert caught.value.status == 422 and len(caught.value.problems) == 1
    with pytest.raises(made.ModelError, match="No answer"):
        made.Client("http://127.0.0.1:1", retries=0).predict([made.EXAMPLE])
    with pytest.raises(ValueError, match="Wanted an address"):
        made.Client("ftp://x")


def test_python_asks_one_version(released: mw.Released, project: Path, tmp_path: Path) -> None:
    shop, made = Shop(project), loaded(written(released, "python", tmp_path))
    shop.move(shop.add())
    source = Source(name="shop", project=str(project))
    with serving(project, source) as running, made.Client(f"http://127.0.0.1:{running.port}") as it:
        for version, wanted in shop.answers_of("1", "2").items():
            row = row_of(-40.0)
            assert it.predict_one(row, version=version) == pytest.approx(wanted[0])
        assert it.predict_one(row) == it.predict_one(row, version="2")
        with pytest.raises(made.ModelError, match="No such version '9'"):
            it.predict_one(row, version="9")
        with pytest.raises(ValueError, match="visible ASCII"):
            it.ask([row], request_id="two words")
        said = it.ask([row], request_id="r-1")
        assert said[1:] == ("2", "", "", "r-1") and said.predictions == it.predict([row])
        assert it.ask([row]).request_id not in ("", it.ask([row]).request_id)
        mw.ab_test("shop", {"1": 0.5, "2": 0.5}, folder=project)
        until(lambda: it.ask([row]).arm)
        arms = {f"{n}": it.ask([row], key=f"{n}").arm for n in range(12)}
        assert set(arms.values()) == {"a", "b"}
        assert all(it.ask([row], key=key).arm == arm for key, arm in arms.items())


def test_python_says_who_stood_in(released: mw.Released, project: Path, tmp_path: Path) -> None:
    shop, made = Shop(project), loaded(written(released, "python", tmp_path))
    shop.move(bad := shop.add(fails=True))
    source = Source(name="shop", project=str(project))
    with serving(project, source) as running, made.Client(f"http://127.0.0.1:{running.port}") as it:
        assert it.ask([row_of(10.0)]).version == bad
        said = it.ask([row_of(TRIGGER)])
        assert (said.version, said.fallback) == ("1", "previous")


def test_levels_that_are_the_only_ones_are_typed(released: mw.Released) -> None:
    manifest = mw.load(str(released.run / "artefact")).manifest
    for levels, is_typed in ((("red", 'x"y'), True), (("blue",), False), ((), False)):
        columns = tuple(
            msgspec.structs.replace(c, expect=Expect(levels=levels)) if c.name == "colour" else c
            for c in manifest.schema.columns
        )
        schema = msgspec.structs.replace(manifest.schema, columns=columns)
        shown = msgspec.structs.replace(
            manifest, schema=schema, example={**manifest.example, "colour": "red"}
        )
        [python, typescript] = [client(shown, one)[1] for one in ("python", "typescript")]
        assert ("""Literal['red', 'x"y']""" in python) == is_typed
        assert (r'"red" | "x\"y" | null' in typescript) == is_typed


@pytest.mark.slow
def test_python_passes_mypy_and_finds_a_wrong_name(released: mw.Released, tmp_path: Path) -> None:
    path = written(released, "python", tmp_path)
    odd = odd_client(released, "python", tmp_path)
    assert loaded(odd).EXAMPLE["class"] is None
    use = tmp_path / "use.py"
    use.write_text(
        f"from {path.stem} import Client, EXAMPLE\n"
        "with Client() as c:\n"
        "    c.predict([{**EXAMPLE, 'big': 'x'}])\n"
        "    c.predict([{'colur': 'red'}])\n"
        "    print(c.predict_one(EXAMPLE)['p_maybe'])\n"
        "    print(c.predict_one(EXAMPLE)['prediction'] == 'perhaps')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run([*command, str(path), str(odd)], capture_output=True, text=True,
                          cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stdout
    done = subprocess.run([*command, "use.py"], capture_output=True, text=True, cwd=tmp_path)
    assert {line.split(":")[1] for line in done.stdout.splitlines() if "error:" in line} == {
        "3", "4", "5", "6",
    }, done.stdout  # fmt: skip


def compiler(folder: Path) -> list[str]:
    """TypeScript's compiler: installed, or fetched by npm; elsewhere than in CI it may be away."""
    found = shutil.which("tsc")
    if found:
        return [found]
    npm = shutil.which("npm")
    if npm is None:
        away("no Node.js (apt-get install nodejs npm)")
    command = [
        npm,
        "install",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(folder),
        "typescript@5.9.3",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        away(f"npm cannot fetch typescript: {done.stderr[-200:]}")
    return [str(folder / "node_modules" / ".bin" / "tsc")]


@pytest.mark.slow
def test_typescript_compiles_and_asks_the_server(
    released: mw.Released, address: str, tmp_path: Path
) -> None:
    path = written(released, "typescript", tmp_path)
    odd = odd_client(released, "typescript", tmp_path)
    (tmp_path / "use.ts").write_text(
        f'import {{ Client, EXAMPLE, ModelError }} from "./{path.stem}.js";\n'
        f'import {{ EXAMPLE as odd }} from "./{odd.stem}.js";\n'
        f'const client = new Client("{address}/");\n'
        'const answer = await client.predictOne(EXAMPLE, "3");\n'
        'const said = await client.ask([EXAMPLE], { key: "k", requestId: "r-1" });\n'
        "const [top] = await client.top([EXAMPLE], 1);\n"
        "const [why] = await client.explain([EXAMPLE]);\n"
        "let refused: ModelError | null = null;\n"
        'try { await client.predict([{ ...EXAMPLE, big: "x" as unknown as number }]); }\n'
        "catch (error) { refused = error as ModelError; }\n"
        "console.log(JSON.stringify({ answer, said, top, why, odd, status: refused?.status }));\n"
    )
    strict = ["--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "es2022",
              "--moduleResolution", "bundler", "--lib", "es2022,dom"]  # fmt: skip
    tsc = compiler(tmp_path / "ts")
    done = subprocess.run([*tsc, *strict, "use.ts"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (tmp_path / "package.json").write_text('{"type": "module"}')
    done = subprocess.run(["node", "use.js"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    example = mw.load(str(released.run / "artefact")).manifest.example
    [wanted] = mw.load(str(released.run / "artefact")).predict([example])
    assert said["answer"] == wanted and said["status"] == 422
    assert Asked.seen[0][1]["x-modelwright-version"] == "3"
    assert said["said"]["predictions"] == [wanted] and said["said"]["version"]
    [keyed] = [headers for _, headers in Asked.seen if "x-modelwright-key" in headers]
    assert (keyed["x-modelwright-key"], keyed["x-request-id"]) == ("k", "r-1")
    assert said["top"][0]["label"] == wanted["prediction"]
    assert set(said["why"]["contributions"]) == set(example)
    (tmp_path / "wrong.ts").write_text(
        f'import {{ Client }} from "./{path.stem}.js";\n'
        'await new Client().predict([{ colur: "red" }]);\n'
    )
    done = subprocess.run([*tsc, *strict, "wrong.ts"], cwd=tmp_path, capture_output=True, text=True)
    assert "colur" in done.stdout


@pytest.mark.slow
def test_a_client_is_written_by_the_command_line(released: mw.Released, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "modelwright", "client", str(released.run / "artefact"),
               "--language", "typescript", "-o", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "Wrote a typescript client" in done.stdout, done.stderr
    assert "export class Client" in (tmp_path / "shop_client.ts").read_text()
