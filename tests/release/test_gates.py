"""Gates: three verdicts, each limit judged by its interval."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from evidences import SCHEMA, evidence
from modelwright.core.errors import UsageError
from modelwright.core.goals import check_slices
from modelwright.core.limits import Limit
from modelwright.core.records import Finding, Interval, Override
from modelwright.core.schema import Column, Schema, Target
from modelwright.core.spec_release import ReleaseSpec
from modelwright.core.table import Table
from modelwright.fit.certainty import interval
from modelwright.release.gates import NOT_LEARNED, Ruling, judge, ruling


def find(found: tuple[Finding, ...], check: str, subject: str = "") -> Finding:
    return next(f for f in found if f.check == check and subject in f.subject)


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [(0.75, "pass"), (0.799, "undecided"), (0.801, "undecided"), (0.85, "fail")],
)
def test_quality_is_judged_by_its_interval(bound: float, verdict: str) -> None:
    limit = Limit("accuracy", "at_least", bound)
    found = find(judge(evidence(limits=(limit,))), "limit")
    assert found.verdict == verdict
    assert found.interval and found.interval.low < 0.8 < found.interval.high


def test_undecided_says_how_many_rows_would_decide() -> None:
    found = find(judge(evidence(limits=(Limit("accuracy", "at_least", 0.79),))), "limit")
    assert found.verdict == "undecided" and "more holdout rows for 80% power" in found.advice
    over = find(judge(evidence(limits=(Limit("accuracy", "at_least", 0.801),))), "limit")
    assert "on the wrong side of the line" in over.advice


@pytest.mark.parametrize("name", ["dummy", "linear"])
def test_an_undecided_baseline_says_how_many_rows_would_decide(name: str) -> None:
    """Both are right on 80 % or 79 % of the rows, but on others."""
    y = evidence().holdout.target
    right = np.random.default_rng(1).permutation(np.arange(2000) < 1580)
    said = np.where(right, y, 1 - y)
    other = np.stack([1 - said, said], axis=1) * 0.8 + 0.1
    found = find(judge(evidence(baselines={name: other})), "baseline")
    assert found.verdict == "undecided" and "more holdout rows for 80% power" in found.advice
    behind = find(judge(evidence(accuracy=0.785, baselines={name: other})), "baseline")
    assert behind.verdict == "undecided" and "power" not in behind.advice


@pytest.mark.parametrize(
    ("share", "sized_by", "verdict", "said"),
    [
        (0.95, 0, "pass", ""),
        (0.882, 0, "undecided", "needs about"),
        (0.878, 0, "undecided", "the value itself is on the wrong side"),
        (0.8, 0, "fail", "is time missing"),
        (0.882, 1000, "pass", ""),  # a width of 1,000 rows may hold 1.6 % less by chance
        (0.882, 1_000_000, "undecided", "needs about"),
        (0.86, 1000, "undecided", "the value itself is on the wrong side"),
        (0.8, 1000, "fail", "is time missing"),
    ],
)
def test_intervals_are_held_to_their_promise(
    share: float, sized_by: int, verdict: str, said: str
) -> None:
    """90 %, less 2 %, of 2,000 rows."""
    target = Target("y", "regression", interval=0.9)
    outside = np.arange(2000) >= round(share * 2000)
    y = np.where(outside, 2.0, 0.0)
    found = find(judge(evidence(
        schema=Schema(SCHEMA.columns, target), goal="rmse", holdout=Table({}, y),
        answers=np.zeros(2000), baselines={}, ends=(np.full(2000, -1.0), np.full(2000, 1.0)),
        sized_by=sized_by,
    )), "interval")  # fmt: skip
    assert found.verdict == verdict and said in found.advice
    assert ("1.6% of chance" in found.wanted) == (sized_by == 1000)


@pytest.mark.slow
def test_sound_intervals_pass_in_most_cases() -> None:
    """Split conformal ones, sized by 1,000 rows and judged by 3,000: at most 3 of 100 are stopped;
    ones that hold 84 % never pass."""
    rng, target = np.random.default_rng(4), Target("y", "regression", interval=0.9)

    def verdict(held: float) -> str:
        y = np.where(rng.random(3000) < held, 0.0, 2.0)
        return find(judge(evidence(
            schema=Schema(SCHEMA.columns, target), goal="rmse", holdout=Table({}, y),
            answers=np.zeros(3000), baselines={}, sized_by=1000,
            ends=(np.full(3000, -1.0), np.full(3000, 1.0)),
        )), "interval").verdict  # fmt: skip

    sound = [verdict(rng.beta(901, 100)) for _ in range(100)]
    assert sound.count("pass") >= 97 and "fail" not in sound
    assert "pass" not in {verdict(0.84) for _ in range(50)}


def test_the_rows_that_are_asked_for_decide_in_most_cases() -> None:
    """Of 300 models of that many rows more, about four of five are decided."""
    limit, rng = Limit("accuracy", "at_least", 0.78), np.random.default_rng(0)
    found = find(judge(evidence(limits=(limit,), rows=1000)), "limit")
    more = int(re.search(r"about ([\d,]+) more", found.advice).group(1).replace(",", ""))
    decided = 0
    for _ in range(300):
        right = rng.random(1000 + more) < 0.8
        answers = np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
        decided += interval("accuracy", np.zeros(len(right), int), answers,
                            confidence=0.9).low >= 0.78  # fmt: skip
    assert 0.72 <= decided / 300 <= 0.88


@pytest.mark.parametrize(
    ("metric", "bound", "verdict"),
    [
        ("latency_p95", 0.01, "pass"),
        ("latency_p95", 0.005, "undecided"),
        ("latency_p95", 0.001, "fail"),
        ("throughput", 300, "pass"),
        ("throughput", 700, "fail"),
        ("size", 2000, "pass"),
        ("size", 999, "fail"),
        ("memory", 1e9, "undecided"),
    ],
)
def test_costs(metric: str, bound: float, verdict: str) -> None:
    direction = "at_least" if metric == "throughput" else "at_most"
    limit = Limit(metric, direction, bound)
    assert find(judge(evidence(limits=(limit,))), "limit").verdict == verdict


def test_a_limit_below_the_server_itself_asks_for_no_smaller_model() -> None:
    """1,000 bytes of files in a process of 100 MB."""
    measured = msgspec.structs.replace(evidence().measured, memory=Interval(100e6, 100e6, 100e6))
    for bound, said in ((1e6, "which no smaller model saves"), (99_999_500, "a smaller model")):
        made = replace(evidence(limits=(Limit("memory", "at_most", bound),)), measured=measured)
        assert said in find(judge(made), "limit").advice


def test_each_slice_is_judged() -> None:
    found = judge(evidence(limits=(Limit("accuracy", "at_least", 0.7, "sex"),)))
    slices = [f for f in found if f.check == "slice"]
    assert [f.subject for f in slices] == ["accuracy where sex is f", "accuracy where sex is m"]
    assert all(f.verdict == "pass" and "on 1,000 rows" in f.measured for f in slices)
    with pytest.raises(UsageError, match="Wanted a category or boolean column: sex"):
        check_slices([Limit("accuracy", "at_least", 0.7, "age")], SCHEMA)


def test_the_dummy_must_be_beaten_for_certain() -> None:
    assert find(judge(evidence()), "baseline").verdict == "pass"
    assert find(judge(evidence(accuracy=0.5)), "baseline").verdict in ("fail", "undecided")
    assert find(judge(evidence(accuracy=0.3)), "baseline").blocks


def test_a_linear_model_as_good_is_a_warning_a_better_one_blocks() -> None:
    good = evidence().answers
    same = find(judge(evidence(baselines={"linear": good})), "baseline")
    assert same.verdict == "undecided" and not same.blocks and "simpler" in same.advice
    worse = find(judge(evidence(accuracy=0.6, baselines={"linear": good})), "baseline")
    assert worse.verdict == "fail" and worse.blocks


def test_a_spec_that_says_so_wants_the_linear_model_beaten_for_certain() -> None:
    strict = ReleaseSpec(policy={"baseline": "block"})
    given = {"baselines": {"linear": evidence().answers}, "policy": strict}
    found = judge(evidence(**given))
    same = find(found, "baseline")
    assert same.verdict == "undecided" and same.blocks and "linear is simpler" in same.advice
    assert ruling(found, strict).verdict == "undecided"
    lenient = ReleaseSpec(policy=strict.policy, undecided="allow", reason="a pilot")
    assert ruling(found, lenient).verdict == "undecided", "no baseline is let through"
    beaten = {"baselines": {"linear": evidence(accuracy=0.6).answers}, "policy": strict}
    assert find(judge(evidence(**beaten)), "baseline").verdict == "pass"


def test_the_champion_is_compared_on_the_same_rows() -> None:
    champion = {"champion": evidence().answers, "champion_version": "3"}
    assert find(judge(evidence(**champion)), "champion").verdict == "pass"
    worse = find(judge(evidence(accuracy=0.7, **champion)), "champion", "version 3")
    assert worse.verdict == "fail" and worse.blocks
    margin = ReleaseSpec(champion_margin=0.2)
    assert (
        find(judge(evidence(accuracy=0.7, policy=margin, **champion)), "champion").verdict == "pass"
    )


def test_a_champion_that_cannot_be_compared_is_not_passed_over() -> None:
    found = find(
        judge(evidence(champion_problem="other classes", champion_version="3")), "champion"
    )
    assert found.verdict == "undecided" and found.blocks and found.why == "other classes"


def test_relative_limits() -> None:
    limit = Limit("log_loss", "at_most", 0.01, relative=True)
    assert find(judge(evidence(limits=(limit,))), "champion").severity == "info"
    champion = {"champion": evidence().answers, "champion_version": "1"}
    found = judge(evidence(accuracy=0.7, limits=(limit,), **champion))
    assert sum(f.check == "champion" and f.verdict == "fail" for f in found) == 2


def test_the_policy_decides_what_undecided_does() -> None:
    findings = (
        Finding("limit", "f1", "undecided"),
        Finding("baseline", "x", "undecided", severity="warning"),
    )
    assert ruling(findings, ReleaseSpec()).verdict == "undecided"
    allowed = ruling(findings, ReleaseSpec(undecided="allow", reason="pilot"))
    assert allowed.verdict == "pass" and allowed.let_through == findings[:1]
    assert ruling(findings[1:], ReleaseSpec()).verdict == "pass"
    failed = (*findings, Finding("limit", "f1", "fail"))
    assert ruling(failed, ReleaseSpec(undecided="allow", reason="pilot")).verdict == "fail"


def test_a_person_can_let_an_undecided_gate_through_but_no_failed_one() -> None:
    findings = (Finding("limit", "f1", "undecided"), Finding("champion", "version 1", "undecided"))
    word = Override("limit", "f1", "ann", "seen by hand", "now")
    assert ruling(findings, ReleaseSpec(), [word]).verdict == "undecided"
    both = [word, Override("champion", "version 1", "ann", "new data", "now")]
    assert ruling(findings, ReleaseSpec(), both) == Ruling("pass", findings)
    failed = (Finding("limit", "f1", "fail"), findings[1])
    assert ruling(failed, ReleaseSpec(), both).verdict == "fail"


def test_the_policy_says_which_gates_block() -> None:
    weak = Finding("weak slice", "all columns", "fail", severity="warning")
    bad = Finding("robustness", "extreme values", "fail")
    plain = find(judge(evidence(), [weak, bad]), "weak slice")
    assert not plain.blocks
    strict = ReleaseSpec(policy={"weak slice": "block", "robustness": "warn"})
    found = judge(evidence(policy=strict), [weak, bad])
    assert find(found, "weak slice").blocks and not find(found, "robustness").blocks
    off = judge(evidence(policy=ReleaseSpec(policy={"robustness": "off"})), [bad])
    assert find(off, "robustness").severity == "info"
    assert "switched off" in find(off, "robustness").why


@pytest.mark.parametrize(
    ("policy", "message"),
    [({"parity": "warn"}, "parity always blocks"), ({"limits": "off"}, "did you mean 'limit'")],
)
def test_policies_that_make_no_sense_are_refused(policy: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReleaseSpec(policy=policy)


def test_allowing_what_is_undecided_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        ReleaseSpec(undecided="allow")


def test_quality_limits_share_alpha() -> None:
    one = (Limit("accuracy", "at_least", 0.75),)
    two = (*one, Limit("log_loss", "at_most", 0.9))
    alone, shared = (find(judge(evidence(limits=k)), "limit", "accuracy") for k in (one, two))
    assert alone.interval and shared.interval
    assert alone.interval.confidence == pytest.approx(0.9)
    assert shared.interval.confidence == pytest.approx(0.95)
    assert shared.interval.low < alone.interval.low


def test_rows_of_a_group_make_a_limit_harder_to_prove() -> None:
    limit = (Limit("accuracy", "at_least", 0.78),)
    alone = find(judge(evidence(limits=limit)), "limit")
    base = evidence(limits=limit)
    right = base.answers.argmax(axis=1) == base.holdout.target
    groups = np.argsort(np.argsort(right, kind="stable")) // 100  # all right, or all wrong
    together = replace(base.holdout, groups=groups)
    grouped = find(judge(evidence(limits=limit, holdout=together)), "limit")
    assert (alone.verdict, grouped.verdict) == ("pass", "undecided")


def test_a_model_at_its_limit_minus_two_errors_seldom_passes() -> None:
    """alpha = 5 %: of 100 truly worse models at most about five may pass."""
    limit, rows = Limit("accuracy", "at_least", 0.8), 1000
    passed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y = np.zeros(rows, int)
        right = rng.random(rows) < 0.8 - 2 * np.sqrt(0.16 / rows)
        answers = np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
        found = judge(
            evidence(limits=(limit,), holdout=Table({}, y), answers=answers, baselines={})
        )
        passed += find(found, "limit").verdict == "pass"
    assert passed <= 3


def test_a_declared_slice_without_a_holdout_row_is_undecided() -> None:
    limit = (Limit("accuracy", "at_least", 0.5, "sex"),)
    base = evidence()
    men = Table({"sex": np.array(["m"] * 2000, dtype=object)}, base.holdout.target)
    found = judge(evidence(limits=limit, holdout=men))
    verdicts = {f.subject[-1]: f.verdict for f in found if f.check == "slice"}
    assert verdicts == {"f": "undecided", "m": "pass"}


def test_five_right_of_five_prove_little() -> None:
    limit = Limit("accuracy", "at_least", 0.6, "sex")
    y = np.zeros(2000, int)
    sex = np.array(["f"] * 5 + ["m"] * 1995, dtype=object)
    answers = np.tile([0.9, 0.1], (2000, 1))
    found = judge(evidence(limits=(limit,), holdout=Table({"sex": sex}, y), answers=answers))
    few, many = (f for f in found if f.check == "slice")
    assert (few.verdict, many.verdict) == ("undecided", "pass")
    assert few.interval and few.interval.low == pytest.approx(0.05 ** (1 / 5))


def test_what_tells_of_single_sealed_rows_is_left_out() -> None:
    """The score of a few rows, and the names of levels that only sealed rows have."""
    limits = (Limit("log_loss", "at_most", 9.0, "sex"),)
    sex = np.array(["f"] * 4 + ["zebra", "ox"] + ["m"] * 1994, dtype=object)
    base = evidence()
    found = judge(evidence(limits=limits, holdout=Table({"sex": sex}, base.holdout.target)))
    slices = [f for f in found if f.check == "slice"]
    assert [f.subject.rpartition(" is ")[2] for f in slices] == [NOT_LEARNED, "f", "m"]
    assert [f.verdict for f in slices] == ["undecided", "undecided", "pass"]
    for few in slices[:2]:
        assert few.measured == "fewer than 5 holdout rows" and few.interval is None
    assert "zebra" not in repr(found)


def test_slices_that_cannot_be_measured_or_counted_are_not_passed_over() -> None:
    limit = Limit("roc_auc", "at_least", 0.6, "sex")
    y = np.zeros(2000, int)
    holdout = Table({"sex": np.array(["f", "m"] * 1000, dtype=object)}, y)
    found = judge(evidence(limits=(limit,), holdout=holdout, goal="accuracy"))
    assert [f.verdict for f in found if f.check == "slice"] == ["undecided", "undecided"]
    many = Column("city", "category", levels=tuple(f"c{i}" for i in range(60)))
    with pytest.raises(UsageError, match="has 60 levels; at most 50"):
        check_slices([Limit("f1", "at_least", 0.5, "city")], Schema((many,), SCHEMA.target))


@pytest.mark.parametrize(("common", "verdict"), [(0.003, "pass"), (0.3, "fail")])
def test_answers_that_differ_by_next_to_nothing_agree(common: float, verdict: str) -> None:
    rare = np.arange(2000) % 20 == 0
    seen, said = (np.where(rare, 0.9, p) for p in (common, 0.002))
    found = judge(
        evidence(
            answers=np.stack([1 - said, said], axis=1),
            out_of_fold=np.stack([1 - seen, seen], axis=1),
        )
    )
    assert find(found, "agreement").verdict == verdict
