"""Every rule has its heading, and says whom it binds as the code does."""

from __future__ import annotations

import re
from pathlib import Path

from modelwright.core.rules import RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
WHOM = {"everyone": "Binds everyone.", "agents": "Binds agents."}


def test_each_rule_has_a_heading_its_title_and_whom_it_binds() -> None:
    sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    found = {section.split("\n", 1)[0]: " ".join(section.split()) for section in sections}
    assert list(found) == list(RULES)
    for rule in RULES.values():
        assert f"**{rule.title}.**" in found[rule.id]
        assert found[rule.id].endswith(WHOM[rule.binds])
