"""A second opinion on a canary's latency: mSPRT on the difference of means, stratum by stratum.

Sooner than counts of slow answers for a shift of all of them, right only for large numbers. It
advises and decides nothing.

Source: Johari, Koomen, Pekelis, Walsh (2022), "Always valid inference".
"""

from __future__ import annotations

import math

from modelwright.core.records import Finding, Interval
from modelwright.watch.two_means import Sums

Slower = tuple[float, float, float, float]
"""Sums over strata of weight, weighted difference, its variance, and weighted champion mean."""


def with_latency(old: Slower, found: Sums | None) -> Slower:
    """Add a stratum's latencies, in seconds; with fewer than two of an arm it changes nothing."""
    if found is None or min(found.champion[0], found.canary[0]) < 2:
        return old
    (many, total, squares), (few, canary_total, canary_squares) = found.champion, found.canary
    mean, canary_mean = total / many, canary_total / few
    spread = max(0.0, squares / many - mean**2) / (many - 1)
    spread += max(0.0, canary_squares / few - canary_mean**2) / (few - 1)
    weight = many * few / (many + few)
    return (
        old[0] + weight,
        old[1] + weight * (canary_mean - mean),
        old[2] + weight**2 * spread,
        old[3] + weight * mean,
    )


def second_opinion(slower: Slower, alpha: float, scale: float) -> Finding:
    """What the sums say, at any look.

    Args:
        slower: of at least one stratum.
        alpha: chance that a canary which is no slower is called so.
        scale: difference of means, in seconds, that it is tuned to.
    """
    weight, difference, variance, base = slower
    gap, spread = difference / weight, max(variance / weight**2, 1e-300)
    prior = scale**2
    log_e = 0.5 * math.log(spread / (spread + prior))
    log_e += prior * gap**2 / (2 * spread * (spread + prior))
    worse = gap > 0 and log_e >= -math.log(alpha)
    room = -2 * math.log(alpha) + math.log((spread + prior) / spread)
    reach = math.sqrt(spread * (spread + prior) / prior * room)
    return Finding(
        check="canary, second opinion",
        subject="mean latency",
        verdict="fail" if worse else "undecided",
        measured=f"{gap * 1e3:+.2f} ms beside {base / weight * 1e3:.2f} ms of the champion",
        wanted="no difference",
        why="mSPRT on means; it advises and decides nothing",
        advice="look at what is slower: means see a shift of all answers first" if worse else "",
        severity="warning" if worse else "info",
        interval=Interval(gap, gap - reach, gap + reach, 1 - alpha),
    )
