"""The candidates that might win, packed and measured on the real server, one after the other."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelwright.core.errors import PackError
from modelwright.core.limits import show
from modelwright.core.progress import Progress
from modelwright.core.records import Measured
from modelwright.core.spec import PackSpec
from modelwright.fit.found import Found
from modelwright.fit.pipeline import Fit
from modelwright.fit.telling import board_of
from modelwright.fit.trials import Candidate
from modelwright.pack.artefact import Artefact
from modelwright.pack.bench import measure
from modelwright.pack.build import Maker

FOLDER = ".finalists"
SHARE_OF_BUDGET = 0.06
"""Longest load of one finalist's server, as a part of the budget."""


@dataclass(frozen=True)
class Chosen:
    """The finalist that won, proved and under its final name."""

    fit: Fit
    artefact: Artefact
    measured: Measured


def choose_finalist(
    found: Found,
    maker: Maker,
    run: Path,
    progress: Progress,
    pressed: Callable[[], bool] = bool,
) -> Chosen:
    """Pack and measure the finalists, and keep the best that meets all limits.

    The expected winner comes first, so that time or Ctrl-C can end this after any of them.

    Args:
        found: the search.
        maker: writes the folders.
        run: the run's folder; `artefact` appears in it.
        progress: told after each finalist.
        pressed: whether Ctrl-C was pressed: then the finalist at hand is the last one, and it is
            measured for as short a time as can be.

    Raises:
        KeyboardInterrupt: pressed once more; the search is kept.
        PackError: no finalist can be converted and served; one that cannot be is left out and told.
        ParityError: the chosen one's packed model differs from the trained one.
    """
    folder = run / FOLDER
    packed: dict[int, Artefact] = {}
    measured: dict[int, Measured] = {}
    try:
        _measure_all(found, maker, folder, packed, measured, progress, pressed)
        if pressed():
            found.stopped_by = "interrupt"
            progress.say(
                "Stopped by Ctrl-C: choosing among the candidates measured so far. "
                "Once more ends it all."
            )
        chosen = found.decide(measured)
        fit = found.fit(chosen, measured, pressed)
        artefact = maker.seal(packed[chosen.number], fit.best, run / "artefact")
    except KeyboardInterrupt:
        progress.say(f"The search is kept: {maker.spec_file.resuming} goes on with it.")
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Chosen(fit, artefact, measured[chosen.number])


def _measure_all(
    found: Found,
    maker: Maker,
    folder: Path,
    packed: dict[int, Artefact],
    measured: dict[int, Measured],
    progress: Progress,
    pressed: Callable[[], bool],
) -> None:
    finalists = found.finalists()
    progress.board(board_of(found.chooser(measured), found.contenders()))
    longest = 0.0
    budget = found.ledger.budget
    after = budget.for_evidence + budget.for_release
    for number, candidate in enumerate(finalists):
        if measured and pressed():
            return
        if measured and found.decided(measured) and budget.left < longest + after:
            left = max(0.0, budget.left)
            progress.say(
                f"{len(finalists) - number} finalist(s) not measured: {left:.0f} s are left; "
                f"measuring one took up to {longest:.0f} s, and judging needs {after:.0f} s"
            )
            return
        started = time.monotonic()
        try:
            packed[candidate.number] = artefact = maker.write(
                found.pipeline(candidate), found.trial(candidate, {}),
                folder / str(candidate.number),
            )  # fmt: skip
            spec = maker.spec_file.spec
            measured[candidate.number] = measure(
                artefact,
                maker.dataset.train.feeds,
                _shortened(spec.pack, budget.total),
                limits=spec.parsed_limits(),
                seed=maker.dataset.record.seed,
                hurried=pressed,
            )
        except PackError as error:
            if not measured and candidate is finalists[-1]:
                raise
            progress.say(f"Candidate {candidate.number} ({candidate.name}) is left out: {error}")
            continue
        longest = max(longest, time.monotonic() - started)
        progress.step(number + 1, len(finalists), _told(candidate, measured[candidate.number]))
        progress.board(board_of(found.chooser(measured), found.contenders()))


def _shortened(spec: PackSpec, budget: float) -> PackSpec:
    """A small budget measures for a shorter time."""
    return spec.model_copy(
        update={"seconds": max(0.2, min(spec.seconds, SHARE_OF_BUDGET * budget))}
    )


def _told(candidate: Candidate, measured: Measured) -> str:
    p95 = measured.latency_p95
    cost = f"p95 {show('latency_p95', p95.value)}, " if p95 is not None else ""
    return f"{candidate.name}: {cost}{show('size', float(measured.size))}"
