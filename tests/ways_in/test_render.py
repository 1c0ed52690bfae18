"""What people read at the command line, of results that are known."""

from __future__ import annotations

import io
from typing import Literal

import pytest
from rich.console import Console

from modelwright.ways_in.render import show
from modelwright.ways_in.results import ChangeResult


@pytest.mark.parametrize(
    ("action", "back"),
    [("promote", "modelwright rollback shop"), ("rollback", "modelwright promote shop 1")],
)
def test_the_way_back_is_a_command_that_works(
    action: Literal["promote", "rollback"], back: str
) -> None:
    """After a rollback, another one would go on to the version before that."""
    change = ChangeResult(
        action=action, model="shop", champion="2", replaces="1", by="ada", at="now", why=""
    )
    out = io.StringIO()
    show(change, Console(file=out))
    assert out.getvalue().splitlines()[-1] == f"Way back: {back}"
