"""Columns that do not pay: planted noise goes, what matters stays, many weak ones do not all go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import modelwright as mw
from fit.test_search import fitted, searched
from modelwright.core.errors import UsageError
from modelwright.core.spec_file import SpecFile
from modelwright.data.dataset import load
from modelwright.fit import useless
from modelwright.fit.again import fit_again
from modelwright.fit.family import WITHOUT
from modelwright.fit.found import Found
from modelwright.fit.settings import check_settings
from modelwright.fit.trials import Candidate
from modelwright.fit.useless import useless_columns
from projects import spec_for

FIT = "fit: {budget: 3 trials, folds: 3, blend: false, families: [lightgbm]}\n"
SMALL = "pack: {drop_at_most: 0.005, measure: process}\n"
MATTER = ("a", "b", "c")
NOISE = ("idle", "idler", "colour")


def planted(folder: Path, more: str = "", fit: str = FIT, noise: bool = True) -> SpecFile:
    """Three columns that make the target, and three that have nothing to do with it."""
    rng = np.random.default_rng(5)
    a, b, c, idle, idler = rng.normal(size=(5, 2400)).round(4)
    y = np.where(a + b * c + rng.normal(0, 0.3, 2400) > 0, "up", "down")
    table = {"a": a, "b": b, "c": c, "idle": idle, "idler": idler,
             "colour": rng.choice(["red", "blue", "grey", "tan"], 2400), "y": y}  # fmt: skip
    wanted = [*MATTER, *(NOISE if noise else ()), "y"]
    pl.DataFrame({name: table[name] for name in wanted}).write_csv(folder / "t.csv")
    return spec_for(folder, "t.csv", "y", fit + (more or SMALL))


def narrowed(found: Found) -> list[Candidate]:
    return [c for c in found.ledger.candidates if c.origin == "narrowed"]


def test_planted_noise_is_left_out_and_the_model_is_made_again_alike(tmp_path: Path) -> None:
    file = planted(tmp_path)
    dataset = load(file)
    found = searched(file, dataset)
    [made] = narrowed(found)
    assert made.left_out == set(NOISE) and made.source is not None
    assert made.outcome == "complete" and len(made.outcomes) == len(made.source.outcomes)
    assert found.finalists()[0] is made
    fit = found.fit(made, {})
    encoder = fit.best.members[0].encoder
    assert set(encoder.columns) == set(MATTER)
    [note] = [f for f in fit.record.findings if f.check == "columns"]
    assert set(note.columns) == set(NOISE) and "one row" in note.why and "size" in note.why
    lead, _ = found.ledger.scorecard.lead(made.number, made.source.number)
    assert note.interval is not None and note.interval.value == lead
    again, feeds = fit_again(file.spec, dataset, fit.record), dataset.train.feeds
    np.testing.assert_array_equal(again.answer(feeds), fit.best.answer(feeds))


def test_where_every_column_matters_none_is_left_out(tmp_path: Path) -> None:
    file = planted(tmp_path, noise=False)
    assert not narrowed(searched(file, load(file)))


def test_nothing_is_left_out_unless_quality_may_be_given_up(tmp_path: Path) -> None:
    file = planted(tmp_path, "limits: {size: 1 MB}\npack: {measure: process}\n")
    assert not narrowed(searched(file, load(file)))


def test_many_weak_columns_are_not_all_left_out(tmp_path: Path) -> None:
    """Shuffled alone hardly any of them is missed; shuffled together they are."""
    rng = np.random.default_rng(4)
    weak = rng.normal(size=(500, 40))
    y = 0.15 * weak.sum(axis=1) + rng.normal(0, 1.5, 500)
    table = {f"c{n}": weak[:, n] for n in range(40)}
    pl.DataFrame({**table, "y": y}).write_csv(tmp_path / "t.csv")
    fit = "fit: {budget: 2 trials, folds: 3, families: [linear]}\n"
    file = spec_for(tmp_path, "t.csv", "y", fit)
    found = searched(file, load(file))
    found.ledger.trainer.close()
    line = next(c for c in found.ledger.candidates if c.name == "linear")
    single = useless._Folds.of(found.ledger, line, 10**6)
    assert single is not None
    alone = [name for name in table if not useless._is_sure(single.loss([name]))]
    gone = useless_columns(found.ledger, line)
    assert set(gone) < set(alone) and useless._is_sure(single.loss(alone))
    assert 0 < len(gone) < len(alone) and not useless._is_sure(single.loss(gone))


def test_columns_that_the_spec_speaks_of_stay(tmp_path: Path) -> None:
    more = (
        "  protected: [colour]\n"
        "fit: {budget: 3 trials, folds: 3, blend: false, families: [lightgbm], "
        "monotone: {idle: increasing}}\n"
    )
    file = planted(tmp_path, fit=more)
    dataset = load(file)
    assert dataset.schema.column("colour").protected
    for made in narrowed(searched(file, dataset)):
        assert made.left_out == {"idler"}


@pytest.mark.slow
def test_a_blend_leaves_the_same_columns_out_of_all_its_members(tmp_path: Path) -> None:
    fit = "fit: {budget: 6 trials, folds: 3, families: [lightgbm, xgboost]}\n"
    found = searched(file := planted(tmp_path, fit=fit), load(file))
    blend = next(c for c in found.ledger.candidates if c.origin == "blend")
    assert set(useless_columns(found.ledger, blend)) == set(NOISE)
    for whole in (c for c in narrowed(found) if c.members):
        assert whole.left_out == set(NOISE)
        assert all(set(NOISE) == part.left_out for part, _ in whole.members)
    found.ledger.trainer.close()


def test_columns_can_be_left_out_by_the_spec(tmp_path: Path) -> None:
    fit = FIT.replace("families", "params: {lightgbm: {encoding.without: [idle]}}, families")
    file = planted(tmp_path, "pack: {measure: process}\n", fit=fit)
    for trial in fitted(file, load(file)).record.trials:
        assert trial.params.get(WITHOUT) == (["idle"] if trial.family == "lightgbm" else None)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[idel]", "did you mean 'idle'"),
        ("idle", r"wants a list of columns, found 'idle'"),
        ("[a, b, c, idle, idler, colour]", "leaves no column"),
    ],
)
def test_wrong_columns_to_leave_out_are_refused_before_any_work(
    tmp_path: Path, value: str, said: str
) -> None:
    fit = FIT.replace("families", f"params: {{lightgbm: {{encoding.without: {value}}}}}, families")
    file = planted(tmp_path, fit=fit)
    with pytest.raises(UsageError, match=f"(?i){said}"):
        check_settings(file.spec, load(file))


@pytest.mark.slow
def test_a_released_narrow_model_takes_the_requests_of_before(tmp_path: Path) -> None:
    file = planted(tmp_path)
    released = mw.run(file)
    chosen = next(t for t in released.fit.trials if t.number == released.fit.best)
    assert chosen.origin == "narrowed" and released.record.version
    model = mw.load("shop", folder=tmp_path)
    assert [c.name for c in model.schema.features] == [*MATTER, *NOISE]
    row = {"a": 1.0, "b": 0.5, "c": 0.2, "idle": 0.0, "idler": 0.0, "colour": "red"}
    other = {**row, "idle": 3.0, "idler": -3.0, "colour": "tan"}
    answers = [model.predict([one]) for one in (row, other)]
    assert answers[0] == answers[1]
    page = released.report.read_text(encoding="utf-8")
    assert "not read any more: colour, idle, idler" in page and "narrowed" in page
