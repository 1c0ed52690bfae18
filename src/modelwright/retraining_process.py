"""Retraining beside a watcher: when it is due, as a process of its own that outlives the watcher.

A search takes minutes and all the memory that it can get; looks go on meanwhile. What was cut off,
by whatever, is gone on with.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from modelwright.core.intake import Array
from modelwright.core.records import Finding, ReleaseRecord
from modelwright.core.runs import RELEASE, has_ended
from modelwright.core.spec_file import SpecFile
from modelwright.core.store import from_json, held_file, is_held, is_in_use, write_atomic
from modelwright.core.writer import present_writer
from modelwright.release.audit import MOVES, AuditLog
from modelwright.release.registry import Version
from modelwright.release.verdict import headline
from modelwright.retraining import FOLDER, goes_on, past_retrainings, unfinished
from modelwright.serve.journal_store import place_of
from modelwright.serve.labels import files, read_one
from modelwright.watch.episodes import Episode
from modelwright.watch.look import Advice
from modelwright.watch.loop import Look
from modelwright.watch.state import Memory, Said
from modelwright.watch.times import unix
from modelwright.watch.triggers import Facts, Past, Plan, plan

TOLD = "retraining"
"""Under which a watcher remembers of which start it has told the outcome."""
REST_SECONDS = 3600.0
_ARRIVED = ("request_id", "row", "arrived")
CAUSES = {"quality": "quality", "quality alarm": "quality", "score drift": "score drift"}
"""Cause of an episode -> trigger that it is."""


class Tried(msgspec.Struct, frozen=True):
    """What watchers of a model have started, whichever of them lives.

    Attributes:
        begun: Unix time of the last one that was begun.
        resumed: runs that were gone on with: one that fails again is left to people.
        ended: whether that one ended by itself, so that it would end so again.
        again: whether it was begun in the place of one that was killed before it was on the list.
        started: Unix time at which the last process was started; 0 for none.
        resumes: whether that one goes on with the last of `resumed`.
    """

    begun: float = 0.0
    resumed: tuple[str, ...] = ()
    ended: bool = False
    again: bool = False
    started: float = 0.0
    resumes: bool = False


@dataclass
class Trainings:
    """Retrainings of one model.

    Attributes:
        running: the process of this watcher while it goes on; None for none. Under cron the watcher
            that started one is gone when it ends.
        arrivals: of labels.
    """

    spec_file: SpecFile
    running: subprocess.Popen[bytes] | None = None
    arrivals: Arrivals = field(default_factory=lambda: Arrivals())

    @property
    def is_alive(self) -> bool:
        """Whether a process that a watcher started goes on, whichever watcher that was."""
        return self.running is not None or is_held(self._log)

    def due(self, look: Look, champion: Version, journal: str) -> Plan:
        """Whether to train anew, from what a look found."""
        spec, past = self.spec_file.spec.watch.retrain, self._past()
        tried = self._tried()
        if _rests(tried.begun, past, time.time()):
            if goes_on(self.spec_file.folder, champion.model):
                return Plan(False, stopped="one that was begun looks at its data")
            if tried.ended or tried.again:
                why = "the last one could not begin; it is tried again in an hour"
                return Plan(False, stopped=why)
        if holder := present_writer(self.spec_file.folder):
            return Plan(False, stopped=f"{holder.who} writes in this project: {holder.what}")
        trained = champion.created / 1e3
        since = max([trained, *(one.at for one in past)])
        episodes = _triggers(look.open, self._promoted(champion))
        asked = bool(episodes) or not {"labels", "age", "limit"}.isdisjoint(spec.on)
        labels = self.arrivals.since(journal, look.model, since) if asked else 0
        facts = Facts(
            now=look.at, champion=champion.number, trained=trained, episodes=episodes,
            broken=_broken(look), labels=labels, past=past,
        )  # fmt: skip
        return plan(facts, spec)

    def _promoted(self, champion: Version) -> float:
        """When it became champion; what went on before is the fault of the one before."""
        lines = AuditLog(self.spec_file.folder).lines(champion.model)
        moves = [one for one in lines if one.action in MOVES]
        mine = [unix(one.at) for one in moves if one.version == champion.number]
        return max(mine, default=0.0)

    def cut_off(self, champion: Version) -> Path | None:
        """A retraining against the champion that nobody goes on with, once it could be gone on
        with: while somebody else writes in the project it would be refused."""
        folder = self.spec_file.folder
        found = unfinished(folder, champion.model, champion.number)
        if found is None or self.running is not None or is_in_use(found):
            return None
        if present_writer(folder) is not None:
            return None
        return None if found.name in self._tried().resumed else found

    def go_on(self, run: Path) -> str:
        """Start a process for one that was cut off; says what was done."""
        tried = self._tried()
        resumed = (*tried.resumed, run.name)
        self._start(["--resume"], msgspec.structs.replace(tried, resumed=resumed, resumes=True))
        return f"went on with retraining {run.name}, which was cut off"

    def begin(self, why: str) -> str:
        """Start a process; says what was done."""
        tried, now = self._tried(), time.time()
        again = _rests(tried.begun, self._past(), now)
        begun = Tried(begun=now, resumed=tried.resumed, again=again)
        self._start(["--why", why], begun)
        return f"began to retrain: {why}"

    def _start(self, arguments: list[str], tried: Tried) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.unlink(missing_ok=True)  # whoever has the old one open holds up nobody
        command = [sys.executable, "-m", "modelwright", "retrain", str(self.spec_file.path)]
        command += ["--json", *arguments]
        for key, text in self.spec_file.overrides.items():
            command += ["--set", f"{key}={text}"]
        with held_file(self._log) as output:  # held on by the process, as long as it lives
            self._keep(msgspec.structs.replace(tried, started=time.time()))
            self.running = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def ended(self) -> str:
        """What became of the last one that a watcher started; empty while it goes on."""
        code = None
        if self.running is not None:
            code = self.running.poll()
            if code is None:
                return ""
            self.running = None
        tried = self._tried()
        if not tried.started or (code is None and is_held(self._log)):
            return ""
        text = self._log.read_text("utf-8", "replace") if self._log.exists() else ""
        said = _said(text)
        if (said or (code or -1) >= 0) and not tried.ended:  # else somebody killed it
            self._keep(msgspec.structs.replace(tried, ended=True))
        return f"retraining ended: {_in_words(said) or self._left(tried) or _killed(code)}"

    def tell(self, memory: Memory, now: float) -> str:
        """The same once, over all watchers of the model: it is remembered with the event."""
        model, start = self.spec_file.spec.name, repr(self._tried().started).encode()
        if memory.state(model, TOLD) == start:
            return ""
        ended = self.ended()
        if ended:
            with memory.change() as connection:
                memory.remember(connection, model, TOLD, now, start)
                memory.say(connection, [Said(now, model, done=ended)])
        return ended

    def _left(self, tried: Tried) -> str:
        """What the folder of its run says, where the process did not; empty where it was not
        judged."""
        runs = [past.run for past in self._past() if past.at >= tried.begun]
        run = tried.resumed[-1] if tried.resumes else runs[-1] if runs else ""
        folder = self.spec_file.folder / "runs" / run
        if not run or not has_ended(folder):
            return ""
        record = from_json((folder / RELEASE).read_bytes(), ReleaseRecord)
        return _of_version(record.version, record.alias) if record.version else headline(record)

    def _tried(self) -> Tried:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Tried)
        except (FileNotFoundError, msgspec.MsgspecError):
            return Tried()

    def _keep(self, tried: Tried) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self._path, msgspec.json.encode(tried))

    @property
    def _path(self) -> Path:
        return self.spec_file.folder / FOLDER / f"{self.spec_file.spec.name}.tried.json"

    @property
    def _log(self) -> Path:
        return self.spec_file.folder / FOLDER / f"{self.spec_file.spec.name}.log"

    def _past(self) -> tuple[Past, ...]:
        return past_retrainings(self.spec_file.folder, self.spec_file.spec.name)


def _rests(begun: float, past: Sequence[Past], now: float) -> bool:
    """Whether the last one that was begun lately is not on the list of retrainings: it still looks
    at its data, could not begin, or was killed before it had written them down."""
    return now - begun < REST_SECONDS and not any(one.at >= begun for one in past)


class Arrivals:
    """Labels by their arrival, of a model: each file of them is read once."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[Array, Array]] = {}
        self._last: tuple[float, int] | None = None

    def since(self, journal: str, model: str, since: float) -> int:
        """Answers whose label became known after a time; about, where two ids share a hash."""
        place = place_of(journal)
        wanted = {file.name for file in files(place, model) if file.end >= since}
        if wanted == self._files.keys() and self._last is not None and self._last[0] == since:
            return self._last[1]
        self._files = {name: found for name, found in self._files.items() if name in wanted}
        for name in sorted(wanted - self._files.keys()):
            with suppress(FileNotFoundError):  # merged: it is in another one at the next look
                self._files[name] = _arrived(read_one(place, name, _ARRIVED))
        late = [ids[arrived > since * 1e6] for ids, arrived in self._files.values()]
        count = len(np.unique(np.concatenate(late))) if late else 0
        self._last = since, count
        return count


def _arrived(table: Any) -> tuple[Array, Array]:
    """(a hash of each answered row, microseconds at which its label arrived)."""
    found = pl.DataFrame(pl.from_arrow(table.select(["request_id", "row"])))
    return found.hash_rows(seed=7).to_numpy(), table["arrived"].cast("int64").to_numpy()


def advised(found: Plan) -> Advice | None:
    """The plan as advice; None where nothing is to be done."""
    return Advice("retrain", "", found.why, found.findings) if found.retrain else None


def _triggers(open_now: dict[str, Episode], since: float) -> dict[str, str]:
    """Of the episodes that began since a time."""
    found: dict[str, str] = {}
    for cause, episode in open_now.items():
        trigger = CAUSES.get(cause)
        if trigger is not None and unix(episode.began) >= since:
            found[trigger] = min(episode.began, found.get(trigger, episode.began))
    return found


def _broken(look: Look) -> tuple[str, ...]:
    """Limits of the spec on quality that are broken; a slow server is not mended by training."""
    findings: Sequence[Finding] = [
        f for part in look.parts if part.part == "quality" for f in part.findings
    ]
    return tuple(f.subject for f in findings if f.check == "limit" and f.verdict == "fail")


def _said(text: str) -> dict[str, Any]:
    """The result that a process wrote; libraries may say something around it."""
    said: dict[str, Any] = {}
    for line in re.finditer("^{", text, re.MULTILINE):
        with suppress(json.JSONDecodeError):
            said, _ = json.JSONDecoder().raw_decode(text, line.start())
    return said


def _in_words(said: dict[str, Any]) -> str:
    """A result in one line; empty where there is none."""
    if "error" in said:
        return str(said["error"].get("message", ""))[:500]
    run = said.get("run") or {}
    if run.get("version"):
        return _of_version(run["version"], run.get("alias"))
    if "verdict" in run:
        return str(run.get("headline") or f"verdict {run['verdict']}")[:500]
    return ""


def _of_version(version: str, alias: str | None) -> str:
    return f"version {version} is {alias or 'registered'}"


def _killed(code: int | None) -> str:
    """How one ended that left no word."""
    return "it was killed, or the machine went down" if code is None else f"exit code {code}"
