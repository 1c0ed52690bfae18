"""The tests of the ML Test Score that look at service: what is set up, and what was seen."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

import modelwright as mw
from modelwright.core.records import AuditLine, Finding
from modelwright.release.practice_live import WATCHED
from modelwright.release.practices import score_practices
from release.records import card_input

TOLD: dict[str, Any] = {
    "serve": {"journal": {"to": "journal"}},
    "watch": {"alerts": [{"to": "slack", "url_env": "HOOK"}]},
}
LIVE = ("M2", "M3", "M4", "M5", "M6", "M7")


def points(released: mw.Released, **changes: Any) -> dict[str, float]:
    score = score_practices(card_input(released, **changes))
    return {p.code: p.score for p in score.practices if p.code[0] == "M" and p.code[1] != "D"}


@pytest.fixture
def watched(released: mw.Released, tmp_path: Path) -> Path:
    """A run in a project where a watcher has looked."""
    run = tmp_path / "runs" / released.run.name
    shutil.copytree(released.run, run)
    (tmp_path / WATCHED).parent.mkdir()
    (tmp_path / WATCHED).touch()
    return run


def test_unwatched_models_have_what_each_run_proves(released: mw.Released) -> None:
    found = points(released)
    assert [found[code] for code in ("M2", "M3", "M5")] == [0.5] * 3
    assert [found[code] for code in ("M1", "M4", "M7")] == [0] * 3


def test_settings_are_half_a_point_and_a_look_a_whole_one(
    released: mw.Released, watched: Path
) -> None:
    found = points(released, spec=TOLD)
    assert all(found[code] == 0.5 for code in LIVE), found
    found = points(released, spec=TOLD, folder=watched)
    assert found == {"M1": 0, **dict.fromkeys(LIVE, 1), "M7": 0.5}
    recent = Finding("recent", "f1", "pass", severity="error")
    more = msgspec.structs.replace(released.record, evidence=(*released.record.evidence, recent))
    assert points(released, spec=TOLD, folder=watched, release=more)["M7"] == 1


def test_what_is_ignored_is_not_told(released: mw.Released, watched: Path) -> None:
    watch = {**TOLD["watch"], "limits": {"ignore": ["age"]}}
    found = points(released, spec={**TOLD, "watch": watch}, folder=watched)
    assert found["M4"] == 0 and found["M5"] == 1


def test_insane_answers_refute(released: mw.Released, watched: Path) -> None:
    wild = Finding("robustness", "extreme values", "fail", severity="error")
    kept = [f for f in released.record.evidence if f.check != "robustness"]
    record = msgspec.structs.replace(released.record, evidence=(*kept, wild))
    told = {**TOLD, "practices": {"M5": "somebody looks, see https://wiki.example/nan"}}
    assert points(released, spec=told, folder=watched, release=record)["M5"] == 0


def test_a_canary_that_was_used(released: mw.Released) -> None:
    line = AuditLine("2026-11-20T10:00:00Z", "ann", "canary", "shop", "2", "", "5%", "")
    for act, wanted in (([], 0.5), (["canary"], 1)):
        score = score_practices(card_input(released, audit=(line,), spec={"watch": {"act": act}}))
        assert next(p.score for p in score.practices if p.code == "I6") == wanted
