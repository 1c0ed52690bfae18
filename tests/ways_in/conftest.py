"""A project with a job that waits."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelwright.ways_in import jobs
from waiting import PIPE, pid_of


@pytest.fixture
def held(shop: Path) -> Iterator[Path]:
    """A project in which `spec --file pipe.yaml` waits; whatever still waits at the end dies."""
    os.mkfifo(shop / PIPE)
    yield shop
    for id in (one.id for one in jobs.all_jobs(shop) if one.state == "running"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid_of(shop, id), signal.SIGKILL)
