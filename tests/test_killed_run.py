"""`run` and `promote` killed at random moments, again and again, and then ended: nothing is lost or
left over.

The seed gives the moments; MODELWRIGHT_SEED takes another one, MODELWRIGHT_KILLS as many kills.
"""

from __future__ import annotations

import os
import random
import signal
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

import killed
import modelwright as mw
from modelwright.core.runs import past_runs
from modelwright.release.registry import Registry
from modelwright.ways_in.doctor import examine
from projects import make_shop
from release.records import register_again

SEED = int(os.environ.get("MODELWRIGHT_SEED", "1"))
KILLS = int(os.environ.get("MODELWRIGHT_KILLS", "50"))
LONG_AGO = time.time() - 7200


def begun(folder: Path) -> ForkServerProcess:
    """A run, or where one was cut short the rest of it, in a process of its own."""
    if past_runs(folder):
        mw.history("shop", folder=folder)  # any next command: it ends a cut-off registration
    cut_short = any(not run.ended for run in past_runs(folder))
    return killed.begun(killed.resume_quickly if cut_short else killed.run_quickly, folder)


def ended(folder: Path) -> float:
    """One that nobody kills; its seconds."""
    started = time.monotonic()
    process = begun(folder)
    process.join(120)
    assert process.exitcode == 0, f"seed {SEED}"
    return time.monotonic() - started


def reached(folder: Path) -> str:
    """The last file that a run wrote, to tell where the kill met it."""
    files = [path for path in (folder / "runs").rglob("*") if path.is_file()]
    newest = max(files, key=lambda path: path.stat().st_mtime_ns, default=None)
    return "nothing" if newest is None else str(newest.relative_to(folder / "runs"))


@pytest.mark.slow
@pytest.mark.alone
def test_a_run_killed_at_random_moments(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    make_shop(tmp_path)
    ended(tmp_path)  # the first one loads the libraries
    longest = ended(tmp_path)
    kills = 0
    while kills < KILLS:
        process, after = begun(tmp_path), chance.uniform(0.0, longest)
        process.join(after)
        if process.is_alive():
            process.kill()
            process.join(30)
        assert process.exitcode in (0, -signal.SIGKILL), f"seed {SEED}, after {after:.2f} s"
        if process.exitcode:
            kills += 1
            print(f"kill {kills} after {after:.2f} of {longest:.2f} s, behind {reached(tmp_path)}")
    ended(tmp_path)
    versions_are_those_of_the_runs(tmp_path)
    nothing_is_left_over(tmp_path)


@pytest.mark.slow
@pytest.mark.alone
def test_a_promotion_killed_at_random_moments(project: Path, tmp_path: Path) -> None:
    """To and fro between two versions: the old champion or the new one, and any next command ends
    what was begun."""
    chance = random.Random(SEED)
    folder = killed.copied(register_again(project, "2"), tmp_path / "copy")
    began = time.monotonic()
    done = killed.begun(killed.promote_second, folder)
    done.join(120)
    longest, kills, ended = time.monotonic() - began, 0, 0
    assert done.exitcode == 0
    while kills < KILLS:
        wanted = "1" if champion(folder) == "2" else "2"
        process = killed.begun(killed.TO[wanted], folder)
        process.join(chance.uniform(0.0, longest))
        if process.is_alive():
            process.kill()
            process.join(30)
        assert process.exitcode in (0, -signal.SIGKILL), f"seed {SEED}"
        kills += process.exitcode != 0
        versions, _ = mw.history("shop", folder=folder)  # any next command
        assert {version.number for version in versions} == {"1", "2"}
        assert champion(folder) in ("1", "2")
        log = mw.AuditLog(folder)
        lines = [line for line in log.lines("shop") if line.action != "void"]
        assert log.broken_at() is None and log.lines("shop")[-1].version == champion(folder)
        assert not (folder / ".modelwright" / "pending.json").exists()
        ended += champion(folder) == wanted
        assert mw.load("shop", folder=folder).digest and lines
    print(f"{kills} kills, {ended} changes came through, of {longest:.2f} s each")
    assert mw.promote("shop", "1" if champion(folder) == "2" else "2", folder=folder)
    assert mw.load("shop", folder=folder).digest


def champion(folder: Path) -> str:
    """Number of the version in production."""
    found = Registry(folder).aliased("shop", "champion")
    assert found is not None
    return found.number


def versions_are_those_of_the_runs(folder: Path) -> None:
    """What finished runs say is what the registry has, and all of it is whole."""
    ended = [run.folder for run in past_runs(folder) if run.ended]
    releases = [mw.records_of(run.name, folder=folder).release for run in ended]
    said = {release.version: release.run for release in releases if release.version}
    versions, _ = mw.history("shop", folder=folder)
    assert {version.number: version.run for version in versions} == said
    assert all(mw.load(f"shop/{number}", folder=folder).digest for number in said)
    for finding in examine(folder):
        assert finding.verdict == "pass" or finding.check in ("disk", "threads"), finding


def nothing_is_left_over(folder: Path) -> None:
    """What a kill left half-written behind a run's end, gc takes when it is an hour old."""
    for part in folder.rglob("*.part"):
        os.utime(part, (LONG_AGO, LONG_AGO))
    mw.gc(folder, apply=True)
    assert not list(folder.rglob("*.part"))
    for run in (run.folder for run in past_runs(folder) if run.ended):
        hidden = [str(path.relative_to(run)) for path in run.rglob(".*")]
        assert hidden == [".lock"], f"seed {SEED}: {run.name}"
