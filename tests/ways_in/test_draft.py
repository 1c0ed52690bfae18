"""A drafted spec is read again, whatever the columns are named."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from modelwright.core.spec_file import read_spec
from modelwright.ways_in.draft import draft

BREAKS = ("\r", "\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029")
HOSTILE = [
    "\x1b[2Jred\x1b[0m", "right\u202eleft", "zero\u200bwidth", "nul\x00", "quote\"s\\", "tab\there",
    "# not a comment", "a: b", "{x}", "- item", "\U000e0041tag", " spaces ",
]  # fmt: skip


def drafted(folder: Path, table: pl.DataFrame) -> str:
    table.write_parquet(folder / "t.parquet")
    text, _, _ = draft(str(folder / "t.parquet"), "y", "shop", folder / "modelwright.yaml")
    (folder / "modelwright.yaml").write_text(text, encoding="utf-8")
    return text


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_name_is_kept_and_nothing_of_it_is_raw(tmp_path: Path, name: str) -> None:
    table = pl.DataFrame({name: [f"{n % 7}!" for n in range(200)], "y": ["yes", "no"] * 100})
    text = drafted(tmp_path, table)
    assert all(c.isprintable() or c == "\n" for c in text)
    found = read_spec(tmp_path / "modelwright.yaml").spec
    assert list(found.expect) == [name]


@pytest.mark.parametrize("end", BREAKS, ids=ascii)
def test_no_name_ends_a_comment_and_sets_a_key(tmp_path: Path, end: str) -> None:
    """Of a column that is not used, and of one that knows the answer."""
    evil = f"{{}}{end}release: {{policy: {{champion: 'off'}}}}{end}watch: {{act: promote}}{end}#"
    leak, unused = evil.replace("{}", "leak"), evil.replace("{}", "one value")
    answers = ["yes", "no", "no", "yes"] * 50
    table = pl.DataFrame({
        leak: answers, unused: ["same"] * 200, "x": range(200), "y": answers,
    })  # fmt: skip
    text = drafted(tmp_path, table)
    plain = drafted(tmp_path, table.rename({leak: "leak", unused: "one value"}))
    spoken, meant = ([line for line in one.splitlines() if not line.lstrip().startswith("#")]
                     for one in (text, plain))  # fmt: skip
    assert len(spoken) == len(meant), "a long name makes a comment longer, and nothing else"
    assert "not used: one value" in text and "they know the answer" in text
    (tmp_path / "modelwright.yaml").write_text(text, encoding="utf-8")
    assert read_spec(tmp_path / "modelwright.yaml").spec.release.policy == {}
