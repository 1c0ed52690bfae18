"""The section on limits of docs/watch.md is true."""

from __future__ import annotations

import re
from pathlib import Path

from modelwright.core.spec_file import parse_spec
from modelwright.core.spec_watch import LiveLimitsSpec
from modelwright.watch.part_limits import LimitsPart
from test_docs import blocks

PAGE = "docs/watch.md"
TEXT = (Path(__file__).resolve().parents[1] / PAGE).read_text(encoding="utf-8")


def test_every_cause_is_in_the_table() -> None:
    [table] = re.findall(r"^\| cause \| bad when .*?\n\n", TEXT, flags=re.S | re.M)
    causes = re.findall(r"^\| (\w+) \|", table, flags=re.M)[1:]
    assert sorted(causes) == sorted(LimitsPart.causes)


def test_the_spec_shows_the_defaults(tmp_path: Path) -> None:
    [text] = [b for b in blocks(PAGE, 'yaml title="modelwright.yaml"') if "limits:" in b]
    head = "name: shop\ndata: {source: shop.csv, target: bought}\n"
    watch = parse_spec(head + text, tmp_path / "modelwright.yaml").spec.watch
    assert watch.limits.model_copy(update={"ignore": []}) == LiveLimitsSpec()
    assert len(watch.server) == 2
