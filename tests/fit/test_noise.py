"""How sure scores are: errors agree with the bootstrap, intervals hold known truths."""

from __future__ import annotations

import time

import numpy as np
import pytest

from modelwright.core.limits import METRICS, QUALITY
from modelwright.fit.certainty import interval
from modelwright.fit.influence import TABLE_METRICS, influence
from modelwright.fit.noise import Scorecard, scored
from modelwright.fit.score import score

RNG = np.random.default_rng(3)
ROWS = 900
Y = RNG.integers(0, 2, ROWS)
P = np.clip(0.35 + 0.3 * Y + RNG.normal(0, 0.2, ROWS), 0.02, 0.98)
ANSWERS = np.stack([1 - P, P], axis=1)
NUMBERS = RNG.gamma(3, 4, ROWS) + 1
VALUES = NUMBERS + RNG.normal(0, 2, ROWS)


def sample(metric: str) -> tuple[np.ndarray, np.ndarray]:
    return (NUMBERS, VALUES) if METRICS[metric].tasks == ("regression",) else (Y, ANSWERS)


@pytest.mark.parametrize("metric", sorted(QUALITY))
def test_the_error_is_that_of_the_bootstrap(metric: str) -> None:
    y, answers = sample(metric)
    card = Scorecard(metric, [1.0], entries={0: [scored(metric, y, answers, None)]})
    draws = []
    for _ in range(200):
        rows = RNG.integers(0, ROWS, ROWS)
        draws.append(score(metric, y[rows], answers[rows]))
    assert card.error(0) == pytest.approx(np.std(draws), rel=0.45)
    assert card.mean(0) == score(metric, y, answers)


@pytest.mark.parametrize("metric", sorted(QUALITY))
def test_influences_cancel_out(metric: str) -> None:
    found = influence(metric, *sample(metric))
    assert found is None or abs(found.mean()) < 1e-9


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("metric", sorted(TABLE_METRICS))
def test_influences_are_derivatives_by_the_weight_of_a_row(metric: str, classes: int) -> None:
    """Against central differences of scikit-learn's weighted scores; the last class is in no row
    of the truth."""
    if classes > 2 and "multiclass" not in METRICS[metric].tasks:
        return
    rng = np.random.default_rng(classes)
    y = rng.integers(0, max(2, classes - 1), 60)
    answers = rng.dirichlet(np.ones(classes), 60)
    found = influence(metric, y, answers)
    assert found is not None
    for row in range(0, 60, 7):
        ends = []
        for step in (1e-4, -1e-4):
            weights = np.ones(60)
            weights[row] += step
            ends.append(score(metric, y, answers, weights))
        assert found[row] == pytest.approx(60 * (ends[0] - ends[1]) / 2e-4, abs=2e-5), row


def test_hundreds_of_classes_cost_a_moment() -> None:
    rng = np.random.default_rng(0)
    y, answers = rng.integers(0, 300, 20_000), rng.dirichlet(np.ones(300), 20_000)
    started = time.process_time()
    for metric in ("f1_macro", "f1_weighted", "mcc", "balanced_accuracy"):
        influence(metric, y, answers)
    assert time.process_time() - started < 1.0


def test_rows_that_vary_together_make_a_score_less_sure() -> None:
    groups = np.repeat(np.arange(30), 30)
    shift = RNG.normal(0, 0.2, 30)[groups]
    p = np.clip(P + shift, 0.01, 0.99)
    answers = np.stack([1 - p, p], axis=1)
    alone = scored("log_loss", Y, answers, None)
    together = scored("log_loss", Y, answers, groups)
    assert together.score == alone.score and together.variance != alone.variance


def card_of(answers: list[np.ndarray], metric: str = "log_loss") -> Scorecard:
    folds = np.array_split(np.arange(ROWS), 3)
    entries = {
        number: [scored(metric, Y[rows], a[rows], None) for rows in folds]
        for number, a in enumerate(answers)
    }
    return Scorecard(metric, [1.0] * 3, entries=entries)


def test_a_lead_is_paired() -> None:
    nearly = np.stack([1 - P * 0.999, P * 0.999], axis=1)
    card = card_of([ANSWERS, nearly])
    lead, error = card.lead(0, 1)
    assert error < card.error(0) / 20
    assert card.lead(0, 0) == (0.0, 0.0)
    assert lead == pytest.approx(card.mean(1) - card.mean(0))


def test_the_newest_fold_weighs_more() -> None:
    card = card_of([ANSWERS])
    card.weights = [1.0, 1.0, 2.0]
    parts = [fold.score for fold in card.entries[0]]
    assert card.mean(0) == pytest.approx((parts[0] + parts[1] + 2 * parts[2]) / 4)
    assert card.mean(0, 2) == pytest.approx((parts[0] + parts[1]) / 2)


def test_choosing_among_equals_flatters_and_is_found_out() -> None:
    """Candidates that are all worth the same: the best one's score is luck, and that is its
    estimated bias."""
    rng = np.random.default_rng(5)
    flattered, estimated = [], []
    for _ in range(20):
        y = rng.integers(0, 2, ROWS)
        guesses = []
        for _ in range(15):
            p = np.clip(0.5 + rng.normal(0, 0.15, ROWS), 0.05, 0.95)
            guesses.append(np.stack([1 - p, p], axis=1))
        entries = {n: [scored("roc_auc", y, g, None)] for n, g in enumerate(guesses)}
        card = Scorecard("roc_auc", [1.0], entries=entries)
        flattered.append(max(card.mean(n) for n in entries) - 0.5)
        estimated.append(card.selection_bias(list(entries), seed=0))
    assert np.mean(estimated) == pytest.approx(np.mean(flattered), rel=0.35)
    alone = card_of([ANSWERS])
    assert alone.selection_bias([0], seed=0) == 0.0


def test_a_clear_winner_is_not_flattered() -> None:
    card = card_of([ANSWERS, np.full_like(ANSWERS, 0.5)])
    assert card.selection_bias([0, 1], seed=0) < 1e-3


@pytest.mark.slow
def test_intervals_hold_the_known_risk_at_their_rate() -> None:
    """Simulated data whose best possible log loss is known: the entropy of its chances."""
    rng = np.random.default_rng(11)
    held = {"release": 0, "search": 0}
    rounds = 150
    logits = rng.normal(0, 1.5, 2_000_000)
    chance = 1 / (1 + np.exp(-logits))
    bayes = float(-(chance * np.log(chance) + (1 - chance) * np.log(1 - chance)).mean())
    for _ in range(rounds):
        p = chance[rng.integers(0, len(chance), 600)]
        y = (rng.random(600) < p).astype(int)
        answers = np.stack([1 - p, p], axis=1)
        found = interval("log_loss", y, answers, confidence=0.9)
        held["release"] += found.low <= bayes <= found.high
        fold = scored("log_loss", y, answers, None)
        held["search"] += abs(fold.score - bayes) <= 1.645 * fold.variance**0.5
    for share in held.values():
        assert 0.84 <= share / rounds <= 0.96
