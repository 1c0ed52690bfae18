"""How often the watch on limits is wrong, and how soon it is right, over windows of five minutes.

    .venv/bin/python benchmarks/watch/limits.py [--days 100]

The limit on p95 lets 5 % of the answers be slower, `watch.limits.errors` 1 % of the requests fail.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

from modelwright.core.limits import Limit
from modelwright.core.spec_watch import LiveLimitsSpec
from modelwright.serve.metrics import EDGES
from modelwright.watch.episodes import Watched, Window, step
from modelwright.watch.live_limits import Ruling, Tally, rulings
from modelwright.watch.served_counts import Counted
from modelwright.watch.times import iso, unix

SPEC = LiveLimitsSpec()
P95 = 0.007
LIMITS = (Limit("latency_p95", "at_most", P95),)
MINUTES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--faults", type=int, default=200)
    said = parser.parse_args()
    rng = np.random.default_rng(0)
    print("| case | requests a minute | bad windows | episodes a day | median minutes |")
    for cause, shares in (("latency", (0.04, 0.05, 0.07, 0.1, 0.2)),
                          ("errors", (0.005, 0.01, 0.02, 0.05, 0.2))):  # fmt: skip
        for share in shares:
            for rate in (20, 200, 2000):
                bad, episodes, minutes = run(rng, cause, share, rate, said)
                print(f"| {cause} {share:.1%} | {rate} | {bad:.2%} | {episodes:.2f} | {minutes} |")
    began, count = time.process_time(), 200
    for _ in range(count):
        rulings(tally_of(rng, "errors", 0.01, 200), LIMITS, SPEC)
    print(f"{(time.process_time() - began) / count * 1e3:.2f} ms a window")


def tally_of(rng: np.random.Generator, cause: str, share: float, rate: int) -> Tally:
    """A window of a server with such a share of slow answers, or errors."""
    asked = rate * MINUTES
    failed = int(rng.binomial(asked, share)) if cause == "errors" else 0
    answered = asked - failed
    slow = int(rng.binomial(answered, share if cause == "latency" else 0.01))
    within = {e: float(answered - slow if e <= P95 else answered) for e in (*EDGES, P95, math.inf)}
    counted = Counted(asked=asked, answered=answered, failed=failed, rows=answered, within=within)
    return Tally(0.0, MINUTES * 60.0, counted, looks=MINUTES)


def run(
    rng: np.random.Generator, cause: str, share: float, rate: int, said: argparse.Namespace
) -> tuple[float, float, str]:
    """Share of bad windows, episodes a day, and median minutes from the start to an episode."""
    windows = said.days * 24 * 60 // MINUTES
    known: dict[tuple[float, float], Ruling] = {}
    found = []
    for _ in range(windows):
        tally = tally_of(rng, cause, share, rate)
        key = tally.counted.failed, tally.counted.within[P95]
        if key not in known:
            known[key] = next(r for r in rulings(tally, LIMITS, SPEC) if r.cause == cause)
        found.append(known[key])
    bad = [one.finding.verdict == "fail" for one in found]
    watched, opened = Watched("shop"), 0
    for number, one in enumerate(found, 1):
        watched, events = step(watched, window_of(one, number))
        opened += sum(event.what == "opened" for event in events)
    waits = []
    for start in range(0, len(found) - 300, max(1, len(found) // said.faults)):
        watched = Watched("shop")
        for number, one in enumerate(found[start : start + 300], 1):
            watched, events = step(watched, window_of(one, number))
            if events:
                waits.append((unix(events[0].at) - unix(iso(0))) / 60)
                break
        else:
            waits.append(math.inf)
    median = float(np.median(waits))
    return float(np.mean(bad)), opened / said.days, f"{median:.0f}" if median < 1500 else ""


def window_of(one: Ruling, number: int) -> Window:
    """As the part makes it."""
    bad = {one.cause: one.finding} if one.finding.verdict == "fail" else {}
    judged = frozenset({one.cause} if one.judged else ())
    return Window(iso(number * MINUTES * 60.0), judged, bad)


if __name__ == "__main__":
    main()
