"""What became of approved requests: each is carried out once, whatever is killed when.

The lines of the audit that were written under a request say how far it came. A change of production
stands there before it is made, and a run before anything is trained. So whoever looks next, after a
kill, can tell what was not begun, what goes on, and what is done.
"""

from __future__ import annotations

import contextlib

import msgspec

from modelwright.core.errors import ModelwrightError, NoSuchModel, RegistryError, UsageError
from modelwright.core.records import AuditLine, ReleaseRecord
from modelwright.core.runs import RELEASE, has_ended
from modelwright.core.store import from_json, sha256
from modelwright.release.audit import CHANGES, AuditLog, in_force
from modelwright.release.requests import Request, RequestFiles, State

BEGUN = "begun"
"""Action of the line that says which run is made under a request."""
_ENDS = ("applied", "failed")
_NOT_NOW = ("one_writer",)
"""Rules that refuse what may be done a little later."""


class CarriedOut(RequestFiles):
    """How far approved requests came."""

    def begun(self, id: str) -> list[AuditLine]:
        """What the audit knows of carrying a request out; empty where nothing was begun yet.

        A gate that was let through is not among it: the release that needs it comes after, and a
        run is released once, whatever happens.
        """
        acts = (CHANGES - {"override", "void"}) | {"gc", BEGUN, *_ENDS}
        entries = AuditLog(self.folder).entries()
        return [e for e in entries if e.detail.get("request") == id and e.action in acts]

    def begins(self, id: str, run: str) -> None:
        """Say which run is made under a request, before anything is trained for it."""
        with self.locked():
            if run != self.going_on(id):
                self._say(BEGUN, self.find(id), f"run {run}", run=run)

    def going_on(self, id: str) -> str:
        """The run that was begun under a request and came to no end; empty for none."""
        lines = self.begun(id)
        if not lines or lines[-1].action != BEGUN:
            return ""
        run = lines[-1].detail["run"]
        place = self.folder / "runs" / run
        return run if place.is_dir() and not has_ended(place) else ""

    def looked_at(self, id: str) -> Request:
        """A request as it stands. One that a kill cut off after the change was made is ended first,
        unless it is being carried out now, or MLflow cannot be reached."""
        found = self.find(id)
        if found.state in ("approved", "expired") and found.decided_by:
            with (
                contextlib.suppress(UsageError, RegistryError),
                self.carrying_out(found.id),
            ):
                return self.settle(found.id)
        return found

    def settle(self, id: str) -> Request:
        """End what a kill cut off while it was carried out: applied, failed, or to be gone on with.

        Raises:
            RegistryError: MLflow cannot be reached, so that nothing can be said.
        """
        from modelwright.release import approved

        approved.finish_changes(self.folder)
        found, lines = self.find(id), self.begun(id)
        if found.state not in ("approved", "expired"):
            return found
        if not lines:
            version = approved.released_under(self.folder, found)
            return self._end(id, "applied", f"version {version}") if version else found
        last = lines[-1]
        if last.action in _ENDS:
            return self._end(id, "applied" if last.action == "applied" else "failed", last.why)
        if last.action == BEGUN:
            return self._settle_run(found, last.detail["run"])
        if last.action == "gc":
            return self._end(
                id, "failed",
                "unknown: it was cut off, and part of it may be removed; look with: modelwright gc",
            )  # fmt: skip
        if any(line == last for line in in_force(AuditLog(self.folder).lines(found.model))):
            return self._end(id, "applied", f"{last.action} of {last.at}, found in the audit")
        return self._end(id, "failed", "it was cut off, and production had changed meanwhile")

    def applied(self, id: str, outcome: str) -> Request:
        """It was carried out."""
        return self._end(id, "applied", outcome)

    def failed(self, id: str, outcome: str) -> Request:
        """It could not be carried out, and nothing was changed."""
        return self._end(id, "failed", outcome)

    def broke_off(self, id: str, error: ModelwrightError) -> None:
        """It met an error: failed, unless production was changed already, or it can go on."""
        lines = self.begun(id)
        changed = any(line.action not in (BEGUN, *_ENDS) for line in lines)
        away = isinstance(error, RegistryError) and not isinstance(error, NoSuchModel)
        can_go_on = error.rule in _NOT_NOW or (bool(lines) and away)  # the run may be a version
        if not (changed or can_go_on):
            self.failed(id, str(error))

    def _settle_run(self, found: Request, run: str) -> Request:
        """One whose run was begun: it came to its end, is gone, or goes on."""
        place = self.folder / "runs" / run
        if not place.is_dir():
            return self._end(found.id, "failed", f"unknown: run {run} was begun, and is gone")
        if not has_ended(place):
            return found
        record = from_json((place / RELEASE).read_bytes(), ReleaseRecord, where=RELEASE)
        made = f", version {record.version}" if record.version else ""
        return self._end(found.id, "applied", f"run {run}: {record.verdict}{made}")

    def _end(self, id: str, state: State, outcome: str) -> Request:
        with self.locked():
            found = self.find(id)
            if found.state == state:
                return found
            ended = msgspec.structs.replace(found, state=state, outcome=outcome)
            if not any(line.action in _ENDS for line in self.begun(found.id)):
                self._say(state, ended, outcome)
            self.write(ended)
            return ended

    def _say(self, action: str, about: Request, why: str, *, run: str = "") -> None:
        AuditLog(self.folder).record(
            action, about.model, about.version, replaces=about.champion, why=why,
            subject=about.action,
            detail={"request": about.id, "words": sha256(about.words()), "run": run,
                    "decided_by": about.decided_by if action == "approve" else ""},
        )  # fmt: skip
