"""The search: defaults first, budgets honoured, Ctrl-C keeps the best so far."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from modelwright.core.errors import DataError, UsageError
from modelwright.core.goals import goal_of
from modelwright.core.progress import Silent
from modelwright.core.records import FitRecord, Trial
from modelwright.core.spec_file import SpecFile
from modelwright.data.dataset import Dataset, load
from modelwright.fit.family import Range, family_of
from modelwright.fit.found import Found
from modelwright.fit.ledger import MADE
from modelwright.fit.pipeline import Fit
from modelwright.fit.saved import restore
from modelwright.fit.search import search
from modelwright.fit.tune import PARETO, Tuner
from modelwright.pack.build import Maker
from modelwright.pack.price import PriceList
from projects import mixed_table, spec_for


def prepared(folder: Path, more: str, rows: int = 500) -> tuple[SpecFile, Dataset]:
    mixed_table(rows).write_csv(folder / "t.csv")
    file = spec_for(folder, "t.csv", "bought", f"fit: {more}\n")
    return file, load(file)


def searched(
    file: SpecFile, dataset: Dataset, progress: Silent | None = None, run: Path | None = None
) -> Found:
    """A search with real prices, nothing measured on a server."""
    maker = Maker(file, dataset, goal_of(file.spec, dataset.schema.target))
    prices = PriceList(maker, file.folder, dataset.train.feeds, file.spec.parsed_limits())
    return search(file.spec, dataset, progress or Silent(), prices, run)


def fitted(file: SpecFile, dataset: Dataset, progress: Silent | None = None) -> Fit:
    found = searched(file, dataset, progress)
    return found.fit(found.finalists()[0], {})


def run(folder: Path, more: str, progress: Silent | None = None) -> Fit:
    return fitted(*prepared(folder, more), progress)


def test_baselines_and_untuned_defaults_are_always_candidates(tmp_path: Path) -> None:
    fit = run(tmp_path, "{budget: 5 trials, folds: 3, families: [lightgbm, catboost]}")
    defaults = [t.family for t in fit.record.trials if t.origin == "default"]
    assert defaults == ["dummy", "linear", "lightgbm", "catboost"]
    assert set(fit.baselines) == {"dummy", "linear"}
    counted = [t for t in fit.record.trials if t.origin not in MADE]
    assert len(counted) == 5 and fit.record.stopped_by == "trials"
    assert all(len(t.scores) >= 3 for t in fit.record.trials if t.origin == "default")


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    file, dataset = prepared(tmp_path, "{budget: 7 trials, folds: 2, families: [lightgbm]}")
    one, two = (fitted(file, dataset) for _ in range(2))
    assert one.record.params == two.record.params
    assert [t.scores for t in one.record.trials] == [t.scores for t in two.record.trials]
    feeds = dataset.train.feeds
    np.testing.assert_array_equal(one.best.answer(feeds), two.best.answer(feeds))


@pytest.mark.alone
def test_the_budget_in_seconds_is_honoured(tmp_path: Path) -> None:
    started = time.monotonic()
    fit = run(tmp_path, "{budget: 3s, families: [lightgbm, catboost]}")
    assert time.monotonic() - started < 6.0
    assert fit.record.stopped_by == "budget"


class _PressesCtrlC(Silent):
    def __init__(self, after: int) -> None:
        self.steps = 0
        self.after = after
        self.said: list[str] = []

    def step(self, done: float, total: float, note: str = "") -> None:
        self.steps += 1
        if self.steps == self.after:
            raise KeyboardInterrupt

    def say(self, line: str) -> None:
        self.said.append(line)


def test_ctrl_c_keeps_the_best_so_far(tmp_path: Path) -> None:
    keys = _PressesCtrlC(after=9)
    fit = run(tmp_path, "{budget: 500 trials, folds: 2, families: [lightgbm]}", keys)
    assert fit.record.stopped_by == "interrupt" and "best so far" in keys.said[0]
    counted = [t for t in fit.record.trials if t.origin not in MADE]
    assert fit.best.answer is not None and len(counted) < 12


def test_fixed_parameters_stay_fixed(tmp_path: Path) -> None:
    more = (
        "{budget: 6 trials, folds: 2, families: [lightgbm], "
        "params: {lightgbm: {num_leaves: 4, encoding.onehot_levels: 2}}}"
    )
    trials = [t for t in run(tmp_path, more).record.trials if t.family == "lightgbm"]
    assert len(trials) > 1 and all(t.params["num_leaves"] == 4 for t in trials)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("{families: [ligthgbm]}", "did you mean 'lightgbm'"),
        ("{families: [linear], params: {linear: {solver: nothing}}}", "Look at fit.params.linear"),
    ],
)
def test_wrong_settings(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run(tmp_path, more)


def test_a_goal_of_another_task_is_refused(tmp_path: Path) -> None:
    mixed_table(100).write_csv(tmp_path / "t.csv")
    file = spec_for(tmp_path, "t.csv", "bought", "goal: rmse\n")
    with pytest.raises(UsageError, match="goal: rmse is not for a binary target"):
        searched(file, load(file))


@pytest.mark.parametrize(
    ("family", "params", "said"),
    [
        ("catboost", "{depth: 99}", "Look at fit.params.catboost"),
        ("lightgbm", "{num_leaves: 1}", "Look at fit.params.lightgbm"),
        ("lightgmb", "{num_leaves: 9}", "id you mean 'lightgbm'"),
    ],
)
def test_parameters_that_a_library_refuses(
    tmp_path: Path, family: str, params: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        run(tmp_path, f"{{budget: 4 trials, params: {{{family}: {params}}}}}")


def test_a_class_that_a_fold_lacks(tmp_path: Path) -> None:
    table = mixed_table(400)
    rare = [f"{'rare' if i in (3, 200) else value}" for i, value in enumerate(table["bought"])]
    table.with_columns(bought=pl.Series(rare)).write_csv(tmp_path / "t.csv")
    file = spec_for(tmp_path, "t.csv", "bought", "fit: {budget: 4 trials, folds: 3}\n")
    fit = fitted(file, load(file))
    assert all(np.isfinite(t.scores).all() for t in fit.record.trials)


def test_folds_of_one_class_are_left_out_or_named(tmp_path: Path) -> None:
    y = ["no"] * 320 + ["no", "yes"] * 40
    pl.DataFrame({"t": range(0, 800, 2), "x": [i % 7 for i in range(400)], "y": y}).write_csv(
        tmp_path / "t.csv"
    )
    more = "  split: {method: time, by: t}\nfit: {budget: 3 trials}\n"
    file = spec_for(tmp_path, "t.csv", "y", more)
    with pytest.raises(DataError, match=r"no row to learn from|cannot be cut into folds"):
        searched(file, load(file))


def test_one_easy_fold_does_not_win(tmp_path: Path) -> None:
    """Folds in time differ by far; a candidate that ran one of them must not lead."""
    rng = np.random.default_rng(0)
    t = np.arange(1500)
    x = rng.normal(size=1500)
    y = x * (1 + t / 50) + rng.normal(size=1500) * (1 + t / 20)
    pl.DataFrame({"t": t * 3, "x": x, "y": y}).write_csv(tmp_path / "t.csv")
    more = (
        "  split: {method: time, by: t}\nfit: {budget: 25 trials, families: [lightgbm, linear]}\n"
    )
    file = spec_for(tmp_path, "t.csv", "y", more)
    record = fitted(file, load(file)).record
    best = next(trial for trial in record.trials if trial.number == record.best)
    assert len(best.scores) == max(len(trial.scores) for trial in record.trials)
    assert record.leaderboard()[0].outcome == "complete"


def test_only_named_families_are_searched(tmp_path: Path) -> None:
    fit = run(tmp_path, "{budget: 8 trials, folds: 2, families: [lightgbm]}")
    assert {t.family for t in fit.record.trials if t.origin == "search"} <= {"lightgbm"}


def trial_of(record: FitRecord, number: int) -> Trial:
    return next(t for t in record.trials if t.number == number)


def bounded(folder: Path, limits: str, more: str = "") -> tuple[Found, FitRecord]:
    """A search under limits, with prices in process only."""
    rng = np.random.default_rng(2)
    x, z = rng.normal(size=(2, 2600))
    noise = rng.normal(0, 0.4, 2600)
    pl.DataFrame(
        {"x": x, "z": z, "y": np.where(np.sin(3 * x) * z + noise > 0, "a", "b")}
    ).write_csv(folder / "t.csv")
    file = spec_for(
        folder, "t.csv", "y",
        "fit: {budget: 8 trials, folds: 2, families: [linear, lightgbm, extra_trees]}\n"
        f"pack: {{measure: process}}\nlimits: {limits}\n{more}",
    )  # fmt: skip
    found = searched(file, load(file))
    finalists = found.finalists()
    return found, found.fit(finalists[0], {}).record


def test_a_limit_on_cost_changes_the_choice_and_has_its_price(tmp_path: Path) -> None:
    """The shadow price is what a run without the limit comes to."""
    free, unlimited = bounded(tmp_path, "{}")
    best = trial_of(unlimited, unlimited.best)
    assert best.price is not None
    _, limited = bounded(tmp_path, "{size: 17 kB}")  # even a few trees have more
    chosen = trial_of(limited, limited.best)
    assert chosen.number != best.number and not chosen.broken and chosen.price is not None
    assert chosen.price.size < 17_000 < best.price.size
    relax = [f for f in limited.findings if f.check == "relax"][-1]
    found = free.ledger.scorecard
    lead, _ = found.lead(best.number, chosen.number)
    assert best.score is not None and chosen.score is not None
    assert f"buys {abs(best.score - chosen.score):.4f} roc_auc" in relax.measured
    assert relax.interval is not None and relax.interval.value == pytest.approx(lead, abs=1e-9)
    assert "breaks size" in limited.findings[0].why


def test_where_limits_bind_score_and_cost_are_two_objectives(tmp_path: Path) -> None:
    mixed_table(500).write_csv(tmp_path / "t.csv")
    settings = "{budget: 8 trials, folds: 2, blend: false, families: [lightgbm]}"
    limits = "limits: {size: 21 kB}\n"  # the best, a linear model, needs 24
    file = spec_for(tmp_path, "t.csv", "bought", f"fit: {settings}\n{limits}")
    found = searched(file, load(file), run=tmp_path)
    assert not found.ledger.chooser.ranked(found.ledger.complete())[0].feasible
    with sqlite3.connect(tmp_path / "search.sqlite") as database:
        studies = dict(database.execute(
            "select study_name, count(*) from studies join study_directions using (study_id) "
            "group by 1"
        ))  # fmt: skip
    assert studies[f"lightgbm{PARETO}"] == 2


def test_two_objectives_explore_the_pareto_line() -> None:
    """Score rises with x, cost with x too: one objective goes to its end, two spread out."""
    asked = {}
    for binding in (False, True):
        tuner = Tuner("roc_auc", 0)
        drawn = []
        for _ in range(40):
            trial, params = tuner.ask("f", {"x": Range(0.0, 1.0)}, binding=binding)
            tuner.tell(trial, params["x"], cost=params["x"])
            drawn.append(params["x"])
        asked[binding] = np.mean(np.array(drawn[10:]) < 0.5)
    assert asked[False] < 0.1 < 0.25 < asked[True]


def test_limits_that_nothing_keeps_give_the_nearest(tmp_path: Path) -> None:
    _, record = bounded(tmp_path, "{size: 10 B}")
    assert record.family == "linear"  # the smallest there is
    assert trial_of(record, record.best).broken == ("size",)
    assert "nothing keeps all limits" in record.findings[0].why
    assert any(f.check == "relax" and "feasible" in f.measured for f in record.findings)


def test_a_search_that_was_killed_goes_on_with_what_it_kept(tmp_path: Path) -> None:
    more = "{budget: 8 trials, folds: 2, families: [lightgbm]}"
    file, dataset = prepared(tmp_path, more)
    keys = _PressesCtrlC(after=9)
    (tmp_path / "run").mkdir()
    first = searched(file, dataset, keys, tmp_path / "run")
    before = {c.number: c for c in first.ledger.candidates if c.origin not in MADE}
    second = searched(file, dataset, None, tmp_path / "run")
    counted = [c for c in second.ledger.candidates if c.origin not in MADE]
    assert second.stopped_by == "trials" and len(counted) == 8
    for number, candidate in before.items():
        again = second.ledger.candidates[number]
        assert (again.params, again.origin) == (candidate.params, candidate.origin)
        for ours, theirs in zip(again.outcomes, candidate.outcomes, strict=False):
            np.testing.assert_array_equal(ours.answers, theirs.answers)
    assert second.fit(second.finalists()[0], {}).best is not None


@pytest.mark.parametrize("after", [2, 3, 5, 9])
def test_ctrl_c_keeps_the_folds_that_ran(tmp_path: Path, after: int) -> None:
    """Also those of candidates that had not run all folds of their turn."""
    file, dataset = prepared(tmp_path, "{budget: 6 trials, folds: 3, families: [lightgbm]}")
    (tmp_path / "run").mkdir()
    first = searched(file, dataset, _PressesCtrlC(after=after), tmp_path / "run")
    assert first.stopped_by == "interrupt"
    ran = [c for c in first.ledger.candidates if c.origin not in MADE]
    known = {f.name: f for f in map(family_of, ("dummy", "linear", "lightgbm"))}
    kept, _ = restore(tmp_path / "run", known, first.ledger.folds.name)
    assert [len(c.outcomes) for c in kept] == [len(c.outcomes) for c in ran]
    second = searched(file, dataset, None, tmp_path / "run")
    counted = [c for c in second.ledger.candidates if c.origin not in MADE]
    assert second.stopped_by == "trials" and len(counted) == 6
    assert all(c.outcome in ("complete", "pruned") for c in counted)


@pytest.mark.slow
def test_answers_rise_where_the_spec_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x, z = rng.normal(size=(2, 500))
    y = np.sin(2 * x) + 0.5 * x + z + rng.normal(0, 0.3, 500)
    pl.DataFrame({"x": x, "z": z, "y": y}).write_csv(tmp_path / "t.csv")
    more = "fit: {budget: 9 trials, folds: 2, monotone: {x: increasing, z: increasing}}\n"
    file = spec_for(tmp_path, "t.csv", "y", more)
    fit = fitted(file, load(file))
    assert "linear" not in fit.record.family and "linear" in fit.baselines
    grid = {"x": np.linspace(-3, 3, 300), "z": np.zeros(300)}
    assert (np.diff(fit.best.answer(grid)) >= -1e-12).all()


def test_the_space_of_the_spec_is_searched(tmp_path: Path) -> None:
    more = (
        "{budget: 14 trials, folds: 2, families: [lightgbm], "
        "space: {lightgbm: {num_leaves: {low: 3, high: 5, integer: true}}}}"
    )
    trials = run(tmp_path, more).record.trials
    tuned = [t.params["num_leaves"] for t in trials if t.origin == "search"]
    assert tuned and all(3 <= value <= 5 for value in tuned)


def test_categories_are_tried_as_such_where_a_family_knows_them(tmp_path: Path) -> None:
    fit = run(tmp_path, "{budget: 12 trials, folds: 2, families: [lightgbm, xgboost]}")
    tried = [t for t in fit.record.trials if t.params.get("encoding.native_levels")]
    assert [(t.family, t.origin) for t in tried][:1] == [("lightgbm", "default")]
    assert all(t.family == "lightgbm" and t.score is not None for t in tried)
    plain = "{budget: 10 trials, folds: 2, families: [lightgbm], params: {lightgbm: {%s: 0}}}"
    fixed = run(tmp_path, plain % "encoding.native_levels")
    assert not [t for t in fixed.record.trials if t.params.get("encoding.native_levels")]


def test_a_family_that_knows_no_categories_says_so(tmp_path: Path) -> None:
    more = "{budget: 5 trials, folds: 2, families: [catboost], params: {catboost: {%s: 50}}}"
    with pytest.raises(UsageError, match="catboost does not know categories"):
        run(tmp_path, more % "encoding.native_levels")


def test_a_student_is_not_told_what_it_is_examined_on(tmp_path: Path) -> None:
    """Labels that are noise: an honest student of a blend scores no better than chance."""
    rng = np.random.default_rng(0)
    columns = {f"c{n}": rng.normal(size=700).round(4) for n in range(6)}
    pl.DataFrame({**columns, "y": rng.choice(["a", "b"], 700)}).write_csv(tmp_path / "t.csv")
    more = "limits: {size: 50 MB}\nfit: {budget: 9 trials, folds: 4}\n"
    file = spec_for(tmp_path, "t.csv", "y", more)
    record = fitted(file, load(file)).record
    students = [t for t in record.trials if t.origin == "distilled" and t.score is not None]
    assert students and all(abs(t.score - 0.5) < 0.06 for t in students)


def test_what_is_made_of_the_best_runs_the_same_cuts(tmp_path: Path) -> None:
    more = "{budget: 4 trials, folds: 3, families: [lightgbm]}\npack: {drop_at_most: 0.01}"
    record = run(tmp_path, more).record
    made = [t for t in record.trials if t.origin in ("shortened", "narrowed")]
    assert made and all(len(t.scores) == 9 for t in made)


def test_small_tables_are_cut_more_than_once(tmp_path: Path) -> None:
    record = run(tmp_path, "{budget: 5 trials, folds: 3, families: [lightgbm]}").record
    assert "3 times for the best" in record.folds
    assert max(len(t.scores) for t in record.trials) == 9


@pytest.mark.slow
def test_hopeless_trials_are_pruned_by_folds_and_stand_so_in_the_study(tmp_path: Path) -> None:
    more = (
        "{budget: 20 trials, folds: 5, blend: false, families: [extra_trees], params: "
        "{extra_trees: {n_estimators: 20}}, "
        "space: {extra_trees: {min_samples_leaf: {low: 1, high: 200, log: true, integer: true}}}}"
    )
    file, dataset = prepared(tmp_path, more, rows=600)
    found = searched(file, dataset, run=tmp_path)
    tuned = [c for c in found.ledger.candidates if c.origin == "search"]
    pruned = [c for c in tuned if c.outcome == "pruned"]
    assert {len(c.outcomes) for c in pruned} == {1, 3}
    assert all(len(c.outcomes) >= 5 for c in tuned if c.outcome == "complete")
    best = found.ledger.leader
    assert best is not None
    assert all(found.ledger.scorecard.lead(best.number, c.number)[0] > 0 for c in pruned)
    with sqlite3.connect(tmp_path / "search.sqlite") as database:
        states = [s for (s,) in database.execute("select state from trials order by number")]
        steps = {s for (s,) in database.execute("select step from trial_intermediate_values")}
    assert states == ["PRUNED" if c.outcome == "pruned" else "COMPLETE" for c in tuned]
    assert steps == {len(c.outcomes) for c in pruned}
