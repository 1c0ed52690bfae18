"""E-values of mean losses: their mean under the null, their power, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelwright.core.errors import DataError
from modelwright.watch.two_means import STAKES, Losses, Sums, log_e_of_means


@pytest.mark.parametrize(("many", "few"), [(40, 10), (10, 40), (7, 7), (13, 3)])
def test_its_mean_is_at_most_one_where_the_null_is_just_true(many: int, few: int) -> None:
    """Losses of 0 and 1, the widest there are."""
    rng, harm, safe, tries = np.random.default_rng(0), np.zeros(7), np.zeros(7), 4000
    for _ in range(tries):
        old = (rng.random(many) < 0.2).astype(float)
        worse = log_e_of_means(Losses(old, (rng.random(few) < 0.24) * 1.0), 1.2, 0.0, 1.5)
        better = log_e_of_means(Losses(old, (rng.random(few) < 0.3) * 1.0), 1.2, 0.0, 1.5)
        harm, safe = harm + np.exp(worse[0]), safe + np.exp(better[1])
    quiet = STAKES <= 0.2  # the variance of larger stakes is too large for a mean of 4,000
    assert (harm[quiet] / tries < 1.1).all() and (safe[quiet] / tries < 1.1).all()
    assert (harm[quiet] / tries > 0.9).all()


def test_wealth_stays_positive_whatever_comes() -> None:
    worst = log_e_of_means(Losses(np.ones(5), np.zeros(5)), 1.05, 0.001, 1.5)[0]
    assert np.isfinite(worst).all() and (worst < 0).all()
    other = log_e_of_means(Losses(np.zeros(5), np.ones(5)), 1.05, 0.001, 1.5)[1]
    assert np.isfinite(other).all() and (other < 0).all()


def test_an_arm_without_losses_bets_nothing() -> None:
    harm, safe = log_e_of_means(Losses(np.ones(3), np.zeros(0)), 1.05, 0.0, 1.5)
    assert not harm.any() and not safe.any()


@pytest.mark.parametrize("loss", [-0.1, 1.1, math.nan])
def test_what_is_no_loss_is_refused(loss: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        log_e_of_means(Losses(np.array([0.5, loss]), np.array([0.5])), 1.05, 0.0, 1.5)


def test_sums_are_in_the_targets_unit_and_add_up() -> None:
    one = Losses(np.array([0.5, 1.0]), np.array([0.25]), scale=8.0).sums()
    assert one == Sums((2, 12.0, 80.0), (1, 2.0, 4.0))
    both = one.plus(one)
    assert both.means() == (6.0, 2.0) and both.champion == (4, 24.0, 160.0)
    ratio = both.ratio()
    assert ratio.value == pytest.approx(1 / 3) and ratio.low < 1 / 3 < ratio.high
    empty = Sums((0, 0.0, 0.0), (0, 0.0, 0.0)).ratio()
    assert math.isnan(empty.value)
