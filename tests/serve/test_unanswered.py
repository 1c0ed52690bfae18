"""Requests that a canary left without an answer: a real server, a version that is too late.

For one that fails the champion stands in; whoever waits for a slow one has no time left for that.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import modelwright as mw
from modelwright.core.schema import Schema, Target
from modelwright.serve import journal_files, unanswered
from modelwright.serve.journal_store import Folder, place_of
from modelwright.serve.keys import recorded
from modelwright.serve.settings import Journaling, Source
from serve.running import Running, serving, until
from serve.versions import TRIGGER, Shop, row_of

FOREVER = (0.0, 1e12)


@pytest.fixture
def shop(project: Path) -> Shop:
    """The project with a second version, which takes a second for the trigger."""
    found = Shop(project)
    found.add(sleeps=60, width=768)
    return found


def asked(running: Running, size: float, count: int = 12) -> list[int]:
    """Status of requests of as many callers."""
    return [
        running.predict(
            row_of(size, colour=f"c{n}"), x_modelwright_key=f"{n}", x_request_timeout_ms="250"
        ).status
        for n in range(count)
    ]


def hash_of(number: int) -> str:
    return recorded(Schema((), Target("y", "regression")), None, f"{number}")


@pytest.mark.slow
def test_they_are_on_record_while_there_is_a_canary(shop: Shop, tmp_path: Path) -> None:
    to = tmp_path / "journal"
    source = Source(name="shop", project=str(shop.project))
    settings = Journaling(to=str(to), every=0.2)
    with serving(shop.project, source, journal=settings) as running:
        assert set(asked(running, 0.0)) == {200}
        mw.canary("shop", "2", weight=0.5, folder=shop.project)
        until(
            lambda: (
                len(
                    {
                        r.headers["x-modelwright-version"]
                        for r in (
                            running.predict(row_of(), x_modelwright_key=f"{n}") for n in range(30)
                        )
                    }
                )
                == 2
            )
        )
        before = time.time()
        codes = asked(running, TRIGGER)
        assert set(codes) >= {200, 504} and set(codes) <= {200, 503, 504}
        bad = running.ask("/predict", {"size, cm": "x"}, x_modelwright_key="9")
        assert bad.status == 422
        pinned = running.ask("/models/shop/versions/2/predict", row_of(TRIGGER), seconds=60,
                             x_request_timeout_ms="1")  # fmt: skip
        assert pinned.status >= 500
        running.end()
    found = unanswered.read(place_of(str(to)), "shop", *FOREVER).to_pylist()
    assert [one["status"] for one in found] == [code for code in codes if code != 200]
    assert {(one["version"], one["arm"]) for one in found} == {("2", "canary")}
    colours = {f"c{n}" for n, code in enumerate(codes) if code != 200}
    texts = [one["features"] for one in found]
    assert all(any(f'"colour": "{colour}"' in text for text in texts) for colour in colours)
    assert all(one["time"].timestamp() >= before and one["request_id"] for one in found)
    late = [hash_of(n) for n, code in enumerate(codes) if code != 200]
    assert [one["caller"] for one in found] == late
    journal = journal_files.rows(to)
    said = set(zip(journal["arm"].to_pylist(), journal["caller"].to_pylist(), strict=True))
    on_canary = {who for arm, who in said if arm == "canary"}
    assert ("champion", None) in said
    assert on_canary and on_canary <= {hash_of(n) for n in range(30)}
    assert not set(journal["request_id"].to_pylist()) & {one["request_id"] for one in found}
    place = Folder(to)
    assert unanswered.read(place, "shop", 0.0, before - 60) is None
    unanswered.sweep(place, time.time() + 7200, 3600)
    assert unanswered.read(place, "shop", *FOREVER) is None and journal_files.files(to)
