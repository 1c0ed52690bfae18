"""Changing which share of the requests goes to which version: checked, audited, safe from kills.

A change is written down whole, then its audit line, then the rule that servers read. A kill before
the line leaves everything as it was; after it, the next command puts the rule in force.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from modelwright.core.errors import NoSuchModel, UsageError
from modelwright.core.limits import parse_quantity
from modelwright.core.records import AuditLine
from modelwright.core.store import locked
from modelwright.core.traffic import ABTest, Canary, Step, Traffic, read_traffic, write_traffic
from modelwright.release.approvals import gate
from modelwright.release.audit import AuditLog
from modelwright.release.grounds import grounds
from modelwright.release.moved import LOCK
from modelwright.release.registry import CHAMPION, Registry, Version
from modelwright.release.requests import STANDS
from modelwright.release.smoke import try_out
from modelwright.release.unfinished import Intent, begin, done, settle_locked

PARTS = ("canary", "ab", "shadow")
Part = TypeVar("Part", Canary, ABTest)
DEFAULT_WEIGHT = 0.05


@dataclass(frozen=True)
class TrafficState:
    """Who answers a model's requests.

    Attributes:
        champion: version that answers where the rule says nothing; empty without one.
        traffic: the rule in force.
        audit: the line of the change that led here; None when nothing was changed.
    """

    champion: str
    traffic: Traffic
    audit: AuditLine | None = None

    @property
    def shares(self) -> dict[str, float]:
        """version -> share of the requests that it answers now."""
        rule = self.traffic
        if rule.test:
            return dict(rule.test.arms)
        if rule.canary and rule.canary.version != self.champion:
            weight = rule.canary.weight_at(time.time())
            return {self.champion: 1 - weight, rule.canary.version: weight}
        return {self.champion: 1.0} if self.champion else {}


def show(registry: Registry, folder: Path, model: str) -> TrafficState:
    """What is in force.

    Raises:
        RegistryError: there is no such model.
    """
    champion = registry.aliased(model, CHAMPION)
    if champion is None:
        registry.resolve(model)
    number = champion.number if champion else ""
    return TrafficState(number, read_traffic(folder, model) or Traffic(model))


def canary(
    registry: Registry,
    folder: Path,
    model: str,
    version: str,
    *,
    weight: float | None = None,
    steps: Sequence[Step] = (),
    seed: int | None = None,
    why: str = "",
    detail: Mapping[str, str] | None = None,
) -> TrafficState:
    """Give a version a share of the requests; the same command again changes nothing.

    Args:
        version: its number, or an alias such as challenger, which is looked up now.
        weight: the share, 0 to 1; default 5 %, or the first step's.
        steps: shares that rise by the clock; the last one holds on.
        seed: of the hash that decides which keys are first; default the version's number. It stays
            when the same version's share is changed, so that nobody is sent back.
        why: the reason, for the audit.
        detail: what else its line says, such as the figures that led here.

    Raises:
        RegistryError: no such version, it did not pass its gates, or it is the champion.
        ArtefactError: its files are not those that were released, or they cannot answer.
        UsageError: weights that make no sense, or an A/B test is on.
    """
    first = steps[0].weight if steps else DEFAULT_WEIGHT
    if steps and weight is not None and weight != first:
        raise UsageError(f"The weight is {weight:.4g}, but the steps begin with {first:.4g}.")
    share = first if weight is None else weight

    def changed(now: TrafficState) -> tuple[Traffic, list[Version]]:
        rule = now.traffic
        if rule.test is not None:
            raise UsageError(
                f"{model} has an A/B test on.", hint=f"End it: modelwright traffic {model} stop"
            )
        found = _candidate(registry, model, version, now.champion)
        before = rule.canary if rule.canary and rule.canary.version == found.number else None
        given = before.seed if before and seed is None else seed
        new = _sensible(
            Canary, found.number, share, int(found.number) if given is None else given,
            tuple(steps), time.time(),
        )  # fmt: skip
        if before and msgspec.structs.replace(new, began=before.began) == before:
            new = before
        return msgspec.structs.replace(rule, canary=new), [found]

    return _change(registry, folder, model, "canary", changed, why, detail)


def ab_test(
    registry: Registry,
    folder: Path,
    model: str,
    arms: Mapping[str, float],
    *,
    seed: int | None = None,
    why: str = "",
) -> TrafficState:
    """Share all requests between versions; a key stays with its arm.

    Args:
        arms: version (or alias) -> share; together 1.
        seed: of the hash; default the largest version's number.
        why: the reason, for the audit.

    Raises:
        RegistryError: no such version, or it did not pass its gates.
        ArtefactError: as for `canary`.
        UsageError: shares that do not add up, or a canary is on.
    """

    def changed(now: TrafficState) -> tuple[Traffic, list[Version]]:
        rule = now.traffic
        if rule.canary is not None:
            raise UsageError(
                f"{model} has a canary on.", hint=f"End it: modelwright traffic {model} stop"
            )
        found = [_passed(registry, model, version) for version in arms]
        shares = {v.number: w for v, w in zip(found, arms.values(), strict=True)}
        if len(shares) < len(arms):
            raise UsageError("Two arms are the same version.")
        ordered = dict(sorted(shares.items(), key=lambda arm: int(arm[0])))
        before = rule.test.seed if rule.test and rule.test.arms.keys() == shares.keys() else None
        given = before if seed is None else seed
        new = _sensible(ABTest, ordered, max(map(int, ordered)) if given is None else given)
        return msgspec.structs.replace(rule, test=new), found

    return _change(registry, folder, model, "ab", changed, why)


def shadow(
    registry: Registry, folder: Path, model: str, version: str, *, why: str = ""
) -> TrafficState:
    """Let a version answer a copy of each request, unseen by callers.

    Args:
        version: its number, or an alias such as challenger.
        why: the reason, for the audit.

    Raises:
        RegistryError, ArtefactError: as for `canary`.
    """

    def changed(now: TrafficState) -> tuple[Traffic, list[Version]]:
        rule = now.traffic
        found = _candidate(registry, model, version, now.champion)
        return msgspec.structs.replace(rule, shadow=found.number), [found]

    return _change(registry, folder, model, "shadow", changed, why)


def stop(
    registry: Registry,
    folder: Path,
    model: str,
    what: str = "",
    *,
    why: str = "",
    detail: Mapping[str, str] | None = None,
) -> TrafficState:
    """End canary, A/B test or shadow; default all of them. The champion answers everything again.
    `why` and `detail` are for the audit.

    Raises:
        RegistryError: there is no such model.
        UsageError: `what` is none of them.
    """
    if what not in ("", *PARTS):
        raise UsageError(f"Cannot stop {what[:40]!r}.", hint=f"Wanted {', '.join(PARTS)}.")

    def changed(now: TrafficState) -> tuple[Traffic, list[Version]]:
        rule = now.traffic
        return Traffic(
            model,
            canary=None if what in ("", "canary") else rule.canary,
            test=None if what in ("", "ab") else rule.test,
            shadow="" if what in ("", "shadow") else rule.shadow,
        ), []

    return _change(registry, folder, model, "stop", changed, why, detail)


def steps_of(text: str) -> tuple[Step, ...]:
    """Steps as people write them.

    Raises:
        UsageError: they cannot be read.

    Example:
        >>> steps_of("5%:10m, 25%:1h")
        (Step(weight=0.05, seconds=600.0), Step(weight=0.25, seconds=3600.0))
    """
    found = []
    for part in text.split(","):
        weight, colon, seconds = part.strip().partition(":")
        try:
            if not colon:
                raise ValueError("there is no colon")
            found.append(Step(weight_of(weight), parse_quantity(seconds, "seconds")[0]))
        except ValueError as error:
            raise UsageError(
                f"Cannot read the step {part.strip()!r}: {error}.",
                hint='Wanted steps such as "5%:10m,25%:30m,50%:1h".',
            ) from error
    return tuple(found)


def weight_of(text: str) -> float:
    """A share as people write it: 5%, or 0.05.

    Raises:
        UsageError: it cannot be read, or is no share.

    Example:
        >>> weight_of("5%"), weight_of("0.5")
        (0.05, 0.5)
    """
    try:
        found, sign = parse_quantity(text, "score")
    except ValueError as error:
        raise UsageError(f"Cannot read the weight {text!r}: {error}.") from error
    if sign or not 0 <= found <= 1:
        raise UsageError(f"The weight {text!r} is no share.", hint="Wanted 0% to 100%.")
    return found


def parts_of(rule: Traffic) -> dict[str, tuple[str, str]]:
    """canary, ab, shadow, as far as the rule has them -> (versions, what is asked, in words).

    Example:
        >>> parts_of(Traffic("m", canary=Canary("4", 0.05, 4, (Step(0.05, 600),)), shadow="5"))
        {'canary': ('4', '5% for 600 s, seed 4'), 'shadow': ('5', 'a copy of each request')}
    """
    found: dict[str, tuple[str, str]] = {}
    if rule.canary:
        made = rule.canary
        shares = [f"{_percent(step.weight)} for {step.seconds:g} s" for step in made.steps]
        shown = ", ".join(shares or [_percent(made.weight)])
        found["canary"] = made.version, f"{shown}, seed {made.seed}"
    if rule.test:
        arms = rule.test.arms
        shown = " ".join(f"{version}={_percent(weight)}" for version, weight in arms.items())
        found["ab"] = ",".join(arms), f"{shown}, seed {rule.test.seed}"
    if rule.shadow:
        found["shadow"] = rule.shadow, "a copy of each request"
    return found


def _change(
    registry: Registry,
    folder: Path,
    model: str,
    action: Literal["canary", "ab", "shadow", "stop"],
    changed: Callable[[TrafficState], tuple[Traffic, list[Version]]],
    why: str,
    detail: Mapping[str, str] | None = None,
) -> TrafficState:
    """The one way to another rule; `changed` says which, and which versions must be able to."""
    with locked(folder / LOCK):
        settle_locked(registry, folder, model)
        now = show(registry, folder, model)
        rule, versions = changed(now)
        if rule == now.traffic:
            return now
        before, after = parts_of(now.traffic), parts_of(rule)
        if action == "stop":
            ended = [what for what in before if what not in after]
            named, shown = ",".join(before[what][0] for what in ended), ", ".join(ended)
            replaced = ""
        else:
            named, shown = after[action]
            replaced = before[action][0] if action in before else ""
        gate(
            folder, "traffic", _as_asked(model, action, rule, shown), model=model, version=named,
            why=why, champion=now.champion,
            evidence={
                "asked": f"{action} {shown}", "in force": before,
                "versions": {v.number: grounds(folder, v) for v in versions},
                STANDS: {"rule": now.traffic, "digests": {v.number: v.digest for v in versions}},
            },
        )  # fmt: skip
        for version in versions:
            try_out(registry.fetch(version), version.digest)
        begin(folder, Intent(action, model, named, replaced, why, traffic=rule))
        line = AuditLog(folder).record(
            action, model, named, replaces=replaced, why=why, subject=shown, detail=detail
        )
        write_traffic(folder, rule)
        done(folder)
        return TrafficState(now.champion, rule, line)


def _as_asked(model: str, action: str, rule: Traffic, ended: str) -> dict[str, Any]:
    """The arguments of the operation `traffic` that lead to a rule."""
    found: dict[str, Any] = {"model": model, "what": action}
    if action == "stop":
        one = ended if ended in PARTS else ""
        return {**found, "of": [one] if one else []}
    if action == "shadow":
        return {**found, "of": [rule.shadow]}
    if action == "ab" and rule.test:
        arms = [f"{version}={_digits(weight)}" for version, weight in rule.test.arms.items()]
        return {**found, "of": arms, "seed": rule.test.seed}
    if rule.canary:
        made = rule.canary
        found |= {"of": [made.version], "seed": made.seed}
        if made.steps:
            steps = [f"{_digits(step.weight)}:{_digits(step.seconds)}s" for step in made.steps]
            return {**found, "steps": ",".join(steps)}
        return {**found, "weight": _digits(made.weight)}
    return found


def _digits(number: float) -> str:
    """A number as `weight_of` and `steps_of` read it.

    Example:
        >>> _digits(0.05), _digits(600.0), _digits(0.00001)
        ('0.05', '600', '0.00001')
    """
    text = f"{number:.15f}".rstrip("0").rstrip(".")
    return text if float(text) == number else f"{number:.20f}"


def _candidate(registry: Registry, model: str, version: str, champion: str) -> Version:
    """A version that may stand beside the champion."""
    found = _passed(registry, model, version)
    if not champion:
        raise NoSuchModel(f"{model} has no champion that {found.number} could stand beside.")
    if found.number == champion:
        raise NoSuchModel(f"Version {found.number} of {model} is the champion already.")
    return found


def _passed(registry: Registry, model: str, version: str) -> Version:
    """A version by number or alias, whose gates passed."""
    found = registry.resolve(f"{model}/{version}" if version.isdigit() else f"{model}@{version}")
    if found.verdict != "pass":
        raise NoSuchModel(
            f"Version {found.number} of {model} did not pass its gates: {found.verdict!r}."
        )
    return found


def _sensible(kind: type[Part], *given: Any) -> Part:
    try:
        return kind(*given)
    except ValueError as error:
        raise UsageError(f"That cannot be: {error}.") from error


def _percent(share: float) -> str:
    return f"{share * 100:.6g}%"
