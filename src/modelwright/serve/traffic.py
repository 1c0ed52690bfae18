"""Who answers which request, by the rule of `core.traffic`: canary, A/B test or champion.

A key stays with its arm. It is hashed with the rule's recorded seed, so that every worker and every
later day agrees without a shared state, and a larger weight only moves keys towards its version.
"""

from __future__ import annotations

import math
import struct
from hashlib import blake2b
from pathlib import Path

from modelwright.core.errors import ModelwrightError
from modelwright.core.traffic import ABTest, Traffic, read_traffic, traffic_path

CHAMPION, CANARY = "champion", "canary"
ARMS = "abcdefgh"
_WHOLE = 2.0**-64
_EIGHT = struct.Struct("<8Q").unpack


class TrafficFile:
    """A model's rule on disk, followed by one `stat`.

    Attributes:
        traffic: the rule; None when the champion answers everything.
        problem: why the file cannot be read; the rule from before is kept then.

    Example:
        file = TrafficFile(Path("."), "income")
        if file.changed():
            rule = file.traffic
    """

    def __init__(self, folder: Path, model: str) -> None:
        self._folder, self._model = folder, model
        self._path = traffic_path(folder, model)
        self._seen: tuple[int, int, int] | None = None
        self.traffic: Traffic | None = None
        self.problem = ""
        self.changed()

    def changed(self) -> bool:
        """Look at the file; whether there is another rule than before."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            now = None
        except OSError as error:
            self.problem = f"{self._path} cannot be read: {error.strerror}."
            return False
        else:
            now = (found.st_mtime_ns, found.st_ino, found.st_size)
        if now == self._seen and not self.problem:
            return False
        before = self.traffic
        try:
            self.traffic = read_traffic(self._folder, self._model)
        except (ModelwrightError, OSError) as error:
            self.problem = str(error)
            return False
        self._seen, self.problem = now, ""
        return self.traffic != before


def arm_of(
    traffic: Traffic | None, champion: str, key: str | None, now: float, chance: float
) -> tuple[str, str]:
    """Which version answers a request, and the name of its arm.

    Args:
        traffic: the rule, or None.
        champion: number of the version that answers where nothing else is said.
        key: what keeps a caller with one arm; None leaves it to chance.
        now: seconds since 1970, for a canary's steps.
        chance: a random number from 0 to 1, used where there is no key.

    Returns:
        (version, `champion`, `canary`, or `a`, `b`, ... of a test, in the order of its arms).

    Example:
        >>> from modelwright.core.traffic import Canary
        >>> half = Traffic("income", canary=Canary("4", 0.5))
        >>> [arm_of(half, "3", key, 0.0, 0.0) for key in ("ann", "bob")]
        [('3', 'champion'), ('4', 'canary')]
        >>> arm_of(None, "3", "ann", 0.0, 0.0)
        ('3', 'champion')
    """
    if traffic is None:
        return champion, CHAMPION
    canary = traffic.canary
    if canary is not None:
        place = chance if key is None else place_of(key, canary.seed)
        if place < canary.weight_at(now) and canary.version != champion:
            return canary.version, CANARY
        return champion, CHAMPION
    if traffic.test is not None:
        return _arm(traffic.test, key, chance)
    return champion, CHAMPION


def place_of(key: str, seed: int) -> float:
    """Where a key lies between 0 and 1: evenly spread, and always the same for a seed.

    Source: RFC 7693 (BLAKE2b), the first 64 bits.

    Example:
        >>> round(place_of("ann", 7), 4), round(place_of("ann", 8), 4)
        (0.4643, 0.6147)
    """
    return _hashed(key, seed)[0] * _WHOLE


def _hashed(key: str, seed: int) -> tuple[int, ...]:
    """Eight independent numbers of 64 bits."""
    return _EIGHT(blake2b(f"{seed}/{key}".encode("utf-8", "surrogatepass")).digest())


def _arm(test: ABTest, key: str | None, chance: float) -> tuple[str, str]:
    """With a key by weighted rendezvous hashing: when shares change, keys move only to arms whose
    share has grown, also among three and more. Source: Schindelhauer and Schomaker, SPAA 2005.
    """
    if key is None:
        found, number = "", 0
        for place, (version, weight) in enumerate(test.arms.items()):
            if weight > 0:
                found, number = version, place
                chance -= weight
                if chance < 0:
                    break
        return found, ARMS[number]
    best, number, found = math.inf, 0, ""
    hashed = _hashed(key, test.seed)
    for place, (version, weight) in enumerate(test.arms.items()):
        if weight > 0:
            far = -math.log((hashed[place] + 1) * _WHOLE) / weight
            if far < best:
                best, number, found = far, place, version
    return found, ARMS[number]
