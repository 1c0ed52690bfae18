"""A/A canaries whose wrong labels come in clumps: what has to be counted once?

    .venv/bin/python benchmarks/watch/canary_labels.py [--runs 200]

1,000 answers a minute, each with a label, 10 % of them wrong, a fifth on the canary, a look each
minute for 60 minutes, users of very unequal activity (Pareto, 1.1). Of a user: each has an own rate
of wrong labels (Beta .2, 1.8) that lasts, all labels of a user in a minute are wrong or none, and a
user stays with one arm. Of a request: requests of 1 to 300 rows, all of them wrong or none, chance
decides the arm of each. Printed: canaries rolled back, of which
none should be where nothing differs (x1), with the median minute.
"""

from __future__ import annotations

import argparse

import numpy as np

from modelwright.watch.callers import once_each
from modelwright.watch.canary import Arms, Plan, State, Stratum, look

ANSWERS, MINUTES = 1000, 60
CASES = ((400, 1.0), (20_000, 1.0), (20_000, 2.0), (20_000, 3.0), (0, 1.0), (0, 1.5))
"""Users, none for requests, and how many times as often the canary is wrong."""


class Crowd:
    """Who asks, and where their labels are wrong."""

    def __init__(self, rng: np.random.Generator, users: int, worse: float) -> None:
        self._rng, self._worse = rng, worse
        self._rate = rng.beta(0.2, 1.8, users)
        self._new = rng.random(users) < 0.2
        active = rng.pareto(1.1, users) + 0.1
        self._active = active / active.sum()

    def minute(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(name, wrong, on the canary) of each answer."""
        users = self._rng.choice(len(self._rate), ANSWERS, p=self._active)
        new = self._new[users]
        rate = np.minimum(self._rate * np.where(self._new, self._worse, 1.0), 1.0)
        wrong = self._rng.random(len(rate)) < rate
        return users, wrong[users], new


class Requests:
    """Requests of many rows that are wrong together."""

    def __init__(self, rng: np.random.Generator, worse: float) -> None:
        self._rng, self._worse, self._asked = rng, worse, 0

    def minute(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As of a crowd; the name is the request's."""
        sizes = np.minimum(self._rng.pareto(1.1, ANSWERS) + 1, 300).astype(int)
        sizes = sizes[: np.searchsorted(sizes.cumsum(), ANSWERS) + 1]
        new = self._rng.random(len(sizes)) < 0.2
        wrong = self._rng.random(len(sizes)) < np.where(new, 0.1 * self._worse, 0.1)
        names = np.repeat(self._asked + np.arange(len(sizes)), sizes)
        self._asked += len(sizes)
        return names, np.repeat(wrong, sizes), np.repeat(new, sizes)


def counted(found: tuple[np.ndarray, np.ndarray, np.ndarray], kept: np.ndarray) -> Arms:
    _, wrong, new = (column[kept] for column in found)
    return Arms(
        int((~new).sum()), int((wrong & ~new).sum()), int(new.sum()), int((wrong & new).sum())
    )


def call(run: int, users: int, way: str, worse: float) -> State:
    """The verdict of one canary; of requests where there are no users."""
    rng, state, plan = np.random.default_rng([11, run]), State(), Plan()
    crowd, known = Crowd(rng, users, worse) if users else Requests(rng, worse), b""
    for _ in range(MINUTES):
        found = crowd.minute()
        if way == "row":
            kept = np.ones(len(found[0]), bool)
        else:
            kept, known = once_each(found[0].astype(str), known if way.endswith("once") else b"")
        few, many = rng.binomial(200, 0.005), rng.binomial(800, 0.005)
        cells = {
            "errors": Arms(800, int(many), 200, int(few)),
            "label errors": counted(found, kept),
        }
        state = look(state, Stratum(cells), plan)
        if state.call != "hold":
            break
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--only", default="", help="part of a line's beginning")
    given = parser.parse_args()
    for users, worse in (
        (400, 1.0),
        (20_000, 1.0),
        (20_000, 2.0),
        (20_000, 3.0),
        (0, 1.0),
        (0, 1.5),
    ):
        what = f"{users:,} users" if users else "requests"
        for way in ("row", "name in a minute", "name once"):
            if given.only not in f"{what} x{worse:g}, by {way}":
                continue
            ends = [call(run, users, way, worse) for run in range(given.runs)]
            back = [end.minutes for end in ends if end.call == "roll back"]
            middle = f", median minute {np.median(back):.0f}" if back else ""
            print(f"{what} x{worse:g}, by {way}: {len(back)} of {given.runs} rolled back{middle}",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
