"""The operation `traffic`: its words to the public API, its state to a result."""

from __future__ import annotations

import modelwright as mw
from modelwright.core.errors import UsageError
from modelwright.ways_in import arguments, results
from modelwright.ways_in.lines import moment

CALLS = {
    "canary": "VERSION, and --weight 5% or --steps 5%:10m,25%:1h",
    "ab": "VERSION=SHARE of each arm, such as 3=50% 4=50%",
    "shadow": "VERSION",
    "stop": "nothing, or canary, ab, shadow",
}


def change(given: arguments.TrafficArguments) -> mw.TrafficState:
    """Do what was asked.

    Raises:
        UsageError: words or options that do not fit.
    """
    _must_fit(given)
    known = {"why": given.why, "folder": given.project}
    if given.what == "canary":
        return mw.canary(
            given.model, given.of[0], weight=_weight(given.weight), seed=given.seed,
            steps=mw.steps_of(given.steps) if given.steps is not None else (), **known,
        )  # fmt: skip
    if given.what == "ab":
        return mw.ab_test(given.model, _arms(given.of), seed=given.seed, **known)
    if given.what == "shadow":
        return mw.shadow(given.model, given.of[0], **known)
    if given.what == "stop":
        return mw.stop_traffic(given.model, given.of[0] if given.of else "", **known)
    return mw.traffic(given.model, folder=given.project)


def result(state: mw.TrafficState) -> results.TrafficResult:
    """A state as every door shows it."""
    rule, line = state.traffic, state.audit
    canary, test = rule.canary, rule.test
    return results.TrafficResult(
        model=rule.model,
        champion=state.champion,
        changed=line is not None,
        shares=state.shares,
        kind="canary" if canary else "ab" if test else "champion",
        canary=canary.version if canary else "",
        steps=[(step.weight, step.seconds) for step in canary.steps] if canary else [],
        began=moment(round(canary.began * 1e3)) if canary else "",
        arms=test.arms if test else {},
        seed=canary.seed if canary else test.seed if test else None,
        shadow=rule.shadow,
        by=line.who if line else "",
        at=line.at if line else "",
        why=line.why if line else "",
    )


def _must_fit(given: arguments.TrafficArguments) -> None:
    """The number of words, and options that this change does not have."""
    most = {"show": 0, "canary": 1, "shadow": 1, "stop": 1}.get(given.what, 8)
    least = {"canary": 1, "shadow": 1, "ab": 2}.get(given.what, 0)
    if not least <= len(given.of) <= most:
        wanted = CALLS.get(given.what, "nothing")
        raise UsageError(
            f"Wanted after {given.what}: {wanted}; found {' '.join(given.of) or 'nothing'!r}."
        )
    allowed = {"canary": {"weight", "steps", "seed"}, "ab": {"seed"}}.get(given.what, set())
    for name in ("weight", "steps", "seed"):
        if getattr(given, name) is not None and name not in allowed:
            raise UsageError(f"--{name} is not for {given.what}.")


def _weight(text: str | None) -> float | None:
    return None if text is None else mw.weight_of(text)


def _arms(words: list[str]) -> dict[str, float]:
    arms: dict[str, float] = {}
    for word in words:
        version, sign, share = word.partition("=")
        if not sign or version in arms:
            raise UsageError(f"{word!r} is no arm.", hint=f"Wanted {CALLS['ab']}.")
        arms[version] = mw.weight_of(share)
    return arms
