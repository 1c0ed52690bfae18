"""Limits steer a run: which model is chosen, what the report draws, and what more would buy."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import modelwright as mw
from modelwright.core.records import Finding, Trial

QUICK = ("fit.budget=8 trials", "fit.folds=2", "pack.measure=process")


@pytest.fixture
def curved(tmp_path: Path) -> Path:
    """A project whose relation no straight line can follow, so that small models lose."""
    rng = np.random.default_rng(2)
    x, z = rng.normal(size=(2, 2600))
    y = np.where(np.sin(3 * x) * z + rng.normal(0, 0.4, 2600) > 0, "a", "b")
    pl.DataFrame({"x": x, "z": z, "y": y}).write_csv(tmp_path / "t.csv")
    (tmp_path / "modelwright.yaml").write_text(
        "name: curved\ndata: {source: t.csv, target: y, positive: a}\n"
        "fit: {families: [linear, lightgbm, extra_trees]}\n"
    )
    return tmp_path


def run(folder: Path, limits: str) -> mw.Released:
    return mw.run(folder / "modelwright.yaml", overrides=(*QUICK, f"limits={limits}"))


def chosen(released: mw.Released) -> Trial:
    return next(t for t in released.fit.trials if t.number == released.fit.best)


def score(released: mw.Released) -> float:
    found = chosen(released).score
    assert found is not None
    return found


def relaxations(released: mw.Released) -> list[Finding]:
    return [finding for finding in released.fit.findings if finding.check == "relax"]


@pytest.mark.slow
def test_a_limit_that_excludes_the_best_changes_the_choice_and_its_price_is_right(
    curved: Path,
) -> None:
    free = run(curved, "{}")
    limited = run(curved, "{size: 40 kB}")  # a line needs 16, trees that are any good more
    assert limited.measured.size <= 40_000 < free.measured.size
    assert score(limited) < score(free)
    promise = relaxations(limited)[-1]
    [advised] = re.findall(r"limits\.size of (.+) would allow it", promise.advice)
    assert promise.interval is not None and promise.interval.value > 0
    relaxed = run(curved, f"{{size: {advised}}}")
    assert relaxed.measured.size > 40_000 and chosen(relaxed).family != chosen(limited).family
    gained = score(relaxed) - score(limited)
    assert gained == pytest.approx(promise.interval.value, abs=0.01), promise.measured
    page = limited.report.read_text(encoding="utf-8")
    assert promise.measured in page
    [plot] = re.findall(r"<svg [^>]*aria-label='roc_auc against size.*?</svg>", page)
    assert "class='limit'" in plot and "dot fail" in plot and "dot chosen" in plot


@pytest.mark.slow
def test_limits_that_nothing_keeps_release_nothing_and_show_the_nearest(curved: Path) -> None:
    released = run(curved, "{size: 10 B}")
    assert released.record.verdict == "fail" and not released.record.version
    page = released.report.read_text(encoding="utf-8")
    assert "nothing keeps all limits" in page
    nearest = min(t.measured.size for t in released.fit.trials if t.measured is not None)
    assert chosen(released).measured is not None
    assert released.measured.size == nearest
    found = relaxations(released)
    assert found and all(finding.measured in page for finding in found)
    assert found[0].measured.startswith("+") and "makes linear feasible" in found[0].measured
