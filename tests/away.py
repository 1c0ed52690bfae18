"""What a test needs of the machine and does not find."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def away(why: str) -> NoReturn:
    """Skip, with a line that says so; `.ci/run` sets CI, where everything is there: then fail.

    Args:
        why: what is missing, and how it is had.
    """
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
