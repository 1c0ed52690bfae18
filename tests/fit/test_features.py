"""Encodings: no row sees its own target, and unseen or missing values have their places."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit import exam
from modelwright.core.errors import UsageError
from modelwright.core.schema import Column, Schema, Target
from modelwright.core.table import Table
from modelwright.fit.features import Encoding, fit_encoder


def test_target_means_are_cross_fitted() -> None:
    """A category of its own for each row must tell nothing while fitting."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 1000)
    names = np.array([f"level {i}" for i in range(1000)], dtype=object)
    schema = Schema((Column("c", "category"),), Target("y", "binary", "string", ("n", "p")))
    _, matrix = fit_encoder(schema, Table({"c": names}, y), Encoding(), seed=0)
    assert abs(np.corrcoef(matrix[:, -1], y)[0, 1]) < 0.15


def test_unseen_and_missing_have_rows_of_their_own() -> None:
    schema, table = exam.table_for("binary")
    encoder, _ = fit_encoder(schema, table, Encoding(), seed=0)
    text = next(t for t in encoder.tables if t.column == "text")
    codes = text.codes(np.array(["", "never seen", "a"], dtype=object))
    assert codes[0] == len(text.levels) and codes[1] == len(text.levels) + 1
    assert text.table.shape[0] == len(text.levels) + 2
    assert abs(text.table[codes[1], -1] - table.target.mean()) < 1e-12


def test_standard_numbers_are_filled_centred_and_clipped() -> None:
    schema, table = exam.table_for("regression")
    encoding = Encoding(numbers="standard", target_means=False, clip=3.0)
    encoder, matrix = fit_encoder(schema, table, encoding, seed=0)
    assert np.isfinite(matrix).all() and np.abs(matrix[:, 0]).max() <= 3.0
    odd = {**table.feeds, "number": np.full(table.rows, np.inf)}
    assert (encoder.transform(odd)[:, 0] == 3.0).all()


def test_numbers_near_the_end_of_float64_are_scaled_to_finite_ones() -> None:
    schema, table = exam.table_for("regression")
    values = table.feeds["number"].copy()
    values[:4] = [np.inf, -np.inf, 1.7e308, -1.7e308]
    odd = Table({**table.feeds, "number": values}, table.target)
    encoding = Encoding(numbers="standard", target_means=False, clip=3.0)
    with np.errstate(all="raise", under="ignore"):
        encoder, matrix = fit_encoder(schema, odd, encoding, seed=0)
    assert np.isfinite(matrix).all() and np.isfinite(encoder.scaling.scale).all()
    assert np.sign(matrix[:4, 0]).tolist() == [1, -1, 1, -1]


@given(
    st.sampled_from(["binary", "multiclass", "regression"]), st.sampled_from(["raw", "standard"])
)
def test_width_is_what_comes_out(task: str, numbers: str) -> None:
    schema, table = exam.table_for(task, rows=60)
    encoder, matrix = fit_encoder(schema, table, Encoding(numbers=numbers), seed=0)
    assert matrix.shape == encoder.transform(table.feeds).shape == (60, encoder.width)


def test_unknown_setting() -> None:
    with pytest.raises(UsageError, match=r"encoding\.clop.*id you mean 'clip'"):
        Encoding().changed({"clop": 1})
