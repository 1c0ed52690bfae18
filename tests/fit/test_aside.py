"""Rows set aside for the interval: no model learns from them, and they size what goes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fit.test_search import searched
from modelwright.core.errors import UsageError
from modelwright.core.spec_file import SpecFile
from modelwright.data.dataset import Dataset, load
from modelwright.data.fingerprint import row_hashes
from modelwright.fit.again import fit_again
from modelwright.fit.aside import set_aside
from modelwright.fit.settings import check_settings
from projects import spec_for

ASKED = "interval_method: split_conformal"


def numbers(rows: int = 400, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (rows, 3)).round(1)
    return pl.DataFrame({
        "a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "shop": rng.integers(0, 30, rows),
        "day": np.arange(rows), "y": x @ [3.0, 1.0, 0.0] + rng.normal(0, 1, rows),
    })  # fmt: skip


def made(
    folder: Path, fit: str, split: str = "", frame: pl.DataFrame | None = None
) -> tuple[SpecFile, Dataset]:
    (numbers() if frame is None else frame).write_csv(folder / "t.csv")
    data = f"  split: {{{split}}}\n" if split else ""
    file = spec_for(folder, "t.csv", "y", f"{data}  task: regression\nfit: {{{fit}}}\n")
    return file, load(file)


def rows_of(dataset: Dataset) -> set[int]:
    return set(row_hashes({**dataset.train.feeds, "y": dataset.train.target}).tolist())


def test_no_row_is_lost_and_none_is_on_both_sides(tmp_path: Path) -> None:
    file, dataset = made(tmp_path, f"interval: 0.9, {ASKED}")
    rest, aside = set_aside(file.spec.fit, dataset)
    assert aside is not None and aside.table.rows == round(0.2 * dataset.train.rows)
    assert rest.train.rows + aside.table.rows == dataset.train.rows == len(aside.mask)
    np.testing.assert_array_equal(aside.table.target, dataset.train.target[aside.mask])
    np.testing.assert_array_equal(rest.train.target, dataset.train.target[~aside.mask])
    whole = aside.among(aside.table.target, rest.train.target)
    np.testing.assert_array_equal(whole, dataset.train.target)


def test_rows_are_set_aside_by_their_content_and_the_seed(tmp_path: Path) -> None:
    """Whatever the order of the file; and rows that are alike stay on one side."""
    twice = pl.concat([numbers(200), numbers(200)])
    file, dataset = made(tmp_path, f"interval: 0.9, {ASKED}", frame=twice)
    rest, _ = set_aside(file.spec.fit, dataset)
    (tmp_path / "other").mkdir()
    other, shuffled = made(tmp_path / "other", f"interval: 0.9, {ASKED}", frame=twice.sample(
        fraction=1, shuffle=True, seed=3
    ))  # fmt: skip
    again, aside = set_aside(other.spec.fit, shuffled)
    assert aside is not None
    assert rows_of(rest) == rows_of(again)
    alike = set(row_hashes(aside.table.feeds).tolist())
    assert not alike & set(row_hashes(again.train.feeds).tolist())


def test_at_most_a_thousand_rows_are_set_aside(tmp_path: Path) -> None:
    file, dataset = made(tmp_path, "interval: 0.9", frame=numbers(20_000))
    _, aside = set_aside(file.spec.fit, dataset)
    assert aside is not None and 800 < aside.table.rows < 1200


def test_groups_stay_whole(tmp_path: Path) -> None:
    file, dataset = made(tmp_path, f"interval: 0.9, {ASKED}", "method: group, by: shop")
    rest, aside = set_aside(file.spec.fit, dataset)
    assert aside is not None and aside.table.rows >= 9
    assert not set(aside.table.groups.tolist()) & set(rest.train.groups.tolist())


def test_time_keeps_all_rows_unless_it_is_asked(tmp_path: Path) -> None:
    """Without them the model would not know the newest rows."""
    file, dataset = made(tmp_path, "interval: 0.9", "method: time, by: day", numbers(20_000))
    same, none = set_aside(file.spec.fit, dataset)
    assert none is None and same is dataset
    file, dataset = made(tmp_path, f"interval: 0.9, {ASKED}", "method: time, by: day")
    rest, aside = set_aside(file.spec.fit, dataset)
    assert aside is not None
    older = rest.train.rows
    assert older == round(0.8 * dataset.train.rows)
    np.testing.assert_array_equal(rest.train.target, dataset.train.target[:older])
    np.testing.assert_array_equal(aside.table.target, dataset.train.target[older:])


def test_without_an_interval_by_folds_or_of_few_rows_nothing_is_set_aside(tmp_path: Path) -> None:
    for fit in ("budget: 1s", "interval: 0.9, interval_method: out_of_fold", "interval: 0.9"):
        file, dataset = made(tmp_path, fit)
        same, none = set_aside(file.spec.fit, dataset)
        assert none is None and same is dataset


@pytest.mark.parametrize(
    ("fit", "said", "hint"),
    [
        (f"interval: 0.99, {ASKED}",
         r"fit.interval: 0.99 wants at least 99 rows.*6\d of 3\d\d training rows",
         "or fit.interval_method: out_of_fold"),
        ("interval: 0.999, interval_method: out_of_fold",
         r"wants at least 999 rows.*there are 3\d\d", r"lower level, more rows\."),
        (f"interval: 0.999, {ASKED}", "wants at least 999 rows", r"lower level, more rows\."),
    ],
)  # fmt: skip
def test_too_few_rows_for_a_level(tmp_path: Path, fit: str, said: str, hint: str) -> None:
    file, dataset = made(tmp_path, fit)
    with pytest.raises(UsageError, match=f"{said}(?s:.*){hint}"):
        set_aside(file.spec.fit, dataset)


def test_a_method_without_an_interval_is_refused(tmp_path: Path) -> None:
    file, dataset = made(tmp_path, "interval_method: out_of_fold")
    with pytest.raises(UsageError, match=r"fit\.interval_method has no interval"):
        check_settings(file.spec, dataset)


def test_the_model_that_goes_out_has_not_seen_them_and_is_sized_by_them(tmp_path: Path) -> None:
    fit = f"interval: 0.8, {ASKED}, budget: 3 trials, folds: 2, families: [lightgbm]"
    file, dataset = made(tmp_path, fit)
    found = searched(file, dataset)
    rest, aside = set_aside(file.spec.fit, dataset)
    assert aside is not None and rows_of(found.dataset) == rows_of(rest)
    result = found.fit(found.finalists()[0], {})
    reach, answers = result.best.outputs.reach, result.best.answer(aside.table.feeds)
    assert reach is not None and reach.aside == aside.table.rows
    low, high = reach.around(answers)
    inside = (low <= aside.table.target) & (aside.table.target <= high)
    assert inside.sum() == np.ceil(0.8 * (aside.table.rows + 1))
    assert len(result.out_of_fold) == dataset.train.rows
    np.testing.assert_array_equal(result.out_of_fold[aside.mask], answers)
    said = next(f for f in result.record.findings if f.check == "interval")
    assert f"{reach.aside} training rows that no model learned from" in said.why
    again = fit_again(file.spec, dataset, result.record)
    np.testing.assert_array_equal(again.answer(aside.table.feeds), answers)
    assert again.outputs == result.best.outputs
