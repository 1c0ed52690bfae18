"""False alarms and delays of the e-detector on labels in order of arrival.

    .venv/bin/python benchmarks/watch/sequential.py [--runs 100]

The bound is the old error rate and one point. Beside it, on the same labels: a window of the last
1,000 labels whose error rate is tested after each hundred (one-sided .001), as a dashboard would.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from modelwright.watch.sequential import Detector, watch

CASES = ((0.2, 0.25), (0.2, 0.3), (0.05, 0.07), (0.05, 0.10), (0.2, 0.5))


def window_alarm(losses: np.ndarray, bound: float) -> int:
    """Labels until the window's rate is significantly above the bound; -1 for never."""
    sums = np.concatenate([[0], np.cumsum(losses)])
    ends = np.arange(1000, len(losses) + 1, 100)
    rates = (sums[ends] - sums[ends - 1000]) / 1000
    fired = rates > bound + 3.09 * np.sqrt(bound * (1 - bound) / 1000)
    return int(ends[fired.argmax()]) if fired.any() else -1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    print(f"{'error':<14}{'false / 100k':>13}{'delay':>8}{'window: false':>15}{'delay':>8}")
    spent = labels = 0.0
    for before, after in CASES:
        false, other_false, delays, other = 0, 0, [], []
        for run in range(runs):
            rng = np.random.default_rng([7, run, int(1000 * after)])
            quiet, changed = rng.random(20_000) < before, rng.random(20_000) < after
            begun = time.process_time()
            state, found = watch(Detector(before + 0.01), quiet)
            spent, labels = spent + time.process_time() - begun, labels + len(quiet)
            false += len(found)
            other_false += window_alarm(quiet, before + 0.01) >= 0
            for end in range(10, len(changed) + 1, 10):
                state, found = watch(state, changed[end - 10 : end])
                if found:
                    delays.append(end)
                    break
            at = window_alarm(np.concatenate([quiet[-1000:], changed]), before + 0.01)
            other.append(at - 1000 if at > 1000 else np.inf)
        print(
            f"{before:.2f} -> {after:.2f}{'':<2}{5 * false / runs:>13.1f}{np.median(delays):>8.0f}"
            f"{5 * other_false / runs:>15.1f}{np.median(other):>8.0f}",
            flush=True,
        )
    print(f"{1e6 * spent / labels:.2f} us CPU a label")


if __name__ == "__main__":
    main()
