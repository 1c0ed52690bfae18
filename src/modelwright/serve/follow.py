"""What the registry says now: which version each alias names, and where its files are.

A local project is read straight from MLflow's SQLite file, and a tracking server is asked over its
REST interface, both without MLflow: it takes seconds and 400 MB to import. Whatever cannot be asked
now keeps its last answer, and says since when.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from modelwright.core.errors import ModelwrightError, RegistryError, UsageError
from modelwright.core.records import AuditLine
from modelwright.core.store import from_json, to_json, write_atomic
from modelwright.core.traffic import Traffic
from modelwright.release.audit import FILE, AuditLog, previous
from modelwright.release.moved import differs, note_unless_busy
from modelwright.serve.aliases import BASELINE, DIGEST, RUN, Aliases, Known, Place
from modelwright.serve.fallback import CHAMPION
from modelwright.serve.local_registry import LocalRegistry
from modelwright.serve.places import Places
from modelwright.serve.remote_registry import RemoteRegistry
from modelwright.serve.settings import Seconds, Source
from modelwright.serve.traffic import TrafficFile

FOLLOWED = Path(".modelwright") / "followed"


class Follower:
    """Follows one model of a project's registry.

    To be made after a fork, and used by one thread. `changed` costs some microseconds; `state` may
    take milliseconds (it reads and checks the files of a version that is new), so that it belongs
    into a thread where requests are answered.

    Args:
        source: with its `project`; MLFLOW_TRACKING_URI says where the registry is, as everywhere.
        interval: seconds between two questions to a tracking server.

    Raises:
        UsageError: the registry is of a kind that cannot be followed.

    Example:
        follower = Follower(Source(name="income", project="."))
        if follower.changed():
            now = follower.state()
    """

    def __init__(self, source: Source, *, interval: Seconds = 1.0) -> None:
        self._source = source
        self._folder = Path(source.project)
        self._file = TrafficFile(self._folder, source.name)
        self._places = Places(self._folder, source.name)
        self._registry = registry_of(self._folder, source.name, interval)
        self._keeps = isinstance(self._registry, RemoteRegistry)
        self._audit: tuple[int, int] | None = None
        self._lines: list[AuditLine] = []
        self._read = 0
        self._champions: list[str] = []
        self._last: Aliases | None = None
        self._again = False

    def changed(self) -> bool:
        """Whether `state` may be another than before."""
        # each is asked, since each remembers that it was
        return any(
            [
                self._last is None or self._again,
                self._registry.changed(),
                self._file.changed(),
                self._audit_stat() != self._audit,
                self._places.changed(),
            ]
        )

    def state(self) -> Aliases:
        """Ask, and look for the files.

        Raises:
            RegistryError: it cannot be asked, and never could.
        """
        self._file.changed()
        traffic = self._file.traffic
        named = traffic.versions if traffic else ()
        try:
            known = self._registry.read(named)
            self._again = self._noted(known)
            champion = known.aliases.get(self._source.alias, "")
            before = self._previous(champion)
            if before and before not in known.tags:
                known = self._registry.read((*named, before))
        except RegistryError as error:
            return self._stale(error, traffic)
        self._last = self._found(known, champion, before, traffic)
        if self._keeps:
            write_atomic(self._kept_path, to_json(self._last))
        return self._last

    def close(self) -> None:
        """End what runs beside: connections, a thread, a fetch."""
        self._registry.close()
        self._places.close()

    def _found(self, known: Known, champion: str, before: str, traffic: Traffic | None) -> Aliases:
        places = {
            version: self._place(version, tags.get(DIGEST, ""), tags.get(RUN, ""))
            for version, tags in known.tags.items()
        }
        baseline = None
        digest = known.tags.get(champion, {}).get(BASELINE, "")
        if digest:
            baseline = self._place(champion, digest, known.tags[champion].get(RUN, ""), "baseline")
        return Aliases(
            model=self._source.name,
            champion=champion,
            aliases=known.aliases,
            previous=before if before in places else "",
            places=places,
            baseline=baseline,
            traffic=traffic,
            problem=self._file.problem,
        )

    def _noted(self, known: Known) -> bool:
        """Record a champion that was moved outside modelwright; whether to look again, since
        another change is being made. A tracking server's last answer may be older than the audit
        log, so that there the next command records it."""
        name, registry = self._source.name, self._registry

        def champion() -> str:
            return registry.read(()).aliases.get(CHAMPION, "")

        if self._keeps or not differs(self._folder, name, known.aliases.get(CHAMPION, "")):
            return False
        return note_unless_busy(self._folder, name, champion)

    def _place(self, version: str, digest: str, run: str, what: str = "artefact") -> Place:
        folder, problem = self._places.find(version, digest, run, what)
        return Place(version, digest, folder, problem)

    def _stale(self, error: RegistryError, traffic: Traffic | None) -> Aliases:
        """The last good answer with the traffic file of now; after a restart the one on disk."""
        last = self._last
        if last is None and self._keeps:
            last = self._kept()
        if last is None:
            raise error
        since = last.stale_since or time.time()
        self._last = msgspec.structs.replace(
            last, traffic=traffic, stale_since=since, problem=str(error)
        )
        return self._last

    @property
    def _kept_path(self) -> Path:
        return self._folder / FOLLOWED / f"{self._source.name}.{self._source.alias}.json"

    def _kept(self) -> Aliases | None:
        """What an earlier process was told; only files that are still here count."""
        path = self._kept_path
        try:
            kept = from_json(path.read_bytes(), Aliases, where=str(path))
            since = kept.stale_since or path.stat().st_mtime
        except (OSError, ModelwrightError):
            return None
        places = {version: self._places.again(place) for version, place in kept.places.items()}
        baseline = self._places.again(kept.baseline) if kept.baseline else None
        return msgspec.structs.replace(kept, places=places, baseline=baseline, stale_since=since)

    def _previous(self, champion: str) -> str:
        """By the audit log; where there is none, by what was seen since this process began."""
        now = self._audit_stat()
        if now != self._audit:
            if now is None or now[1] < self._read:  # another file
                self._lines, self._read = [], 0
            self._audit = now
            more, self._read = AuditLog(self._folder).lines_from(self._read, self._source.name)
            self._lines += more
        if self._lines:
            return previous(self._lines, champion)
        if champion in self._champions:
            del self._champions[self._champions.index(champion) + 1 :]
        elif champion:
            self._champions.append(champion)
        return self._champions[-2] if len(self._champions) > 1 else ""

    def _audit_stat(self) -> tuple[int, int] | None:
        try:
            found = (self._folder / FILE).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size


def registry_of(folder: Path, model: str, interval: Seconds) -> LocalRegistry | RemoteRegistry:
    """The registry of a project: its own SQLite file, or what MLFLOW_TRACKING_URI names.

    Raises:
        UsageError: it is neither SQLite nor http(s).
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        return LocalRegistry(folder / ".modelwright" / "mlflow.db", model)
    if uri.startswith("sqlite:///"):
        return LocalRegistry(Path(uri.removeprefix("sqlite:///")), model)
    if uri.startswith(("http://", "https://")):
        return RemoteRegistry(uri, model, interval)
    scheme = uri.partition(":")[0][:20]
    raise UsageError(
        f"A registry at {scheme}: cannot be followed while serving.",
        hint="Set MLFLOW_TRACKING_URI to the http(s) address of a tracking server, or serve a "
        "model folder.",
    )
