"""The supervisor: workers that are killed, that cannot start, and a parent that goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import modelwright as mw
from modelwright.serve.listening import bound
from modelwright.serve.server import MOST_FAILED_STARTS, Supervisor, reap_orphans
from modelwright.serve.settings import Settings, Source
from serve.running import Hammer, Running, serving, started, until
from serve.versions import row_of

BODIES = [msgspec.json.encode(row_of(float(size))) for size in range(20)]


@pytest.fixture
def source(released: mw.Released) -> Source:
    """The released folder, served as it is."""
    return Source(name="shop", folder=str(released.run / "artefact"), version="1", tried=True)


def files_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def children(running: Running) -> dict[int, str]:
    """pid -> state, of all children, zombies included."""
    found = {}
    for pid in running.workers():
        try:
            found[pid] = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "seconds"), [(1, 60), (2, 10)])
def test_a_worker_killed_every_second_is_never_missed_for_long(
    source: Source, tmp_path: Path, workers: int, seconds: int
) -> None:
    with (
        serving(tmp_path, source, workers=workers) as running,
        Hammer(running, BODIES, keep_alive=4, connecting=4) as counted,
    ):
        until(lambda: counted.answered > 200)
        files, memory = files_of(running.process.pid), shared(running)
        for kills in range(1, seconds + 1):
            victim = running.workers()[kills % workers]
            os.kill(victim, signal.SIGKILL)
            began, known = time.monotonic(), counted.answered
            until(lambda v=victim: v not in running.workers() and len(running.workers()) == workers)
            until(lambda k=known: counted.answered > k + 20)  # whoever asks is answered soon
            while time.monotonic() - began < 1.0:
                time.sleep(0.02)
        until(lambda: running.metric("modelwright_worker_restarts_total") == seconds)
        assert "Z" not in children(running).values()
        assert files_of(running.process.pid) == files
        assert shared(running) <= memory + 2 and running.metric("modelwright_workers") == workers
    # one request may be in flight for each of the 8 clients, and nobody is refused
    assert set(counted.outcomes) <= {"ok", "lost"} and counted.outcomes["lost"] <= 8 * seconds
    # each of them was sent again until it was answered
    assert set(counted.retried) <= {"ok", "lost"}
    assert sum(counted.retried.values()) == counted.outcomes["lost"]
    slowest = counted.percentile(1.0)
    print(f"{workers} worker(s): {counted.outcomes}, the slowest answer took {slowest:.2f} s")
    assert slowest < 5.0


def shared(running: Running) -> int:
    """Files in shared memory of this server."""
    [worker, *_] = running.workers()
    place = next(path for path in Path("/dev/shm").glob("modelwright-*")
                 if (path / f"{worker}.counts").exists())  # fmt: skip
    return len(list(place.iterdir()))


@pytest.mark.slow
def test_a_worker_that_is_killed_young_is_started_again_for_ever(
    source: Source, tmp_path: Path
) -> None:
    with serving(tmp_path, source) as running:
        for _ in range(MOST_FAILED_STARTS + 5):
            [worker] = running.workers()
            until(lambda: running.predict(row_of()).status == 200)
            os.kill(worker, signal.SIGKILL)
            until(lambda w=worker: running.workers() not in ([w], []))
        assert running.predict(row_of()).status == 200
        assert running.end() == 0


def test_a_lone_worker_that_is_told_to_end_makes_room_for_the_next(
    source: Source, tmp_path: Path
) -> None:
    with (
        serving(tmp_path, source) as running,
        Hammer(running, BODIES, keep_alive=4, connecting=4) as counted,
    ):
        until(lambda: counted.answered > 200)
        [worker] = running.workers()
        os.kill(worker, signal.SIGTERM)
        until(lambda: running.workers() not in ([worker], []))
        known = counted.answered
        until(lambda: counted.answered > known + 200)
    assert set(counted.outcomes) == {"ok"}, counted.outcomes


STUBBORN = """
import sys
from modelwright.serve.listening import Signs
from modelwright.serve.server import Supervisor

def work() -> int:
    return 7

supervisor = Supervisor([work], Signs(1), lambda: None)
supervisor.start()
sys.exit(supervisor.watch(1.0))
"""


@pytest.mark.slow
def test_a_worker_that_cannot_start_is_given_up() -> None:
    done = subprocess.run([sys.executable, "-c", STUBBORN], capture_output=True, text=True,
                          timeout=60)  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("is started again") == MOST_FAILED_STARTS - 1
    assert done.stderr.endswith("a worker cannot start; see above.\n")
    assert Supervisor.__doc__


def test_it_ends_with_the_process_that_started_it(source: Source, tmp_path: Path) -> None:
    config = tmp_path / "settings.json"
    config.write_bytes(msgspec.json.encode(Settings(models=(source,), port=0, quiet=True)))
    words = ["-m", "modelwright.serve", "--config", str(config), "--until-stdin-closes"]
    with started(tmp_path, *words, stdin=subprocess.PIPE) as running:
        workers = running.workers()
        assert running.process.stdin
        running.process.stdin.close()
        assert running.process.wait(20) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


@pytest.fixture
def taken() -> Iterator[int]:
    with bound("127.0.0.1", 0, shared=False) as listener:
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"port": "taken"}, "Cannot listen on 127.0.0.1"),
        ({"grpc_port": "taken"}, "Cannot listen on 127.0.0.1"),
        ({"host": "0.0.0.0"}, "without a token"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(
    source: Source, tmp_path: Path, taken: int, settings: dict[str, object], said: str
) -> None:
    found = {"port": 0} | {k: taken if v == "taken" else v for k, v in settings.items()}
    config = tmp_path / "settings.json"
    config.write_bytes(msgspec.json.encode({"models": [source], **found}))
    done = subprocess.run([sys.executable, "-m", "modelwright.serve", "--config", str(config)],
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 2 and said in done.stderr


def test_nobody_has_to_read_what_it_says(source: Source, tmp_path: Path) -> None:
    config = tmp_path / "settings.json"
    config.write_bytes(msgspec.json.encode(Settings(models=(source,), port=0, workers=2)))
    words = [sys.executable, "-m", "modelwright.serve", "--config", str(config)]
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(words, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        until(lambda: process.poll() is None and len(listed.read_text().split()) == 2)
        for pid in listed.read_text().split():
            os.kill(int(pid), signal.SIGKILL)  # the next ones start as well
        until(lambda: len(listed.read_text().split()) == 2)
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0 and "Traceback" not in said


def test_process_1_buries_what_it_inherits_and_leaves_its_own_children() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as own:
        orphan = subprocess.Popen(["true"])
        os.waitid(os.P_PID, orphan.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{orphan.pid}").exists()  # ended, and nobody has waited for it
        reap_orphans({own.pid})
        assert not Path(f"/proc/{orphan.pid}").exists() and own.poll() is None
        assert own.stdin
        own.stdin.close()
        os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)
        reap_orphans({own.pid})
        assert own.wait(60) == 0


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--workers 0", "--workers is 0, wanted 1 to 256."),
        ("--workers 257", "--workers is 257, wanted 1 to 256."),
        ("--port 65536", "--port is 65536, wanted 0 to 65,535."),
        ("--metrics-port -1", "--metrics-port is -1"),
        ("--grpc-port 70000", "--grpc-port is 70000"),
        ("--max-rows 0", "--max-rows is 0, wanted 1 to"),
        ("--max-body 0", "--max-body is 0, wanted 1 to"),
    ],
)
def test_a_number_out_of_its_bounds_is_refused_by_its_option(option: str, said: str) -> None:
    command = [sys.executable, "-m", "modelwright.serve", "--artefact", "none", *option.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.startswith(f"modelwright: {said}"), done.stderr
    assert done.stderr.count("\n") == 1
