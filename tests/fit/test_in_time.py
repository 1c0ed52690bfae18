"""Rows in order of time: however much neighbours are alike, the interval holds what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from modelwright.core.intake import Array
from modelwright.core.limits import METRICS
from modelwright.fit.certainty import gain_between, interval, paired_gain, standing
from modelwright.fit.in_time import FEWEST, InTime, error_in_time
from modelwright.fit.score import gain, score
from simulated import Rows, lasting, within


@pytest.mark.parametrize("rows", [40, 150, 500])
@pytest.mark.parametrize("stays", [0.0, 0.5, 0.8, 0.95])
def test_however_much_neighbours_are_alike_the_error_is_known(rows: int, stays: float) -> None:
    """A lead of nothing, of which each row tells nearly what the one before told."""
    rng, times, held = np.random.default_rng(7), 1000, 0
    for shocks in rng.normal(size=(times, rows + 200)):
        lead = lfilter([1.0], [1.0, -stays], shocks)[200:]
        error, freedom = error_in_time((lead - lead.mean()) / rows)
        held += abs(lead.mean()) <= stats.t.ppf(0.95, freedom) * error
    assert 0.87 - 0.025 <= held / times <= 0.93 + 0.025


def numbers(rng: np.random.Generator, rows: int, stays: float) -> Rows:
    """A model whose errors stay for a while, of skewed values."""
    y = rng.gamma(3, 2, rows) + 1
    return y, y + 0.3 * np.sqrt(y) * lasting(rng, rows, stays)


def classes(rng: np.random.Generator, rows: int, stays: float) -> Rows:
    """A model that does not know what stays for a while."""
    known = rng.normal(-0.5, 1.5, rows)
    p, true = (1 / (1 + np.exp(-x)) for x in (known, known + lasting(rng, rows, stays)))
    return (rng.random(rows) < true).astype(int), np.stack([1 - p, p], axis=1)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "stays"), [(200, 0.0), (200, 0.8), (500, 0.8), (2_000, 0.95)])
@pytest.mark.parametrize("metric", ["mae", "rmse", "r2", "accuracy", "f1", "log_loss", "roc_auc"])
def test_a_metric_of_a_holdout_in_order_of_time(metric: str, rows: int, stays: float) -> None:
    make = numbers if METRICS[metric].tasks == ("regression",) else classes
    rng, times = np.random.default_rng(3), 500
    truth = score(metric, *make(rng, 2_000_000, stays))
    found = [
        interval(metric, *make(rng, rows, stays), confidence=0.9, clusters=InTime.of(rows))
        for _ in range(times)
    ]
    held = float(np.mean([one.low <= truth <= one.high for one in found]))
    assert within(held, 0.9, times, above=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["mae", "roc_auc", "f1"])
@pytest.mark.parametrize("rows", [200, 2_000])
def test_the_lead_of_one_of_two_models_in_order_of_time(metric: str, rows: int) -> None:
    make = numbers if metric == "mae" else classes
    rng, times, held = np.random.default_rng(4), 500, 0

    def drawn(count: int) -> tuple[Array, Array, Array]:
        y, ours = make(rng, count, 0.9)
        noise = 0.3 * lasting(rng, count, 0.9)
        if ours.ndim == 1:
            return y, ours, ours + noise
        up = 1 / (1 + np.exp(-np.log(ours[:, 1] / ours[:, 0]) - noise))
        return y, ours, np.stack([1 - up, up], axis=1)

    y, ours, theirs = drawn(2_000_000)
    truth = gain(metric, score(metric, y, ours), score(metric, y, theirs))
    for _ in range(times):
        found = paired_gain(metric, *drawn(rows), confidence=0.9, clusters=InTime.of(rows))
        held += found.low <= truth <= found.high
    assert within(held / times, 0.9, times, above=0.05)


def test_many_rows_are_added_up_in_stretches_that_tell_the_same() -> None:
    rng = np.random.default_rng(0)
    y, answers = numbers(rng, 40_000, 0.95)
    few = interval("mae", y, answers, clusters=InTime.of(40_000))
    each = interval("mae", y, answers, clusters=InTime(np.arange(40_000)))
    assert few.value == each.value
    assert few.high - few.low == pytest.approx(each.high - each.low, rel=0.1)


def test_a_lead_from_what_was_kept_is_the_same() -> None:
    y, ours = numbers(np.random.default_rng(0), 300, 0.9)
    theirs, rows = ours + 0.1, InTime.of(300)
    kept = [standing("mae", y, one, clusters=rows) for one in (ours, theirs)]
    assert kept[0] is not None and kept[1] is not None and kept[0].in_time
    assert gain_between("mae", kept[0], kept[1]) == paired_gain("mae", y, ours, theirs,
                                                                clusters=rows)  # fmt: skip


def test_of_a_handful_of_rows_each_counts_for_itself() -> None:
    y, answers = numbers(np.random.default_rng(0), FEWEST - 1, 0.0)
    plain, ordered = (
        interval("mae", y, answers, clusters=clusters)
        for clusters in (np.arange(FEWEST - 1), InTime.of(FEWEST - 1))
    )
    assert (ordered.low, ordered.high) == pytest.approx((plain.low, plain.high))
    one = interval("mae", y[:1], answers[:1], clusters=InTime.of(1))
    assert one.high == np.inf
