"""Which share of the requests goes to which version, beside the champion: one small file a model.

It lies in `.modelwright/traffic/NAME.json` of the project. `release.traffic` writes it, audited;
servers read it. No file means that the champion answers everything.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from modelwright.core.errors import UsageError
from modelwright.core.store import from_json, to_json, write_atomic

MOST_ARMS = 8
TRAFFIC = Path(".modelwright") / "traffic"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Step(msgspec.Struct, frozen=True):
    """A weight, 0 to 1, and for how many seconds it holds; the last one holds on."""

    weight: float
    seconds: float


class Canary(msgspec.Struct, frozen=True):
    """A version that gets a share of the requests, which may rise by itself.

    `weight`: the share, 0 to 1; with `steps` that of the first. `began`: seconds since 1970; every
    process computes the weight from its clock, so that all agree and nobody writes. `seed`: of the
    hash that decides which keys are the first ones.
    """

    version: str
    weight: float
    seed: int = 0
    steps: tuple[Step, ...] = ()
    began: float = 0.0

    def __post_init__(self) -> None:
        weights = [self.weight, *(step.weight for step in self.steps)]
        _must_be_shares(weights)
        if any(later < earlier for earlier, later in itertools.pairwise(weights)):
            raise ValueError("the steps of a canary rise: a falling weight would send callers back")
        if any(not 0 < step.seconds < math.inf for step in self.steps):
            raise ValueError("each step takes some time")

    def weight_at(self, now: float) -> float:
        """The share at a moment.

        Example:
            >>> canary = Canary("4", 0.05, steps=(Step(0.05, 600), Step(0.25, 600)), began=1000)
            >>> [canary.weight_at(t) for t in (900, 1000, 1599, 1600, 99999)]
            [0.05, 0.05, 0.05, 0.25, 0.25]
        """
        if not self.steps:
            return self.weight
        left = now - self.began
        for step in self.steps:
            left -= step.seconds
            if left < 0:
                return step.weight
        return self.steps[-1].weight


class ABTest(msgspec.Struct, frozen=True):
    """Versions that share all requests: version -> its share; together 1. `seed`: of the hash."""

    arms: dict[str, float]
    seed: int = 0

    def __post_init__(self) -> None:
        _must_be_shares(self.arms.values())
        if not 2 <= len(self.arms) <= MOST_ARMS:
            raise ValueError(f"a test has 2 to {MOST_ARMS} arms, found {len(self.arms)}")
        if abs(sum(self.arms.values()) - 1) > 1e-9:
            raise ValueError(f"the shares add up to {sum(self.arms.values()):.6g}, wanted 1")


class Traffic(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rule of one model: a canary or a test, and a version that answers along unseen.

    `shadow`: a version that gets a copy of each request; its answers are compared, never sent.

    Example:
        >>> Traffic("income", canary=Canary("4", 0.05), shadow="5").versions
        ('4', '5')
    """

    model: str
    canary: Canary | None = None
    test: ABTest | None = None
    shadow: str = ""

    def __post_init__(self) -> None:
        if self.canary and self.test:
            raise ValueError("a canary and a test exclude each other")

    @property
    def is_empty(self) -> bool:
        """Whether the champion answers everything, alone."""
        return self.canary is None and self.test is None and not self.shadow

    @property
    def versions(self) -> tuple[str, ...]:
        """Every version that it names, each once."""
        named = [self.canary.version] if self.canary else []
        named += self.test.arms if self.test else []
        return tuple(dict.fromkeys([*named, *([self.shadow] if self.shadow else [])]))

    def after_promotion(self, version: str) -> Traffic:
        """Without the canary and the shadow of a version that answers everybody now.

        A test goes on: it names its arms, whoever is champion.
        """
        changed = self
        if self.canary and self.canary.version == version:
            changed = msgspec.structs.replace(changed, canary=None)
        if self.shadow == version:
            changed = msgspec.structs.replace(changed, shadow="")
        return changed


def traffic_path(folder: Path, model: str) -> Path:
    """The file of a model's rule.

    Raises:
        UsageError: not the name of a model.
    """
    if not _NAME.fullmatch(model):
        raise UsageError(f"{model[:80]!r} is not a model name.")
    return folder / TRAFFIC / f"{model}.json"


def read_traffic(folder: Path, model: str) -> Traffic | None:
    """The rule of a model; None when there is none.

    Raises:
        ArtefactError: the file is damaged.
    """
    path = traffic_path(folder, model)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    found = from_json(data, Traffic, where=str(path))
    return None if found.is_empty else found


def write_traffic(folder: Path, traffic: Traffic) -> None:
    """Put a rule in force, whole or not at all; an empty one takes the file away."""
    path = traffic_path(folder, traffic.model)
    if traffic.is_empty:
        path.unlink(missing_ok=True)
    else:
        write_atomic(path, to_json(traffic))


def _must_be_shares(weights: Iterable[float]) -> None:
    if not all(0 <= weight <= 1 for weight in weights):
        raise ValueError("a weight is a share from 0 to 1")
