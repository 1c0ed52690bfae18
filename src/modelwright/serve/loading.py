"""Loads what the registry names, beside what serves, and swaps one reference when it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from modelwright.core.errors import ArtefactError, ModelwrightError, RegistryError, UsageError
from modelwright.core.traffic import Traffic
from modelwright.release.smoke import try_out
from modelwright.serve.aliases import Aliases, Place
from modelwright.serve.dispatch import Models
from modelwright.serve.fallback import Constant
from modelwright.serve.follow import Follower
from modelwright.serve.lanes import Lane, Served
from modelwright.serve.live import LiveModel
from modelwright.serve.metrics import Counts
from modelwright.serve.places import UNDER_WAY
from modelwright.serve.settings import Settings, Source

AGAIN_SECONDS = 30.0
"""A folder that could not be loaded is tried again after this."""
BASELINE = "baseline"
_LOG = logging.getLogger("modelwright.serve")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Wanted:
    """What is to be in service for a model: champion first; and who stands in."""

    champion: Place | None
    others: tuple[Place, ...] = ()
    previous: str = ""
    baseline: Place | None = None
    traffic: Traffic | None = None
    problem: str = ""

    @property
    def places(self) -> tuple[Place, ...]:
        """Every version, each once."""
        first = (self.champion,) if self.champion is not None else ()
        return (*first, *self.others)


def wanted_by(aliases: Aliases) -> Wanted:
    """What a registry's answer means for a server."""
    champion = aliases.place(aliases.champion) if aliases.champion else None
    others = tuple(p for p in aliases.wanted if champion is None or p.version != champion.version)
    problem = aliases.problem
    if champion is None and not problem:
        named = aliases.places.get(aliases.champion)
        problem = named.problem if named is not None else "The registry names no version."
    return Wanted(champion, others, aliases.previous, aliases.baseline, aliases.traffic, problem)


def fixed(source: Source) -> Wanted:
    """A model folder that is served as it is."""
    return Wanted(Place(source.version, source.digest or "", source.folder))


def load_place(source: Source, place: Place, settings: Settings) -> LiveModel:
    """Load a version.

    Raises:
        ArtefactError: see `LiveModel.load`; and whatever else a folder from elsewhere can be wrong
            in, such as a schema that does not fit its graph.
    """
    try:
        return LiveModel.load(
            Path(place.folder),
            settings,
            name=source.name,
            version=place.version,
            digest=place.digest or None,
            tried=source.tried,
        )
    except (ModelwrightError, OSError):
        raise
    except Exception as error:  # the files are anybody's: whatever they break is their refusal
        said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise ArtefactError(
            f"{place.folder} cannot be served: its files do not fit together ({said})."
        ) from error


@dataclass(frozen=True)
class Lives:
    """What was loaded before the workers were forked, so that they share its memory.

    Attributes:
        champions: model -> the version that answers.
        versions: (model, version, digest) -> each of them, champions included.
    """

    champions: dict[str, LiveModel] = field(default_factory=dict)
    versions: dict[tuple[str, str, str], LiveModel] = field(default_factory=dict)

    def clear(self) -> None:
        """Let go of what was not needed."""
        self.champions.clear()
        self.versions.clear()


def load_all(settings: Settings) -> Lives:
    """Load once for all workers what answers and what stands beside it.

    Raises:
        ModelwrightError: a model has no champion that can be loaded. Where it is another version,
            each worker tries that again and says why it cannot be.
    """
    lives = Lives()
    for source in settings.models:
        wanted = _asked_once(source)
        if wanted.champion is None:
            raise UsageError(
                f"{source.name} has no {source.alias} that can be served here. {wanted.problem}",
                hint=f"See: modelwright history {source.name}",
            )
        champion = load_place(source, wanted.champion, settings)
        if settings.constant is not None:
            Constant(champion.schema, settings.constant)
        lives.champions[source.name] = champion
        lives.versions[source.name, wanted.champion.version, wanted.champion.digest] = champion
        for place in (*wanted.others, wanted.baseline):
            if place is not None and place.folder:
                with contextlib.suppress(ModelwrightError, OSError):  # each worker tries and logs
                    live = load_place(source, place, settings)
                    lives.versions.setdefault((source.name, place.version, place.digest), live)
    return lives


def _asked_once(source: Source) -> Wanted:
    if not source.project:
        return fixed(source)
    follower = Follower(source)
    try:
        return wanted_by(follower.state())
    finally:
        follower.close()


class Loader:
    """Keeps the models of a process as the registry wants them.

    Args:
        settings: of the server.
        models: what it fills.
        counts: told of every change.
        lives: versions that were loaded before the fork.

    Attributes:
        changed: called after a change, on the event loop.
        unloaded: models that somebody asked to take out of service.
    """

    def __init__(
        self,
        settings: Settings,
        models: Models,
        counts: Counts,
        lives: Lives,
    ) -> None:
        self._settings, self._models, self._counts = settings, models, counts
        self._lives = lives
        self.changed: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "load")
        self._followers: Mapping[str, Follower] = {
            source.name: Follower(source) for source in settings.models if source.project
        }
        self._one_at_a_time = asyncio.Lock()
        self._failed: dict[tuple[str, str], float] = {}
        self._tried: set[str] | None = None
        self.unloaded: set[str] = set()
        for source in settings.models:
            models.served[source.name] = Served(source.name)

    async def begin(self) -> None:
        """Bring every model into service, from what was loaded before the fork where it can."""
        for source in self._settings.models:
            await self._renew(source)
        self._lives.clear()
        self._tried = {
            lane.live.digest
            for served in self._models.served.values()
            for lane in served.everyone()
        }

    async def follow(self, *, at_once: bool = False) -> None:
        """Look whether the registry or a traffic file says something new, and do it."""
        for source in self._settings.models:
            follower = self._followers.get(source.name)
            if follower is None or source.name in self.unloaded:
                continue
            if at_once or self._is_due(source) or await self._in_thread(follower.changed):
                await self._renew(source)

    async def load(self, name: str) -> None:
        """Take a model that was unloaded into service again, or look anew at its registry."""
        source = self._source(name)
        self.unloaded.discard(name)
        self._failed.clear()
        await self._renew(source)

    def unload(self, name: str) -> None:
        """Take a model out of service; requests under way are still answered."""
        self._source(name)
        self.unloaded.add(name)
        served = self._models.served[name]
        self._models.served[name] = Served(name, problem="unloaded")
        self._retire(list(served.everyone()))
        self.changed()

    def close(self) -> None:
        """End threads and connections."""
        for follower in self._followers.values():
            follower.close()
        self._thread.shutdown(wait=False)

    def _source(self, name: str) -> Source:
        return next(source for source in self._settings.models if source.name == name)

    def _is_due(self, source: Source) -> bool:
        now = time.monotonic()
        return any(name == source.name and at <= now for (name, _), at in self._failed.items())

    async def _renew(self, source: Source) -> None:
        """Ask and arrange as one step: else what was asked first could be put into service last."""
        async with self._one_at_a_time:
            await self._arrange(source, await self._look(source))

    async def _look(self, source: Source) -> Wanted:
        follower = self._followers.get(source.name)
        if follower is None:
            return fixed(source)
        try:
            return wanted_by(await self._in_thread(follower.state))
        except RegistryError as error:
            return Wanted(None, problem=str(error))

    async def _arrange(self, source: Source, wanted: Wanted) -> None:
        """Load what is new, then put it into service in one step; nothing if it was unloaded."""
        served = self._models.served[source.name]
        lanes: dict[str, Lane] = {}
        problem = wanted.problem
        for place in wanted.places:
            lane, why = await self._lane(source, place, served.lanes.get(place.version))
            if lane is not None:
                lanes[place.version] = lane
            problem = problem or why
        baseline = served.baseline
        if wanted.baseline is not None:
            baseline, _ = await self._lane(source, wanted.baseline, served.baseline, BASELINE)
        champion = lanes.get(wanted.champion.version) if wanted.champion is not None else None
        before = served.champion
        if champion is None:  # never without one: the old version goes on
            champion = (
                before or lanes.get(wanted.previous) or self._from_before_the_fork(source, lanes)
            )
            if champion is not None:
                lanes.setdefault(champion.version, champion)
        known = {
            (source.name, place.folder) for place in (*wanted.places, wanted.baseline) if place
        }
        self._failed = {
            key: at for key, at in self._failed.items() if key[0] != source.name or key in known
        }
        if source.name in self.unloaded or self._models.served[source.name] is not served:
            held = list(served.everyone())
            self._retire([new for new in (*lanes.values(), baseline) if new and new not in held])
            return
        old = [lane for lane in served.everyone() if lane not in (*lanes.values(), baseline)]
        served.champion, served.lanes, served.baseline = champion, lanes, baseline
        served.previous = lanes.get(wanted.previous)
        if served.previous is None and before is not champion and before in old:
            served.previous = before  # the way back, where the registry names none
            old.remove(before)
            lanes[before.version] = before
        lost = wanted.champion is None and problem and not problem.endswith(UNDER_WAY)
        if lost and problem != served.problem:
            self._counts.reload(source.name, "failed")
        served.traffic, served.problem = wanted.traffic, problem
        served.constant = self._constant(champion)
        if champion is not None and before is not champion:
            self._counts.reload(source.name, "ok")
            if before is not None:
                pair = champion.version, before.version
                _LOG.warning("%s: version %s answers from now on, before it %s", source.name, *pair)
        self._retire(old)
        self.changed()

    def _from_before_the_fork(self, source: Source, lanes: Mapping[str, Lane]) -> Lane | None:
        """A worker that is started again while the newest version is damaged, or the registry gone,
        still has what the supervisor began with."""
        live = self._lives.champions.get(source.name)
        if live is None:
            return None
        there = lanes.get(live.version)
        return there or Lane(live, self._settings, self._counts, self._loop)

    async def _lane(
        self, source: Source, place: Place, known: Lane | None, called: str = ""
    ) -> tuple[Lane | None, str]:
        """The lane of a version: the one there is, or a new one; and why there is none."""
        if known is not None and (not place.digest or known.live.digest == place.digest):
            return known, ""
        if not place.folder:
            return known, place.problem
        key = (source.name, place.folder)
        if self._failed.get(key, 0.0) > time.monotonic():
            return known, self._models.served[source.name].problem
        live = self._lives.versions.pop((source.name, place.version, place.digest), None)
        try:
            if live is None:
                live = await self._in_thread(lambda: self._load(source, place))
        except (ModelwrightError, OSError) as error:
            _LOG.error("%s version %s was refused: %s", source.name, place.version, error)
            self._failed[key] = time.monotonic() + AGAIN_SECONDS
            self._counts.reload(source.name, "refused")
            return known, str(error)
        self._failed.pop(key, None)
        if called:
            live.version = called
        return Lane(live, self._settings, self._counts, self._loop), ""

    def _load(self, source: Source, place: Place) -> LiveModel:
        """Load a version; beside others that serve only after a child has answered with it, since
        a few hundred bytes may ask for any amount of memory."""
        if self._tried is not None and place.digest and place.digest not in self._tried:
            try_out(Path(place.folder), place.digest)
            self._tried.add(place.digest)
        return load_place(source, place, self._settings)

    def _constant(self, champion: Lane | None) -> Constant | None:
        """The answer of last resort; a schema that has no such label goes without, and says so."""
        if champion is None or self._settings.constant is None:
            return None
        try:
            return Constant(champion.live.schema, self._settings.constant)
        except UsageError as error:
            _LOG.error("%s", error)
            return None

    def _retire(self, lanes: list[Lane]) -> None:
        """Take versions out of service; who has asked one already still gets its answer."""
        for lane in lanes:
            lane.tick(time.perf_counter())
            lane.close()
            self._models.retired.append(lane)
            left = self._models.served[lane.live.model].everyone()
            if lane.version not in [other.version for other in left]:
                self._counts.retire(lane.live.model, lane.version)

    async def _in_thread(self, work: Callable[[], Found]) -> Found:
        return await self._loop.run_in_executor(self._thread, work)
