"""The route for labels over real HTTP: confirmed ones are on disk, whatever is killed when."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

import modelwright as mw
from modelwright.serve.journal_store import place_of
from modelwright.serve.labels import files, read
from modelwright.serve.settings import Journaling, Source, Token
from serve.running import Running, serving, until

TOKENS = (
    Token("app", "secret-app", frozenset({"predict"})),
    Token("truth", "secret-truth", frozenset({"labels"})),
)
ROUTE = "/v2/models/shop/labels"


@pytest.fixture(scope="module")
def source(released: mw.Released) -> Source:
    return Source(name="shop", folder=str(released.run / "artefact"), version="3", tried=True)


def kept(to: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(place_of(str(to)), "shop").to_pylist()
    return found


def label(id: str, label: Any = "yes", **more: Any) -> dict[str, Any]:
    return {"request_id": id, "label": label, **more}


def test_labels_are_kept_counted_and_refused(source: Source, tmp_path: Path) -> None:
    to = tmp_path / "j"
    secret = {"authorization": "Bearer secret-truth"}
    journal = Journaling(to=str(to))
    with serving(tmp_path, source, journal=journal, tokens=TOKENS, max_rows=5000) as server:
        assert server.ask(ROUTE, label("a")).status == 401
        assert server.ask(ROUTE, label("a"), authorization="Bearer secret-app").status == 403
        before = time.time()
        found = server.ask(ROUTE, {"labels": [label("a"), label("b", "no", row=2)]}, **secret)
        assert (found.status, found.json()) == (200, {"model": "shop", "labels": 2})
        assert server.ask("/v2/models/shop/versions/3/labels", label("c"), **secret).status == 200
        many = [label(f"m-{n}") for n in range(5000)]  # read in a thread
        assert server.ask(ROUTE, many, **secret).json()["labels"] == 5000
        wrong = server.ask(ROUTE, [label("d"), label("e", "maybe")], **secret)
        assert wrong.status == 422 and wrong.json()["problems"] == [
            "row 1, label: wanted 'no' or 'yes', found 'maybe' (text)"
        ]
        assert server.ask(ROUTE, [label(f"{n}") for n in range(5001)], **secret).status == 413
        assert server.ask("/v2/models/shop/versions/9/labels", label("a"), **secret).status == 404
        assert server.ask("/v2/models/other/labels", label("a"), **secret).status == 404
        assert server.ask(ROUTE, method="GET", **secret).status == 405
        page = server.ask("/metrics", **secret).body.decode()
    rows = kept(to)
    assert len(rows) == 5003
    assert [(r["request_id"], r["row"], r["label"]) for r in rows if len(r["request_id"]) == 1] == [
        ("a", 0, "yes"), ("b", 2, "no"), ("c", 0, "yes"),
    ]  # fmt: skip
    assert all(before <= one["arrived"].timestamp() <= time.time() for one in rows)
    assert 'modelwright_labels_total{model="shop"} 5003' in page
    assert 'modelwright_labels_refused_total{model="shop"} 2' in page
    assert 'modelwright_requests_total{code="200",door="labels"' in page


def test_without_a_journal_there_is_no_place(source: Source, tmp_path: Path) -> None:
    with serving(tmp_path, source) as server:
        found = server.ask(ROUTE, label("a"))
        assert found.status == 409 and "--journal" in found.json()["error"]


def test_an_end_of_the_server_confirms_what_it_keeps(source: Source, tmp_path: Path) -> None:
    to = tmp_path / "j"
    with serving(tmp_path, source, journal=Journaling(to=str(to)), workers=2) as server:
        confirmed, threads = _posted(server, 4)
        until(lambda: len(confirmed) > 40, "labels")
        assert server.end() == 0
        for thread in threads:
            thread.join(20)
    assert set(confirmed) <= {one["request_id"] for one in kept(to)}
    assert {one["sender"] for one in kept(to)} and not list(to.rglob("*.part"))


def test_kill_9_in_the_middle_loses_no_confirmed_label(source: Source, tmp_path: Path) -> None:
    to = tmp_path / "j"
    with serving(tmp_path, source, journal=Journaling(to=str(to))) as server:
        confirmed, threads = _posted(server, 6)
        for count in (30, 60, 90):
            until(lambda count=count: len(confirmed) > count, "labels")
            for worker in server.workers():
                os.kill(worker, signal.SIGKILL)
        server.process.kill()
        for thread in threads:
            thread.join(20)
    rows = kept(to)
    assert set(confirmed) <= {one["request_id"] for one in rows}
    assert len({one["sender"] for one in rows}) >= 3  # a worker that was killed was followed


def _posted(server: Running, clients: int) -> tuple[list[str], list[threading.Thread]]:
    """Clients that post labels until the server is gone; ids of those that were confirmed."""
    confirmed: list[str] = []

    def post(number: int) -> None:
        for turn in range(100_000):
            id = f"{number}-{turn}"
            try:
                if server.ask(ROUTE, label(id)).status == 200:
                    confirmed.append(id)
            except (OSError, AssertionError):
                if server.process.poll() is not None:
                    return

    threads = [threading.Thread(target=post, args=(n,), daemon=True) for n in range(clients)]
    for thread in threads:
        thread.start()
    return confirmed, threads


def test_many_small_posts_share_files(source: Source, tmp_path: Path) -> None:
    to = tmp_path / "j"
    with serving(tmp_path, source, journal=Journaling(to=str(to))) as server:
        url = f"http://127.0.0.1:{server.port}{ROUTE}"
        clients = [httpx.Client(timeout=20) for _ in range(16)]

        def post(number: int) -> None:
            for turn in range(10):
                answer = clients[number].post(url, json=label(f"{number}-{turn}"))
                assert answer.status_code == 200, answer.text

        threads = [threading.Thread(target=post, args=(n,)) for n in range(len(clients))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        for client in clients:
            client.close()
    assert len(kept(to)) == 160 and len(files(place_of(str(to)))) < 100


def test_a_place_that_refuses_is_said_and_comes_back(source: Source, tmp_path: Path) -> None:
    to = tmp_path / "j"
    to.write_text("a file where the folder should be")
    with serving(tmp_path, source, journal=Journaling(to=str(to))) as server:
        found = server.ask(ROUTE, label("a"))
        assert found.status == 503 and found.headers["retry-after"] == "1"
        assert "refuses writes" in found.json()["error"] and str(tmp_path) not in json.dumps(
            found.json()
        )
        to.unlink()
        assert server.ask(ROUTE, label("a")).status == 200
    assert [one["request_id"] for one in kept(to)] == ["a"]


def test_who_waits_too_long_is_told_to_send_again(source: Source, tmp_path: Path) -> None:
    to = tmp_path / "j"
    with serving(tmp_path, source, journal=Journaling(to=str(to))) as server:
        found = server.ask(ROUTE, label("a"), x_request_timeout_ms="0.01")
        assert found.status == 503 and "send them again" in found.json()["error"]
        assert server.ask(ROUTE, label("a")).status == 200
    assert {one["request_id"] for one in kept(to)} == {"a"}
