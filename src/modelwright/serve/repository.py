"""Models loaded and unloaded by request, the same in every worker.

A request reaches one worker only. So what is unloaded is written to a small file that all workers
look at, and each follows it with its next look at the registry. Both go to the server's log, and to
the audit of the project whose registry the model is from.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from modelwright.core.errors import ModelwrightError
from modelwright.core.store import locked, write_atomic
from modelwright.release.audit import AuditLog
from modelwright.serve.dispatch import Models
from modelwright.serve.loading import Loader
from modelwright.serve.oip import Entry

UNLOADED = "unloaded.json"
_LOG = logging.getLogger("modelwright.serve")


class ModelRepository:
    """The `oip.Repository` of a worker.

    Args:
        models: what is served.
        loader: of this worker.
        folder: that all workers share.
        projects: model -> the project it is from, for those that have one.
    """

    def __init__(
        self, models: Models, loader: Loader, folder: Path, projects: Mapping[str, str]
    ) -> None:
        self._models, self._loader, self._projects = models, loader, projects
        self._path = folder / UNLOADED
        self._seen: int | None = None

    def index(self) -> Sequence[Entry]:
        """Every loaded version, and why a model is not as its registry says."""
        found = []
        for name, served in self._models.served.items():
            for version in served.lanes:
                found.append(Entry(name, version, "READY", ""))
            if not served.lanes or served.problem:
                found.append(Entry(name, "", "UNAVAILABLE", served.problem or "not loaded"))
        return found

    async def load(self, model: str, by: str = "") -> None:
        """Look anew at the registry, and serve what it names."""
        self._models.find(model)
        await self._record("load", model, by)
        self._write(model, unload=False)
        await self._loader.load(model)

    async def unload(self, model: str, by: str = "") -> None:
        """Answer no more for a model, until it is loaded again."""
        self._models.find(model)
        await self._record("unload", model, by)
        self._write(model, unload=True)
        self._loader.unload(model)

    async def follow(self) -> None:
        """Do what another worker was asked for."""
        try:
            stamp = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if stamp == self._seen:
            return
        self._seen = stamp
        wanted = self._read()
        for name in self._models.models():
            if name in wanted and name not in self._loader.unloaded:
                self._loader.unload(name)
            elif name not in wanted and name in self._loader.unloaded:
                await self._loader.load(name)

    async def _record(self, action: str, model: str, by: str) -> None:
        """Tell the log and the audit before it is done; a project that cannot be written to keeps
        nobody from taking a model out of service."""
        _LOG.warning("%s of %s by %s", action, model, f"token {by}" if by else "a caller")
        champion = self._models.served[model].champion
        version = champion.version if champion is not None else ""
        project = self._projects.get(model)
        if project is None:
            return
        why = "asked for over the model repository of a server"
        audit = AuditLog(Path(project))
        try:
            await asyncio.to_thread(
                audit.record, action, model, version, replaces="", why=why, detail={"token": by}
            )
        except (ModelwrightError, OSError) as error:
            _LOG.error("%s of %s is not in the audit: %s", action, model, error)

    def _read(self) -> set[str]:
        return set(msgspec.json.decode(self._path.read_bytes(), type=list[str]))

    def _write(self, model: str, *, unload: bool) -> None:
        with locked(self._path.with_suffix(".lock")):
            now = self._read() if self._path.exists() else set()
            now = now | {model} if unload else now - {model}
            write_atomic(self._path, msgspec.json.encode(sorted(now)))
            self._seen = self._path.stat().st_mtime_ns
