"""A/A canaries whose users differ in latency for good: is counting users a way out?

    .venv/bin/python benchmarks/watch/canary_users.py [--runs 60]

1,000 requests a minute of 400 users, a few of whom send most; a fifth of the users on the canary,
each on one arm (but for the last line); a look each minute for 60 minutes. A user's log latency
lies .35 from the mean (requests: .4). Exceedances of p50, p95 and p99 counted by request, by user
with any of them in the minute, and by the first answer of each user in the minute. Printed:
canaries rolled back, of which none should be, and promoted.
"""

from __future__ import annotations

import argparse

import numpy as np

from modelwright.watch.canary import Arms, Plan, State, Stratum, look

USERS, REQUESTS, MINUTES = 400, 1000, 60
WAYS = ("request", "user", "first answer of a user")
PARTS = ("over p50", "over p95", "over p99")


def arms(event: np.ndarray, new: np.ndarray, users: np.ndarray, way: str) -> Arms:
    """Counts of both arms, in one of `WAYS`."""
    found: list[int] = []
    for arm in (~new, new):
        _, first, place = np.unique(users[arm], return_index=True, return_inverse=True)
        hit = event[arm]
        if way == "user":
            hit = np.bincount(place, hit, len(first)) > 0
        elif way != "request":
            hit = hit[first]
        found += [len(hit), int(hit.sum())]
    return Arms(*found)


def call(run: int, way: str, *, lasting: bool, sticky: bool = True) -> str:
    """The verdict of one canary; `lasting`: a user stays as slow as it is; `sticky`: on one arm."""
    rng, state, plan = np.random.default_rng([7, run]), State(), Plan()
    slow, on_canary = rng.normal(0, 0.35, USERS), rng.random(USERS) < 0.2
    usual = rng.normal(0, 0.4, 200_000) + rng.choice(slow, 200_000)
    edges = np.quantile(usual, (0.5, 0.95, 0.99))
    active = rng.pareto(1.5, USERS) + 0.1
    for _ in range(MINUTES):
        if not lasting:
            slow = rng.normal(0, 0.35, USERS)
        users = rng.choice(USERS, REQUESTS, p=active / active.sum())
        new = on_canary[users] if sticky else rng.random(REQUESTS) < 0.2
        took = rng.normal(0, 0.4, REQUESTS) + slow[users]
        cells = {
            name: arms(took > edge, new, users, way)
            for name, edge in zip(PARTS, edges, strict=True)
        }
        cells["errors"] = Arms(800, 4, 200, 1)
        state = look(state, Stratum(cells), plan)
        if state.call != "hold":
            break
    return state.call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=60)
    given = parser.parse_args()
    for lasting in (False, True):
        for way in WAYS:
            calls = [call(run, way, lasting=lasting) for run in range(given.runs)]
            kind = "lasting" if lasting else "new each minute"
            back, ahead = calls.count("roll back"), calls.count("promote")
            print(f"users' differences {kind}, by {way}: {back} of {given.runs} rolled back, "
                  f"{ahead} promoted", flush=True)  # fmt: skip
    calls = [call(run, "request", lasting=True, sticky=False) for run in range(given.runs)]
    print(f"lasting, chance decides the arm of each request, by request: "
          f"{calls.count('roll back')} of {given.runs} rolled back")  # fmt: skip


if __name__ == "__main__":
    main()
