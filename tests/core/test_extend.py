"""Short names and package.module:Name."""

from __future__ import annotations

import pytest

from modelwright.core.errors import UsageError
from modelwright.core.extend import resolve


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lightgmb", "did you mean 'lightgbm'?"),
        ("no.such.module:X", "Cannot import family"),
        ("os:nothing", "os has no 'nothing'"),
    ],
)
def test_wrong_names(name: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(name, {"lightgbm": "os:path"}, kind="family")
    assert said in str(caught.value)
