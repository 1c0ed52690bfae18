"""How often, and how soon, a canary is rolled back or promoted, beside what peers do.

    .venv/bin/python benchmarks/watch/canary.py [--runs 400]

1,000 requests a minute, a fifth to the canary, a look each minute for 120 minutes. Latency is
lognormal with a median of 50 ms. Same runs for the e-process and for a z-test that is looked at
each minute (two-sided .05 on errors, the usual dashboard). Printed: share rolled back, promoted,
and of the minutes until then the median with its quartiles.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from modelwright.watch.canary import Arms, Plan, State, Stratum, look
from modelwright.watch.two_means import Losses, Sums

MINUTES, REQUESTS = 120, 1000
P50, P95, P99 = 0.05 * np.exp(0.4 * np.array([0.0, 1.6449, 2.3263]))
CASES: dict[str, dict[str, float]] = {
    "A/A, .5 % errors": {},
    "errors .5 -> 1.5 %": {"canary": 0.015},
    "errors .5 -> 2.5 %": {"canary": 0.025},
    "errors .02 -> 1.02 %": {"base": 0.0002, "canary": 0.0102},
    "A/A, shared incident": {"incident": 0.05},
    "A/A, ramp 5-50 % and incident": {"incident": 0.05, "ramp": 1},
    "A/A, bursts, by request": {"burst": 5, "by": 5},
    "A/A, bursts, by user": {"burst": 5, "by": 1},
    "latency +5 %": {"slower": 1.05},
    "latency +10 %": {"slower": 1.10},
    "latency +20 %": {"slower": 1.20},
    "labels 10 -> 10 %": {"labels": 0.10},
    "labels 10 -> 15 %": {"labels": 0.15},
    "A/A, errors of values": {"values": 1.0},
    "A/A, the same, ramp and incident": {"values": 1.0, "ramp": 1, "harder": 1},
    "errors of values x1.25": {"values": 1.25},
    "errors of values x1.5": {"values": 1.5},
}


def minute(rng: np.random.Generator, number: int, case: dict[str, float]) -> Stratum:
    share = min(0.5, 0.05 * (1 + number // 5)) if case.get("ramp") else 0.2
    few = rng.binomial(REQUESTS, share)
    many = REQUESTS - few
    base = case.get("base", 0.005)
    worse = case.get("canary", base)
    if 10 <= number < 30:
        base, worse = base + case.get("incident", 0), worse + case.get("incident", 0)
    old = 0.05 * np.exp(0.4 * rng.standard_normal(many))
    new = 0.05 * np.exp(0.4 * rng.standard_normal(few)) * case.get("slower", 1.0)
    cells = {
        name: Arms(many, int((old > edge).sum()), few, int((new > edge).sum()))
        for name, edge in (("over p50", P50), ("over p95", P95), ("over p99", P99))
    }
    cells["errors"] = Arms(many, int(rng.binomial(many, base)), few, int(rng.binomial(few, worse)))
    if "burst" in case:  # errors of one caller's retries: the same callers, counted in two ways
        bursts = [rng.binomial(n, 0.005 / case["burst"]) for n in (many, few)]
        each = [int(np.minimum(rng.geometric(1 / case["by"], k).sum(), n) if k else 0)
                for k, n in zip(bursts, (many, few), strict=True)]  # fmt: skip
        cells["errors"] = Arms(many, each[0], few, each[1])
    if "labels" in case:
        wrong = int(rng.binomial(many, 0.1)), int(rng.binomial(few, case["labels"]))
        cells["label errors"] = Arms(many, wrong[0], few, wrong[1])
    losses = {}
    if "values" in case:  # a tenth of the answers get a truth; errors as of Student's t, cut at p99
        harder = 2.0 if 10 <= number < 30 and "harder" in case else 1.0
        losses["label errors"] = Losses(
            np.minimum(harder * errors(rng, many // 10), 1.0),
            np.minimum(harder * case["values"] * errors(rng, few // 10), 1.0),
        )
    sums = [(len(x), float(x.sum()), float((x**2).sum())) for x in (old, new)]
    return Stratum(cells, Sums(sums[0], sums[1]), losses=losses)


def errors(rng: np.random.Generator, many: int) -> np.ndarray:
    """Absolute errors with heavy tails, in units of their p99."""
    return np.abs(rng.standard_t(3, many)) / 5.841


def peeked(total: np.ndarray) -> bool:
    many, bad, few, worse = total
    rate = (bad + worse) / (many + few)
    spread = np.sqrt(max(rate * (1 - rate), 1e-12) * (1 / many + 1 / few))
    return bool(abs(worse / few - bad / many) > 1.96 * spread)


def quartiles(minutes: list[float]) -> str:
    """The median, and between which minutes the middle half was."""
    if not minutes:
        return "-"
    low, middle, high = np.quantile(minutes, (0.25, 0.5, 0.75))
    return f"{middle:.0f} ({low:.0f}-{high:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    plan = Plan()
    print(
        f"{'case':<32}{'rolled back':>12}{'minute':>14}{'promoted':>10}{'minute':>14}"
        f"{'z peeked':>10}"
    )
    for place, (name, case) in enumerate(CASES.items()):
        if given.only not in name:
            continue
        back, ahead, dashboard, looks, spent = [], [], 0, 0, 0.0
        for run in range(given.runs):
            rng = np.random.default_rng([20261126, place, run])
            state, total, fired = State(), np.zeros(4), False
            for number in range(MINUTES):
                stratum = minute(rng, number, case)
                begun = time.process_time()
                state = look(state, stratum, plan)
                spent += time.process_time() - begun
                looks += 1
                arms = stratum.cells["errors"]
                total += (arms.champion_trials, arms.champion_events, arms.canary_trials,
                          arms.canary_events)  # fmt: skip
                fired = fired or peeked(total)
                if state.call != "hold":
                    break
            dashboard += fired
            if state.call != "hold":
                (back if state.call == "roll back" else ahead).append(state.minutes)
        middle = [quartiles(minutes) for minutes in (back, ahead)]
        shares = [f"{100 * n / given.runs:.1f} %" for n in (len(back), len(ahead), dashboard)]
        print(
            f"{name:<32}{shares[0]:>12}{middle[0]:>14}{shares[1]:>10}{middle[1]:>14}{shares[2]:>10}"
            f"   {1e3 * spent / looks:.2f} ms CPU a look",
            flush=True,
        )


if __name__ == "__main__":
    main()
