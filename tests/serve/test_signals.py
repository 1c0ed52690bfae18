"""No moment of a server's start at which a signal is lost, or kills it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

import modelwright as mw


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("lines", [0, 1])
def test_a_signal_at_the_start_ends_it_in_order(
    released: mw.Released, number: signal.Signals, lines: int
) -> None:
    """After its first line (it listens), and while it loads: from the moment Python is up."""
    code = (
        "from modelwright.serve import server; print('up', flush=True);"
        "from modelwright.serve.settings import Settings, Source;"
        f"source = Source(name='shop', folder={str(released.run / 'artefact')!r}, tried=True);"
        "server.hold_signals() or print('holds', flush=True);"
        "raise SystemExit(server.serve(Settings(models=(source,), port=0, quiet=True)))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as found:
        assert found.stdout
        for _ in range(2 + lines):
            found.stdout.readline()
        found.send_signal(number)
        began = time.monotonic()
        assert found.wait(20) == 0
        assert time.monotonic() - began < 15


def test_waiting_signals_come_one_by_one() -> None:
    code = (
        "import os, signal; from modelwright.serve.signals import awaited, hold_signals;"
        "hold_signals(); os.kill(os.getpid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGHUP);"
        "print(sorted([awaited(1.0), awaited(1.0)]), awaited(0.01))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split("]")[0] == f"[{int(signal.SIGHUP)}, {int(signal.SIGTERM)}"
    assert done.stdout.strip().endswith("] 0")
