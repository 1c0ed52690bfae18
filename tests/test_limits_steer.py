"""Limits steer a run: which model is chosen, what the report draws, and what more would buy."""

from __future__ import annotations

import math
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
@pytest.mark.alone  # among equals the cheaper is chosen, by its measured time
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


PLANTED = (
    "fit.families=[linear, 'planted:SlowNetwork']", "fit.budget=3 trials", "fit.folds=2",
    "fit.blend=false", "pack.seconds=0.6",
)  # fmt: skip
"""A better model of some ten milliseconds a row beside a line of some ten microseconds, both behind
the real server."""


def served(folder: Path, limits: str) -> mw.Released:
    return mw.run(folder / "modelwright.yaml", overrides=(*PLANTED, f"limits={limits}"))


def p95(trial: Trial) -> float:
    assert trial.measured is not None and trial.measured.latency_p95 is not None
    return trial.measured.latency_p95.value


@pytest.mark.slow
@pytest.mark.alone
def test_a_latency_limit_that_excludes_the_best_changes_the_choice_and_its_price_is_right(
    curved: Path,
) -> None:
    """The limit is half-way, in powers, between what the two were measured at on this machine."""
    table = pl.read_csv(curved / "t.csv").head(900)
    table.write_csv(curved / "t.csv")
    free = served(curved, "{latency_p95: 1 min}")
    best = chosen(free)
    assert best.family == "slow_network"
    cheap = next(t for t in free.fit.trials if t.family == "linear")
    assert cheap.price is not None and cheap.price.latency_p95 is not None
    slow, quick = p95(best), cheap.price.latency_p95
    apart = slow / quick
    assert apart > 4, f"{slow * 1e3:.1f} ms against {quick * 1e3:.1f} ms: is the machine busy?"
    limit = math.sqrt(slow * quick)

    limited = served(curved, f"{{latency_p95: {limit * 1e3:.4g} ms}}")
    own = chosen(limited)
    assert own.family == "linear" and p95(own) <= limit and score(limited) < score(free)
    [promise] = relaxations(limited)
    assert promise.subject == "latency_p95" and "slow_network" in promise.measured
    page = limited.report.read_text(encoding="utf-8")
    assert promise.measured in page and "breaks latency_p95" in page
    [plot] = re.findall(r"<svg [^>]*aria-label='roc_auc against p95.*?</svg>", page)
    assert "class='limit'" in plot and "dot fail" in plot and "dot chosen" in plot

    [more] = re.findall(r"\+([\d.]+) ms buys", promise.measured)
    [advised] = re.findall(r"limits\.latency_p95 of ([\d.]+) ms would allow it", promise.advice)
    reached = limit + float(more) / 1e3
    assert float(advised) / 1e3 == pytest.approx(reached, rel=0.02)
    assert slow / 2.5 < reached < slow * 2.5  # another measurement of the same model
    relaxed = served(curved, f"{{latency_p95: {3 * float(advised):.4g} ms}}")
    assert chosen(relaxed).family == "slow_network"
    assert promise.interval is not None
    assert score(relaxed) - score(limited) == pytest.approx(promise.interval.value, abs=1e-9)
    assert f"buys {promise.interval.value:.4f} roc_auc" in promise.measured
