"""What a process serves: models by name, their versions, and who answers by which rule."""

from __future__ import annotations

import random
import time

from modelwright.serve.lanes import Lane, Served
from modelwright.serve.live import LiveModel
from modelwright.serve.messages import Answered, ProtocolError
from modelwright.serve.metrics import Counts
from modelwright.serve.metrics import Served as VersionCounts
from modelwright.serve.traffic import arm_of


class Catalogue:
    """Models and versions of a process.

    Args:
        counts: of this process.

    Attributes:
        served: by name.
        retired: versions out of service for which somebody still waits.
        draining: nobody new is to come.
    """

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.served: dict[str, Served] = {}
        self.retired: list[Lane] = []
        self.draining = False

    def tick(self, now: float) -> None:
        """A few times a second: see `Lane.tick`; retired versions are forgotten when they idle."""
        for served in self.served.values():
            for lane in served.everyone():
                lane.tick(now)
        for lane in self.retired:
            lane.tick(now)
        self.retired = [lane for lane in self.retired if not lane.is_idle]

    def models(self) -> tuple[str, ...]:
        """Names of all models that are served."""
        return tuple(self.served)

    def versions(self, model: str) -> tuple[str, ...]:
        """Versions of a model that can be asked for, the champion first."""
        found = self.find(model)
        first = [found.champion.version] if found.champion is not None else []
        return tuple(dict.fromkeys([*first, *found.lanes]))

    def live(self, model: str, version: str | None = None) -> LiveModel:
        """The version that answers now, or the named one."""
        return self.lane(self.find(model), version).live

    def is_ready(self, model: str | None = None) -> bool:
        """Whether a model, or everything, can answer."""
        if self.draining:
            return False
        found = self.served.values() if model is None else [self.find(model)]
        return bool(self.served) and all(one.champion is not None for one in found)

    def find(self, model: str) -> Served:
        """A served model.

        Raises:
            ProtocolError: 404.
        """
        found = self.served.get(model)
        if found is None:
            known = ", ".join(self.served) or "none"
            raise ProtocolError(404, f"No such model {model[:80]!r}: this server has {known}.")
        return found

    def counts_of(self, found: Answered) -> VersionCounts:
        """Where an answer is counted, also that of a version that was taken out meanwhile."""
        live = found.live
        assert isinstance(live, LiveModel) and live.counts is not None
        return live.counts

    def arm(self, served: Served, key: str | None) -> tuple[Lane, str]:
        """Who answers by the rule of the traffic, and the name of the arm."""
        champion = self.lane(served, None)
        if served.traffic is None:
            return champion, "champion"
        chance = random.random()  # noqa: S311  it spreads load; nobody gains by guessing it
        version, arm = arm_of(served.traffic, champion.version, key, time.time(), chance)
        lane = served.lanes.get(version)
        return (champion, "champion") if lane is None else (lane, arm)

    def lane(self, served: Served, version: str | None) -> Lane:
        """The champion, or the named version.

        Raises:
            ProtocolError: 404 it is not served; 503 there is no champion.
        """
        if version is None:
            if served.champion is None:
                raise ProtocolError(
                    503, f"{served.name} has no version that can answer.", retry_after=1,
                    reason="no_version",
                )  # fmt: skip
            return served.champion
        found = served.lanes.get(version)
        if found is None:
            known = ", ".join(served.lanes) or "none"
            raise ProtocolError(
                404,
                f"No such version {version[:20]!r} of {served.name} is served; there is version "
                f"{known}.",
            )
        return found
