"""What a search has to say about its own choice, for the report and the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from modelwright.core.limits import show
from modelwright.core.records import Finding, Interval, Measured
from modelwright.fit.choose import Chooser
from modelwright.fit.trials import Candidate

if TYPE_CHECKING:
    from modelwright.fit.found import Found

NAMED = 12
"""Columns that are named in a sentence."""


def remarks(found: Found, chosen: Candidate, measured: Mapping[int, Measured]) -> list[Finding]:
    """Notes on the choice: why it, how flattered its score is, what each limit costs."""
    chooser = found.chooser(measured)
    notes = [_why(found, chosen, chooser), *_touches(found, chosen)]
    notes += _left_out(found, chosen, measured)
    if len(found.considered) > 1:
        notes.append(_flattery(found))
    notes += chooser.relaxations(chosen, found.contenders())
    foretold = agreement(found.ledger.candidates, measured)
    return [*notes, foretold] if foretold is not None else notes


def _why(found: Found, chosen: Candidate, chooser: Chooser) -> Finding:
    """In what way the choice differs from the best score, if it does."""
    card, goal = found.ledger.scorecard, found.ledger.goal
    mean, error = card.mean(chosen.number), card.error(chosen.number)
    best = chooser.ranked(found.contenders())[0]
    lead, noise = card.lead(best.number, chosen.number)
    ran, of = len(chosen.outcomes), found.ledger.folds.count
    broken, best_breaks = chooser.broken(chosen), chooser.broken(best)
    if broken:
        why = f"nothing keeps all limits on cost; this one is nearest, over {broken[0].metric}"
    elif best is chosen and ran < of:
        why = "it leads on the folds that it shares with others; time was over before all were run"
    elif best is chosen:
        why = "the best score of all candidates that ran all folds"
    elif best_breaks:
        why = f"{best.name} scores {show(goal, lead)} better but breaks {best_breaks[0]}"
    else:
        why = (
            f"{best.name} (candidate {best.number}) leads by {show(goal, lead)}, within "
            f"{show(goal, max(noise, found.bias))} of noise, and is less simple"
        )
    how = "cross-validated" if ran >= of else f"{ran} of {of} folds:"
    return Finding(
        "choice", chosen.name, "pass",
        f"{how} {goal} {show(goal, mean)} ± {show(goal, error)}", "", why, "", "info",
        Interval(mean, mean - 2 * error, mean + 2 * error),
    )  # fmt: skip


def _touches(found: Found, chosen: Candidate) -> list[Finding]:
    """What was done to the raw answers."""
    outputs = found.pipeline(chosen).outputs
    lines: list[tuple[str, str, str, str]] = []
    if outputs.calibration.kind != "none":
        kind = outputs.calibration.kind
        shown = f"temperature {outputs.calibration.temperature:.3f}"
        lines.append(("calibration", kind, shown if kind == "temperature" else "a monotone curve",
                      "it lowers log loss out of fold by more than its noise"))  # fmt: skip
    if outputs.threshold is not None:
        by = "fit.costs" if found.spec.fit.costs else "the goal and the limits on labels"
        label = found.dataset.schema.target.positive
        lines.append(("label", label, f"from a probability of {outputs.threshold:.4f} on",
                      f"set by {by}, out of fold"))  # fmt: skip
    if outputs.reach is not None:
        reach = outputs.reach
        width = f"{reach.amount:.1%} of the value" if reach.relative else f"{reach.amount:,.4g}"
        how = "quantile of the pooled errors out of fold"
        if reach.aside:
            how = (f"split conformal: errors of {reach.aside:,} training rows that no model "
                   "learned from")  # fmt: skip
        lines.append(("interval", f"{reach.level:.0%}", f"value ± {width}", how))
    return [Finding(a, b, "pass", c, "", d, "", "info") for a, b, c, d in lines]


def _left_out(found: Found, chosen: Candidate, measured: Mapping[int, Measured]) -> list[Finding]:
    """Which columns a narrowed model does not read any more, and what that gained and cost."""
    source = chosen.source
    if source is None:
        return []
    goal, names = found.ledger.goal, sorted(chosen.left_out - source.left_out)
    won, error = found.ledger.scorecard.lead(chosen.number, source.number)
    apart = f"{show(goal, abs(won))} {'better' if won >= 0 else 'worse'} ± {show(goal, error)}"
    return [Finding(
        "columns", chosen.name, "pass",
        f"not read any more: {', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''}",
        "", f"{apart} than with them (candidate {source.number}), out of fold"
        + _saved(chosen, source, measured),
        "data.drop in the spec would take them out of what callers are asked for as well", "info",
        Interval(won, won - 2 * error, won + 2 * error), tuple(names),
    )]  # fmt: skip


def _saved(chosen: Candidate, source: Candidate, measured: Mapping[int, Measured]) -> str:
    """One row in process and size, before and after: both measured, else both estimated."""
    real = measured.get(source.number), measured.get(chosen.number)
    guess = source.price, chosen.price
    if real[0] is not None and real[1] is not None:
        rows, sizes = [m.in_process_p50 for m in real if m], [m.size for m in real if m]
    elif guess[0] is not None and guess[1] is not None:
        rows, sizes = [p.in_process for p in guess if p], [p.size for p in guess if p]
    else:
        return ""
    before, after = (f"{row * 1e6:,.0f} µs" for row in rows)
    large, small = (show("size", float(size)) for size in sizes)
    return f"; one row {before} -> {after}, size {large} -> {small}"


def _flattery(found: Found) -> Finding:
    """The winner's curse, in the goal's unit."""
    goal = found.ledger.goal
    return Finding(
        "selection", goal, "pass",
        f"cross-validated score flattered by about {show(goal, found.bias)}", "",
        f"it is the best of {len(found.considered)} candidates on the same folds; the sealed "
        "holdout is free of this", "", "info",
    )  # fmt: skip


def agreement(candidates: Sequence[Candidate], measured: Mapping[int, Measured]) -> Finding | None:
    """How well the cheap estimate of latency agreed with the real server: the correlation of the
    logarithms, of three candidates at least. None where there is no such number."""
    pairs = []
    for candidate in candidates:
        real = measured.get(candidate.number)
        if candidate.price and real and real.latency_p95 is not None:
            pairs.append((candidate.price.in_process, real.latency_p95.value))
    if len(pairs) < 3:
        return None
    cheap, real_figures = np.log(np.array(pairs)).T
    if cheap.std() == 0 or real_figures.std() == 0:
        return None
    found = float(np.corrcoef(cheap, real_figures)[0, 1])
    return Finding(
        "estimate", "latency_p95", "pass",
        f"correlation {found:.2f} of {len(pairs)} estimates with the real server", "",
        "one row in process, against the HTTP server in a process of its own", "", "info",
    )  # fmt: skip
