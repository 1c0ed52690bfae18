"""The choice on a made scorecard: what counts as a lead, what is simpler, what a limit costs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from modelwright.core.limits import Limit
from modelwright.core.records import Measured, Origin, Price
from modelwright.core.spec import parse_limits
from modelwright.fit.choose import Chooser, broken_by, excess
from modelwright.fit.family import family_of
from modelwright.fit.noise import Scorecard, Scored
from modelwright.fit.trials import Candidate

MB = 1_000_000


def card(**given: tuple[float, float]) -> Scorecard:
    """A scorecard of `c1=(score, error of the lead over one with error 0)` and so on."""
    entries = {
        int(name[1:]): [Scored(score, np.array([error / 2, -error / 2]))]
        for name, (score, error) in given.items()
    }
    return Scorecard("roc_auc", [1.0], entries=entries)


def made(
    number: int,
    origin: Origin = "default",
    *,
    size: int = MB,
    seconds: float = 1e-5,
    nodes: int = 1000,
    throughput: float | None = None,
) -> Candidate:
    price = Price(seconds, size, nodes, throughput=throughput)
    return Candidate(number, family_of("lightgbm"), origin, {}, price=price)


def blend(number: int, *members: Candidate) -> Candidate:
    parts = tuple((member, 1 / len(members)) for member in members)
    return Candidate(number, None, "blend", {}, parts, price=Price(3e-5, 3 * MB, 3000))


def chooser(
    scorecard: Scorecard,
    limits: tuple[Limit, ...] = (),
    measured: Mapping[int, Measured] | None = None,
    bias: float = 0.0,
    drop_at_most: float = 0.0,
) -> Chooser:
    return Chooser(scorecard, limits, measured or {}, bias, drop_at_most)


def best(found: Chooser, candidates: Sequence[Candidate]) -> int:
    return found.best_within_noise(candidates).number


def test_the_made_scorecard_has_the_leads_that_it_was_asked_for() -> None:
    lead, error = card(c1=(0.92, 0.0), c2=(0.90, 0.003)).lead(1, 2)
    assert (lead, error) == (pytest.approx(0.02), pytest.approx(0.003))


def test_one_that_ran_fewer_folds_is_ranked_by_those_that_it_shares() -> None:
    """The first cut of a small table was easy: its mean alone says nothing against the others."""
    folds = {1: (0.90, 0.80, 0.82), 2: (0.89,), 3: (0.91,), 4: (0.88, 0.79, 0.81)}
    entries = {n: [Scored(s, np.zeros(2)) for s in scores] for n, scores in folds.items()}
    scores = Scorecard("roc_auc", [1.0] * 3, 3, entries)
    assert scores.comparable(2, 1) == pytest.approx(0.83)
    ranked = chooser(scores).ranked([made(n) for n in (4, 2, 3, 1)])
    assert [c.number for c in ranked] == [3, 1, 2, 4]


@pytest.mark.parametrize(("error", "wins"), [(0.003, 9), (0.005, 1)])
def test_a_blend_must_lead_by_more_than_the_noise(error: float, wins: int) -> None:
    one, two = made(1), made(2)
    scores = card(c9=(0.904, 0.0), c1=(0.900, error), c2=(0.890, error))
    assert best(chooser(scores), [one, two, blend(9, one, two)]) == wins


def test_being_the_best_of_many_flatters_single_models_only() -> None:
    one, tuned = made(1), made(2, "search")
    scores = card(c9=(0.902, 0.0), c2=(0.902, 0.0), c1=(0.900, 0.001))
    assert best(chooser(scores), [one, tuned]) == 2
    assert best(chooser(scores, bias=0.003), [one, tuned]) == 1
    assert best(chooser(scores, bias=0.003), [one, blend(9, one, tuned)]) == 9


@pytest.mark.parametrize(
    ("origins", "wins"),
    [
        (("search", "preset"), 2),
        (("preset", "default"), 2),
        (("search", "shortened"), 2),
        (("default", "search"), 1),
        (("default", "default"), 1),  # equally plain: the better score
    ],
)
def test_within_the_noise_the_less_tuned_wins(origins: tuple[Origin, Origin], wins: int) -> None:
    candidates = [made(number, origin) for number, origin in enumerate(origins, start=1)]
    assert best(chooser(card(c1=(0.902, 0.0), c2=(0.901, 0.002))), candidates) == wins


@pytest.mark.parametrize(("nodes", "wins"), [(1000, 2), (7500, 1)])
def test_within_the_noise_the_small_one_wins_by_more_than_a_doubling(nodes: int, wins: int) -> None:
    candidates = [made(1, nodes=8000), made(2, nodes=nodes)]
    assert best(chooser(card(c1=(0.902, 0.0), c2=(0.901, 0.002))), candidates) == wins


@pytest.mark.parametrize(("drop_at_most", "wins"), [(0.0, 1), (0.005, 1), (0.02, 2)])
def test_a_smaller_model_may_cost_what_the_spec_gives_up(drop_at_most: float, wins: int) -> None:
    scores = card(c1=(0.91, 0.0), c2=(0.90, 0.001))
    candidates = [made(1, "search", nodes=8000), made(2, "shortened", nodes=2000)]
    assert best(chooser(scores, drop_at_most=drop_at_most), candidates) == wins


def test_what_is_within_the_noise_of_the_best_feasible_one_counts() -> None:
    """The best breaks a limit: neither it nor its noise has a say in what remains."""
    limits = parse_limits({"size": "2 MB"})
    scores = card(c1=(0.95, 0.5), c2=(0.91, 0.0), c3=(0.90, 0.001))
    found = chooser(scores, limits)
    candidates = [made(1, size=3 * MB), made(2), made(3)]
    assert best(chooser(scores), candidates) == 1
    assert found.choice(candidates).number == 2
    assert found.broken(candidates[0]) == limits and not found.broken(candidates[1])


def test_where_nothing_is_feasible_the_nearest_is_taken() -> None:
    limits = parse_limits({"size": "1 MB", "throughput": "1000/s"})
    far = made(1, size=4 * MB, throughput=2000.0)
    near = made(2, size=2 * MB, throughput=900.0)
    found = chooser(card(c1=(0.95, 0.0), c2=(0.90, 0.001)), limits)
    assert found.choice([far, near]) is near
    assert [limit.metric for limit in found.broken(near)] == ["size", "throughput"]
    assert found.broken(near, without=limits[0]) == (limits[1],)
    assert near.price is not None and far.price is not None
    assert 0 < excess(limits, near.price) < excess(limits, far.price)
    assert excess(limits, Price(1e-5, MB // 2, 10)) < 0 and not broken_by(limits, Price(1, 1, 1))


def test_what_was_measured_counts_before_what_was_expected() -> None:
    limits = parse_limits({"size": "2 MB"})
    one, two = made(1, size=MB), made(2, size=MB)
    real = Measured("here", in_process_p50=9e-5, size=3 * MB, load_seconds=0.01)
    found = chooser(card(c1=(0.92, 0.0), c2=(0.90, 0.001)), limits, {1: real})
    assert found.choice([one, two]) is two
    assert found.seconds(one) == 9e-5 and found.seconds(two) == 1e-5


def test_the_best_score_comes_first_and_none_at_all_last() -> None:
    scores = Scorecard("rmse", [1.0], entries=card(c1=(9.0, 0.0), c2=(7.0, 0.0)).entries)
    found = chooser(scores)
    assert [c.number for c in found.ranked([made(3), made(1), made(2)])] == [2, 1, 3]
    assert not found.binding([made(1)]) and not found.binding([])


def test_the_pareto_line_is_of_score_and_one_row_in_process() -> None:
    scores = card(c1=(0.95, 0.0), c2=(0.93, 0.0), c3=(0.94, 0.0), c4=(0.90, 0.0), c5=(0.80, 0.0))
    candidates = [
        made(1, seconds=5e-5), made(2, seconds=6e-5), made(3, seconds=2e-5, size=99 * MB),
        made(4, seconds=1e-5), made(5, seconds=1e-5, size=1),
    ]  # fmt: skip
    assert chooser(scores).pareto(candidates) == {1, 3, 4}


def test_a_limit_has_its_price() -> None:
    limits = parse_limits({"size": "1 MB"})
    kept, cheap, dear = made(1), made(2, size=2 * MB), made(3, size=4 * MB)
    found = chooser(card(c1=(0.90, 0.001), c2=(0.91, 0.0), c3=(0.93, 0.0)), limits)
    step, most = found.relaxations(kept, [kept, cheap, dear])
    assert step.measured.startswith("+1 MB buys 0.0100 roc_auc: lightgbm (candidate 2)")
    assert most.measured.startswith("+3 MB buys 0.0300 roc_auc: lightgbm (candidate 3)")
    assert "about 4 MB, expected" in most.measured and "limits.size of 4.02 MB" in most.advice
    assert most.interval is not None
    assert most.interval.value == pytest.approx(0.03)
    assert most.interval.high - most.interval.low == pytest.approx(4 * 0.001)


def test_a_gain_that_would_not_be_taken_has_no_price() -> None:
    """What leads within the noise only would not be chosen if the limit let it in."""
    limits = parse_limits({"size": "1 MB"})
    kept, larger, tuned = made(1), made(2, size=2 * MB, nodes=9000), made(3, "search", size=3 * MB)
    found = chooser(card(c1=(0.90, 0.002), c2=(0.901, 0.0), c3=(0.9015, 0.0)), limits)
    assert found.relaxations(kept, [kept, larger, tuned]) == []


@pytest.mark.parametrize("size", [253_496, 1_004_999, 999_999])
def test_the_bound_that_is_advised_lets_the_model_in(size: int) -> None:
    limits = parse_limits({"size": "100 kB"})
    kept, larger = made(1, size=1), made(2, size=size)
    [told] = chooser(card(c1=(0.90, 0.0), c2=(0.95, 0.0)), limits).relaxations(kept, [kept, larger])
    [advised] = re.findall(r"limits\.size of (.+) would allow it", told.advice)
    assert size <= parse_limits({"size": advised})[0].bound <= 1.02 * size


def test_a_lower_limit_is_relaxed_downwards() -> None:
    limits = parse_limits({"throughput": "1000/s"})
    kept, slow = made(1, throughput=1500.0), made(2, throughput=400.0)
    [relaxed] = chooser(card(c1=(0.90, 0.001), c2=(0.91, 0.0)), limits).relaxations(
        kept, [kept, slow]
    )
    assert relaxed.measured.startswith("-600 /s buys 0.0100 roc_auc")


def test_where_two_limits_stand_in_the_way_none_alone_has_a_price() -> None:
    limits = parse_limits({"size": "1 MB", "throughput": "1000/s"})
    kept = made(1, throughput=1500.0)
    both = made(2, size=2 * MB, throughput=400.0)
    scores = card(c1=(0.90, 0.001), c2=(0.91, 0.0))
    assert chooser(scores, limits).relaxations(kept, [kept, both]) == []
    missed = chooser(scores, limits).relaxations(both, [both])
    assert [finding.subject for finding in missed] == ["size", "throughput"]
    assert all("no single limit stands in the way" in finding.why for finding in missed)


def test_the_nearest_says_what_would_let_it_in() -> None:
    limits = parse_limits({"size": "1 MB"})
    near, far = made(1, size=2 * MB), made(2, size=5 * MB)
    found = chooser(card(c1=(0.90, 0.001), c2=(0.95, 0.0)), limits)
    told = [finding.measured for finding in found.relaxations(near, [near, far])]
    assert told[0].startswith("+1 MB makes lightgbm feasible, roc_auc 0.9000")
    assert told[1].startswith("+4 MB makes lightgbm feasible, roc_auc 0.9500")
