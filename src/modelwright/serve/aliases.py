"""What a registry says about a model at a moment, for those who serve it."""

from __future__ import annotations

import msgspec

from modelwright.core.traffic import Traffic

DIGEST, RUN, BASELINE = "modelwright.digest", "modelwright.run", "modelwright.baseline"
"""Tags of a version in MLflow, as `release.registry` writes them."""


class Place(msgspec.Struct, frozen=True):
    """A version and its files.

    Attributes:
        digest: sha256 of its manifest.json; its bytes were checked against it.
        folder: on this machine; empty while they are not here.
        problem: why they are not here.
    """

    version: str
    digest: str = ""
    folder: str = ""
    problem: str = ""


class Aliases(msgspec.Struct, frozen=True):
    """A model in the registry at a moment.

    Attributes:
        champion: the version that the followed alias names; empty when there is none. Whoever
            serves keeps the version that it has then.
        aliases: every alias and its version.
        previous: the champion before the present one; empty when there was none.
        places: number -> files, of every version that is named anywhere here.
        baseline: the linear or dummy model beside the champion, where its run made one.
        traffic: canary, test and shadow; None when the champion answers everything.
        stale_since: seconds since 1970 of the last good answer, when the registry cannot be asked.
        problem: why it cannot, or what else is wrong.
    """

    model: str
    champion: str = ""
    aliases: dict[str, str] = {}
    previous: str = ""
    places: dict[str, Place] = {}
    baseline: Place | None = None
    traffic: Traffic | None = None
    stale_since: float | None = None
    problem: str = ""

    def place(self, version: str) -> Place | None:
        """The files of a version that can be loaded, or None."""
        found = self.places.get(version)
        return found if found is not None and found.folder else None

    @property
    def wanted(self) -> tuple[Place, ...]:
        """What is to be loaded, the champion first: it, what traffic names, and the previous one.

        Versions without files here are left out.
        """
        named = [self.champion, *(self.traffic.versions if self.traffic else ()), self.previous]
        places = [self.places[v] for v in dict.fromkeys(named) if v in self.places]
        return tuple(place for place in places if place.folder)


class Known(msgspec.Struct, frozen=True):
    """What a registry answered: every alias, and the tags of the versions that were asked for."""

    aliases: dict[str, str]
    tags: dict[str, dict[str, str]]
