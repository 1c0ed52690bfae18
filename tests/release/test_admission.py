"""What a run has to satisfy before it reads its table."""

from __future__ import annotations

from pathlib import Path

import pytest

import modelwright as mw
from modelwright.core.errors import ApprovalNeeded, Refused
from modelwright.core.policy import FILE
from modelwright.core.principal import Principal, acting_as
from modelwright.core.runs import REPRODUCED
from modelwright.core.spec_file import read_spec
from modelwright.core.writer import writing
from modelwright.release.admission import admitted, admitted_again
from projects import QUICK

AGENT = Principal("agent a", "agent")


def refusal(folder: Path, *overrides: str) -> Refused:
    with pytest.raises(Refused) as caught, acting_as(AGENT):
        mw.run(folder / "modelwright.yaml", overrides=overrides)
    assert not (folder / "runs").exists()
    return caught.value


def test_hyperparameters_beside_the_spec(shop: Path) -> None:
    found = refusal(shop, "fit.params.lightgbm.num_leaves=7")
    assert found.rule == "spec_only_hparams"
    assert found.evidence == {"given": ["fit.params.lightgbm.num_leaves"]}


def test_people_may_give_them_unless_the_policy_says_no(shop: Path) -> None:
    spec = read_spec(shop / "modelwright.yaml", ("fit.params.lightgbm.num_leaves=7",))
    with admitted(spec, "run"):
        pass
    (shop / FILE).write_text("rules: {spec_only_hparams: everyone}\n")
    with pytest.raises(Refused, match="given beside the spec"), admitted(spec, "run"):
        pass


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ("limits.roc_auc=0.5", "human_approval"),
        ("release.policy.champion=off", "human_approval"),
        ("data.seed=9", "human_approval"),
        ("data.split.holdout=0.1", "human_approval"),
        ("data.source=../other.csv", "scratch_only"),
    ],
)
def test_what_a_person_wrote_is_not_loosened_beside_the_spec(
    shop: Path, override: str, rule: str
) -> None:
    assert refusal(shop, override).rule == rule
    with admitted(read_spec(shop / "modelwright.yaml", (override,)), "run"):
        pass  # a person


def test_tightening_beside_the_spec_is_free(shop: Path) -> None:
    spec = read_spec(shop / "modelwright.yaml", ("limits.roc_auc=0.7", "fit.budget=1 trials"))
    with acting_as(AGENT), admitted(spec, "run"):
        pass


def test_a_person_may_approve_a_looser_limit(
    shop: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (shop / FILE).write_text("agents: {run: ask}\n")
    spec = read_spec(shop / "modelwright.yaml", ("limits.roc_auc=0.5",))
    with pytest.raises(ApprovalNeeded), acting_as(AGENT), admitted(spec, "run"):
        pass
    keys = tmp_path_factory.mktemp("keys")
    private, _, _ = mw.new_approver(keys, "bob", project=shop, passphrase=False)
    mw.Requests(shop).approve("PR-1", key=private, reason="go on")
    with (
        acting_as(Principal("agent a", "agent", approved="PR-1")),
        admitted(spec, "run"),
    ):
        pass


def test_a_smaller_model_may_cost_only_so_much(shop: Path) -> None:
    found = refusal(shop, "pack.drop_at_most=0.2")
    assert found.rule == "accuracy_drop_max"
    assert found.evidence == {"asked": 0.2, "most": 0.01}


def test_a_budget_of_trials(shop: Path) -> None:
    (shop / FILE).write_text("budget: {trials: 3}\n")
    assert refusal(shop, "fit.budget=4 trials").evidence["what"] == "trials"


def test_a_budget_of_time(shop: Path) -> None:
    (shop / FILE).write_text("budget: {wall_time: 1 min}\n")
    assert refusal(shop, "fit.budget=61s").evidence["what"] == "wall_time"


def test_a_budget_of_memory(shop: Path) -> None:
    (shop / FILE).write_text("budget: {memory: 10 kB}\n")
    with pytest.raises(mw.ModelwrightError, match="agents may take") as caught, acting_as(AGENT):
        mw.run(shop / "modelwright.yaml")
    assert caught.value.rule == "memory_preflight"


def test_two_at_once(shop: Path) -> None:
    with writing(shop, "retrain"), pytest.raises(Refused, match="writes in this project"):
        mw.run(shop / "modelwright.yaml")


def test_making_a_run_once_more_is_held_to_the_same(project: Path) -> None:
    [run] = [path.name for path in (project / "runs").glob("2*")]
    with writing(project, "run"), pytest.raises(Refused) as caught:
        mw.reproduce(run)
    assert caught.value.rule == "one_writer"
    (project / FILE).write_text("budget: {trials: 0}\n")
    with acting_as(AGENT), pytest.raises(Refused) as caught:
        mw.reproduce(run)
    assert caught.value.rule == "budget"
    assert not (project / "runs" / run / REPRODUCED).exists()
    (project / FILE).write_text("budget: {trials: 1}\n")
    with acting_as(AGENT):
        with admitted_again(project) as spent:
            spent.trials = 1
        with pytest.raises(Refused), admitted_again(project):
            pass


def test_a_wrong_policy_stops_it(shop: Path) -> None:
    (shop / FILE).write_text("agents: {promote: maybe}\n")
    with pytest.raises(mw.ModelwrightError, match=r"agents\.promote"):
        mw.run(shop / "modelwright.yaml")


def test_trials_are_counted(shop: Path) -> None:
    spec = read_spec(shop / "modelwright.yaml", ("fit.budget=4 trials",))
    with acting_as(AGENT):
        with admitted(spec, "run") as spent:
            spent.trials = 4
        (shop / FILE).write_text("budget: {trials: 7}\n")
        with pytest.raises(Refused, match="has 3 trials left"), admitted(spec, "run"):
            pass


@pytest.mark.slow
def test_a_policy_that_wants_to_be_asked(
    shop: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = shop / "modelwright.yaml"
    (shop / FILE).write_text("agents: {run: ask, retrain: never}\n")
    with pytest.raises(ApprovalNeeded, match="PR-1 waits") as caught, acting_as(AGENT):
        mw.run(spec, overrides=QUICK)
    assert caught.value.rule == "human_approval"
    keys = tmp_path_factory.mktemp("keys")
    private, _, _ = mw.new_approver(keys, "bob", project=shop, passphrase=False)
    mw.Requests(shop).approve("PR-1", key=private, reason="go on")
    approved = Principal("agent a", "agent", approved="PR-1")
    other = read_spec(spec, ("data.seed=3",))
    with pytest.raises(Refused, match="approved for something else"), acting_as(approved):
        mw.run(other)
    with acting_as(approved):
        assert mw.run(spec, overrides=QUICK).record.verdict == "pass"
    with pytest.raises(Refused, match="Agents may not retrain here"), acting_as(AGENT):
        mw.retrain(spec)
    mw.run(spec, overrides=QUICK)  # a person is not asked
