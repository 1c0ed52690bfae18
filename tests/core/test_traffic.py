"""The file that says which share goes where: whole or absent, and never half sensible."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from modelwright.core.errors import ArtefactError, UsageError
from modelwright.core.traffic import (
    ABTest,
    Canary,
    Step,
    Traffic,
    read_traffic,
    traffic_path,
    write_traffic,
)

STEPS = (Step(0.05, 600), Step(0.25, 1800))


def test_it_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    rule = Traffic("m", Canary("4", 0.05, 4, STEPS, 1000.0), shadow="5")
    assert read_traffic(tmp_path, "m") is None
    write_traffic(tmp_path, rule)
    assert read_traffic(tmp_path, "m") == rule
    write_traffic(tmp_path, Traffic("m"))
    assert read_traffic(tmp_path, "m") is None and not traffic_path(tmp_path, "m").exists()
    write_traffic(tmp_path, Traffic("m"))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a" * 65, "x\x00"])
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a model name"):
        traffic_path(tmp_path, name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "not a valid Traffic"),
        (b'{"model":"m","canary":{"version":"4","weight":1.5}}', "share from 0 to 1"),
        (b'{"model":"m","canary":{"version":"4","weight":-1}}', "share from 0 to 1"),
        (b'{"model":"m","test":{"arms":{"4":1.0}}}', "2 to 8 arms"),
        (b'{"model":"m","test":{"arms":{"4":0.6,"3":0.6}}}', "add up to 1.2"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: bytes, said: str) -> None:
    path = traffic_path(tmp_path, "m")
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    with pytest.raises(ArtefactError, match=said):
        read_traffic(tmp_path, "m")


def test_what_makes_no_sense_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="rise"):
        Canary("4", 0.5, steps=(Step(0.5, 1), Step(0.25, 1)))
    with pytest.raises(ValueError, match="takes some time"):
        Canary("4", 0.5, steps=(Step(0.5, 0),))
    with pytest.raises(ValueError, match="exclude each other"):
        Traffic("m", Canary("4", 0.5), ABTest({"3": 0.5, "4": 0.5}))


def test_a_promotion_ends_the_canary_and_the_shadow_of_that_version_only() -> None:
    rule = Traffic("m", Canary("4", 0.1), shadow="5")
    assert rule.after_promotion("4") == Traffic("m", shadow="5")
    assert rule.after_promotion("5") == Traffic("m", Canary("4", 0.1))
    assert rule.after_promotion("6") is rule
    test = Traffic("m", test=ABTest({"3": 0.5, "4": 0.5}))
    assert test.after_promotion("4") is test and test.versions == ("3", "4")


def test_the_weight_follows_the_clock() -> None:
    canary = Canary("4", 0.05, steps=STEPS, began=1000.0)
    weights = [canary.weight_at(t) for t in range(0, 10_000, 7)]
    assert weights == sorted(weights) and set(weights) == {0.05, 0.25}
    assert msgspec.structs.replace(canary, steps=()).weight_at(1e9) == 0.05
