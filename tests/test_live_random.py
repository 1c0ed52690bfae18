"""The closed loop while server, workers, watcher and trainer are killed when nobody expects it.

The seed gives who is killed and when; MODELWRIGHT_SEED takes another one.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import modelwright as mw
from modelwright.serve import journal_files, labels
from modelwright.serve.journal_store import place_of
from modelwright.watch.database import Database
from modelwright.watch.state import Memory
from projects import EXAMPLES
from serve.running import until
from test_live import Stream, address_of, command, done, replay, trainer

SEED = int(os.environ.get("MODELWRIGHT_SEED", "1"))
KILLS, PAUSE = 20, (0.2, 3.0)
"""Kills, and seconds before each; the loop needs some dozen seconds to get round."""
UNWRITTEN = 8.0
"""Seconds of answers that a kill may cost: half a second until a segment is full, and the time that
its thread waits for a processor on a machine of two."""


class Told(Stream):
    """A stream that keeps what was confirmed to it: id -> when."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.answered: dict[str, float] = {}
        self.labelled: dict[str, float] = {}

    def run(self) -> None:
        player = replay()
        ask = player.ask

        def noted(address: str, path: str, body: Any, name: str) -> None:
            ask(address, path, body, name)
            at = time.monotonic()
            if path == "/predict":
                self.answered[name] = at
            else:
                self.labelled |= {one["request_id"]: at for one in body["labels"]}

        player.ask = noted
        while not self.ending.is_set():
            player.play(self.address, 36_000, 200.0, 400, self.ending.is_set)


class Service:
    """A server and a watcher that are started again whenever they are killed, as an init system
    does it; and who kills them.

    Attributes:
        ended: when the server or a worker of it was killed.
        killed: serve, worker, watch or trainer -> how often it ran and was killed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ended: list[float] = []
        self.killed: Counter[str] = Counter()
        self.running: dict[str, Any] = {}

    def start(self, name: str) -> None:
        if name == "serve":
            until(self._serve, "a server that has the port of the one before", 30.0)
        else:
            self._begin("watch", "watch")

    def _serve(self) -> bool:
        """False while workers of the one before still hold the port, which ends by itself."""
        context, process = self._begin("serve", "serve", "elec2")
        try:
            self.address = address_of(process)
        except AssertionError:
            context.__exit__(None, None, None)
            return False
        return True

    def _begin(self, name: str, *words: str) -> tuple[Any, subprocess.Popen[str]]:
        context = command(self.folder, *words)
        self.running[name] = context, context.__enter__()
        return self.running[name]

    def kill(self, name: str) -> None:
        """Kill it as nothing else does, and start it again."""
        context, process = self.running.pop(name)
        self.killed[name] += process.poll() is None
        process.kill()
        if name == "serve":
            self.ended.append(time.monotonic())
        context.__exit__(None, None, None)
        self.start(name)

    def kill_a_worker(self) -> bool:
        """Whether there was one."""
        server = self.running["serve"][1].pid
        found = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        return bool(found) and self._killed("worker", int(found[0]))

    def kill_a_trainer(self) -> bool:
        """Whether there was one."""
        found = trainer(self.folder)
        return bool(found) and self._killed("trainer", found)

    def _killed(self, name: str, process: int) -> bool:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.killed[name] += 1
        if name == "worker":
            self.ended.append(time.monotonic())
        return True

    def stop(self) -> None:
        for context, _ in self.running.values():
            context.__exit__(None, None, None)


def kill_by_chance(kept: Service, chance: random.Random) -> None:
    """Kill one after the other, and in the end whoever was spared by chance."""
    ways = {
        "serve": lambda: kept.kill("serve"),
        "worker": kept.kill_a_worker,
        "watch": lambda: kept.kill("watch"),
        "trainer": kept.kill_a_trainer,
    }
    for _ in range(KILLS):
        time.sleep(chance.uniform(*PAUSE))
        ways[chance.choice(list(ways))]()
    for name in ("serve", "watch"):
        if not kept.killed[name]:
            kept.kill(name)
    until(lambda: kept.killed["worker"] or kept.kill_a_worker(), "a worker to be killed", 60.0)


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    made = Service(folder)
    try:
        made.start("serve")
        made.start("watch")
        yield made
    finally:
        made.stop()


@pytest.mark.slow
@pytest.mark.alone
def test_nothing_is_lost_or_half_done_whenever_it_is_killed(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXAMPLES / "elec2", tmp_path / "elec2"))
    replay().history(folder)
    spec = folder / "modelwright.yaml"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spec.write_text(spec.read_text().replace("port: 8737", f"port: {port}")
                    .replace("most_a_day: 9", "most_a_day: 99"))  # fmt: skip
    mw.run(spec)
    chance = random.Random(SEED)
    memory = Memory(Database(folder / ".modelwright" / "watch.db"))
    with service(folder) as kept:
        stream = Told(kept.address)
        stream.start()
        until(lambda: any(s.event for s in memory.said("elec2")), "an episode", 240.0)
        until(lambda: trainer(folder), "a trainer", 240.0)
        time.sleep(chance.uniform(*PAUSE))
        until(kept.kill_a_trainer, "a trainer to be killed", 240.0)
        kill_by_chance(kept, chance)
        told, asked = len(memory.said("elec2")), len(stream.answered)
        until(lambda: len(stream.answered) > asked + 500, "answers after all of it", 60.0)
        until(lambda: len(memory.said("elec2")) > told, "news from the watcher", 240.0)
        until(lambda: any("began to retrain" in d or "went on" in d for d in done(memory)),
              "a retraining", 240.0)  # fmt: skip
        assert set(+kept.killed) == {"serve", "worker", "watch", "trainer"}, kept.killed
        stream.ending.set()
        stream.join(60)
        assert not stream.is_alive()
    until(lambda: not trainer(folder), "the end of the last trainer", 240.0)
    place = place_of(str(folder / "journal"))
    kept_labels = set(labels.read(place, "elec2", columns=["request_id"])[0].to_pylist())
    assert not set(stream.labelled) - kept_labels, "labels that were confirmed are on disk"
    lost = set(stream.answered) - journalled(folder)
    for one in sorted(lost):
        at = stream.answered[one]
        assert any(at <= end + 0.1 and end <= at + UNWRITTEN for end in kept.ended), (one, at)
    print(f"seed {SEED}: {len(stream.answered)} answered, {len(lost)} lost; killed: "
          f"{dict(kept.killed)}; said: {done(memory)}")  # fmt: skip
    keys = [(s.event.what, s.event.episode.id) for s in memory.said("elec2") if s.event]
    assert len(keys) == len(set(keys))
    assert mw.AuditLog(folder).broken_at() is None
    whole = subprocess.run(
        [sys.executable, "-m", "modelwright", "doctor"], cwd=folder, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert whole.returncode == 0, whole.stdout + whole.stderr


def journalled(folder: Path) -> set[str]:
    """Ids of all answers that are in whole segments."""
    table = journal_files.rows(folder / "journal", "elec2", columns=["request_id"])
    return set(table["request_id"].to_pylist())
