"""`modelwright traffic` as people type it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from modelwright.core.errors import ModelwrightError
from modelwright.core.traffic import read_traffic
from modelwright.ways_in.arguments import TrafficArguments
from modelwright.ways_in.traffic import change
from release.test_traffic import three as three  # the fixture
from ways_in.test_cli import cli, refused

WHY = ("--why", "a look at it")


@pytest.mark.slow
def test_a_canary_from_its_first_share_to_its_end(three: Path) -> None:
    shown = cli(three, "traffic", "shop")
    assert shown.returncode == 0 and "the champion answers everything" in shown.stdout
    done = cli(three, "traffic", "shop", "canary", "2", "--weight", "5%",
               "--steps", "5%:10m,25%:30m,50%:1h", *WHY)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 % for 10 min, 25 % for 30 min, 50 % for 1 h" in done.stdout
    found = json.loads(cli(three, "traffic", "shop", "--json").stdout)
    assert found["kind"] == "canary" and found["shares"] == {"1": 0.95, "2": 0.05}
    assert found["steps"] == [[0.05, 600], [0.25, 1800], [0.5, 3600]] and not found["changed"]
    assert "a look at it" in cli(three, "audit").stdout
    assert cli(three, "traffic", "shop", "stop", *WHY).returncode == 0
    assert read_traffic(three, "shop") is None


@pytest.mark.slow
def test_a_test_and_a_shadow(three: Path) -> None:
    done = cli(three, "traffic", "shop", "ab", "1=50%", "3=50%", "--seed", "7", "--json")
    assert json.loads(done.stdout)["arms"] == {"1": 0.5, "3": 0.5}
    done = cli(three, "traffic", "shop", "shadow", "2")
    assert "arm a" in done.stdout and "a copy" in done.stdout and "seed 7" in done.stdout
    done = cli(three, "traffic", "shop", "stop", "ab", "--json")
    assert json.loads(done.stdout)["shadow"] == "2"


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        (["canary"], {}, "Wanted after canary: VERSION"),
        (["canary", "2", "3"], {}, "Wanted after canary: VERSION"),
        (["canary", "2"], {"weight": "5 apples"}, "Cannot read the weight"),
        (["canary", "2"], {"steps": "5%"}, "Cannot read the step"),
        (["canary", "9"], {}, "no version 9 of shop"),
        (["ab", "1=50%"], {}, "Wanted after ab: VERSION=SHARE"),
        (["ab", "1", "2"], {}, "'1' is no arm"),
        (["ab", "1=50%", "1=50%"], {}, "'1=50%' is no arm"),
        (["ab", "1=50%", "2=60%"], {}, "add up to 1.1, wanted 1"),
        (["shadow", "2"], {"weight": "5%"}, "--weight is not for shadow"),
        (["stop"], {"seed": 3}, "--seed is not for stop"),
        (["show", "2"], {}, "Wanted after show: nothing"),
        (["stop", "2"], {}, "Cannot stop '2'"),
    ],
)
def test_mistakes(three: Path, words: list[str], options: dict[str, object], said: str) -> None:
    given = {"model": "shop", "what": words[0], "of": words[1:], **options}
    with pytest.raises(ModelwrightError, match=re.escape(said)) as caught:
        change(TrafficArguments.model_validate(given))
    assert caught.value.exit_code == 2
    assert read_traffic(three, "shop") is None


def test_a_mistake_at_the_command_line(three: Path) -> None:
    refused(cli(three, "traffic", "shop", "canary", "9"), 2, "no version 9 of shop")
    refused(cli(three, "traffic", "shop", "begin"), 2, "'begin' is not one of")
