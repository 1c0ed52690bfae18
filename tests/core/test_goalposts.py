"""Agents do not move limits and the split until a model passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents import call
from modelwright.core.errors import Refused
from modelwright.core.goalposts import must_not_move, remember
from modelwright.core.principal import Principal, acting_as
from modelwright.core.progress import Silent
from modelwright.ways_in.actions import init
from modelwright.ways_in.arguments import InitArguments
from projects import spec_for


def held(folder: Path, before: str, now: str) -> None:
    old, new = (spec_for(folder, "a.csv", "y", text).spec for text in (before, now))
    must_not_move(folder, old, before, new)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("limits: {roc_auc: 0.8}\n", "limits: {roc_auc: 0.8, size: 9 MB}\n"),
        ("limits: {roc_auc: 0.8}\n", "limits: {roc_auc: 0.9}\n"),
        ("limits: {latency_p95: 10 ms}\n", "limits: {latency_p95: 9 ms}\n"),
        ("", "fit: {budget: 9s}\n"),
        ("", "goal: f1\n"),
        ("expect: {a: {unique: true}}\n", "expect: {a: {unique: true, required: true}}\n"),
    ],
)
def test_tightening_is_free(tmp_path: Path, before: str, now: str) -> None:
    held(tmp_path, before, now)


@pytest.mark.parametrize(
    ("before", "now", "key"),
    [
        ("limits: {roc_auc: 0.8}\n", "limits: {roc_auc: 0.79}\n", "limits"),
        ("limits: {roc_auc: 0.8}\n", "", "limits"),
        ("limits: {latency_p95: 10 ms}\n", "limits: {latency_p95: 11 ms}\n", "limits"),
        ("limits: {roc_auc: 0.8}\n", "limits: {accuracy: 0.8}\n", "limits"),
        ("goal: pr_auc\n", "goal: accuracy\n", "goal"),
        ("expect: {a: {range: [0, 9]}}\n", "expect: {a: {range: [0, 99]}}\n", "expect.a.range"),
        ("expect: {a: {required: true}}\n", "", "expect.a.required"),
    ],
)
def test_a_looser_limit(tmp_path: Path, before: str, now: str, key: str) -> None:
    with pytest.raises(Refused, match="goalposts") as caught:
        held(tmp_path, before, now)
    assert caught.value.evidence == {"key": key}
    remember(tmp_path, before)
    held(tmp_path, before, now)  # its own, and no run was judged
    (tmp_path / "runs" / "1").mkdir(parents=True)
    (tmp_path / "runs" / "1" / "release.json").touch()
    with pytest.raises(Refused):
        held(tmp_path, before, now)


def test_over_mcp(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    text = (shop / "modelwright.yaml").read_text()
    found = call("spec_write", {"text": text.replace("roc_auc: 0.6", "roc_auc: 0.5")})
    assert found["status"] == "refused" and found["rule"] == "human_approval"
    found = call("spec_write", {"text": text.replace("shop.csv,", "shop.csv, seed: 3,")})
    assert found["evidence"]["key"] == "data.seed"
    for before, after in (("bought", "member"), ("'yes'", "'no'"), (", positive: 'yes'", "")):
        found = call("spec_write", {"text": text.replace(before, after)})
        assert found["evidence"]["key"] in ("data.target", "data.positive")
    (shop / "other.csv").write_bytes((shop / "shop.csv").read_bytes())
    found = call("spec_write", {"text": text.replace("shop.csv", "other.csv")})
    assert found["evidence"]["key"] == "data.source"
    assert (shop / "modelwright.yaml").read_text() == text
    assert call("spec_write", {"text": text.replace("0.6", "0.7")})["status"] == "done"
    found = call("spec_write", {"text": text.replace("0.6", "0.5")})
    assert found["status"] == "refused"  # a person's spec stays one, whoever changed it since


def test_a_spec_that_is_drafted_anew(shop: Path) -> None:
    path = shop / "modelwright.yaml"
    text = path.read_text()
    given = InitArguments(
        data=str(shop / "shop.csv"), target="bought", name="shop", out=str(path), force=True
    )
    with acting_as(Principal("agent ada", "agent")):
        with pytest.raises(Refused, match="goalposts"):
            init(given, Silent())
        assert path.read_text() == text
        path.unlink()
        init(given, Silent())
        init(given, Silent())  # its own
    init(given, Silent())
