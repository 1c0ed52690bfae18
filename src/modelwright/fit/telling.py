"""What a search tells while it runs: the best so far, and the leaderboard as it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwright.core.limits import show
from modelwright.core.progress import BoardLine
from modelwright.fit.trials import Candidate

if TYPE_CHECKING:
    from modelwright.fit.ledger import Ledger

BOARD_LINES = 6


def tell(ledger: Ledger) -> None:
    """One step of the progress, after some folds."""
    leader = ledger.leader
    if leader is None:
        return
    score = ledger.scorecard.mean(leader.number)
    tried = sum(bool(c.outcomes) for c in ledger.candidates)
    trials = ledger.budget.trials
    done, total = (tried, trials) if trials else (ledger.budget.spent, ledger.budget.total)
    count = min(len(leader.outcomes), ledger.folds.count)
    part = "" if count == ledger.folds.count else f" ({count} of {ledger.folds.count} folds)"
    met = _limit_note(ledger, leader, score)
    note = f"best {leader.name} {ledger.goal} {score:.4f}{part}{met}"
    ledger.progress.step(done, total, f"{tried} candidates, {note}")
    complete = ledger.complete() or [c for c in ledger.candidates if c.outcomes]
    best = ledger.chooser.ranked(complete)[:BOARD_LINES]
    ledger.progress.board([_line(ledger, candidate) for candidate in best])


def _line(ledger: Ledger, candidate: Candidate) -> BoardLine:
    card, price = ledger.scorecard, candidate.price
    score, error = (show(ledger.goal, f(candidate.number)) for f in (card.mean, card.error))
    return BoardLine(
        str(candidate.number),
        f"{candidate.name} {candidate.origin}",
        f"{score} ± {error}",
        "" if price is None else f"{price.in_process * 1e6:.0f} µs",
        ", ".join(f"over {name}" for name in candidate.broken),
    )


def _limit_note(ledger: Ledger, leader: Candidate, score: float) -> str:
    """Whether the best so far keeps the limits that are known of it."""
    if leader.broken:
        return f", over {', '.join(leader.broken)}"
    for limit in ledger.limits:
        if limit.metric == ledger.goal and not limit.relative and not limit.slice_column:
            return f", limit {'met' if limit.met_by(score) else 'not met'}"
    return ""
