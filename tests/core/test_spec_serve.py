"""`serve` in the spec: what cannot work is refused where it is written."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modelwright.core.spec_serve import JournalSpec


@pytest.mark.parametrize("to", ["journal", "/var/journal", "file:///j", "s3://b/j", "memory://j",
                                "simplecache::s3://b/j"])  # fmt: skip
def test_a_journal_may_be_at_what_fsspec_writes(to: str) -> None:
    assert JournalSpec(to=to).to == to


@pytest.mark.parametrize("to", ["gopher://a/b", "://b", "simplecache::gopher://a"])
def test_a_journal_at_an_unknown_kind_of_url_is_refused(to: str) -> None:
    with pytest.raises(ValidationError, match=r"fsspec knows no .*://; wanted a folder"):
        JournalSpec(to=to)
