"""What a search tells while it runs: the best so far, and the leaderboard as it stands."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from modelwright.core.limits import show
from modelwright.core.progress import BoardLine
from modelwright.core.records import Measured
from modelwright.fit.choose import Chooser, costs_of
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
    ledger.progress.board(board_of(ledger.chooser, complete))


def board_of(chooser: Chooser, candidates: Sequence[Candidate]) -> list[BoardLine]:
    """The best candidates with what is known of their costs, measured before estimated."""
    front = chooser.pareto(candidates)
    best = chooser.ranked(candidates)[:BOARD_LINES]
    return [_line(chooser, candidate, front) for candidate in best]


def _line(chooser: Chooser, candidate: Candidate, front: Collection[int]) -> BoardLine:
    card, goal = chooser.scorecard, chooser.scorecard.goal
    score, error = (show(goal, f(candidate.number)) for f in (card.mean, card.error))
    found, row = chooser.cost(candidate), chooser.seconds(candidate)
    about = "" if isinstance(found, Measured) else "~"
    costs = {} if found is None else costs_of(found)
    words = {name: f"{about}{show(name, value)}" for name, value in costs.items()}
    broken = chooser.broken(candidate)
    return BoardLine(
        str(candidate.number),
        f"{candidate.name} {candidate.origin}",
        f"{score} ± {error}",
        "" if row is None else f"{about}{row * 1e6:,.0f} µs",
        ", ".join(f"over {limit.metric}" for limit in broken),
        p95=words.get("latency_p95", ""),
        throughput=words.get("throughput", ""),
        memory=words.get("memory", ""),
        size=words.get("size", ""),
        seconds=f"{candidate.seconds:.1f} s",
        feasible="" if found is None else "no" if broken else "yes",
        pareto="yes" if candidate.number in front else "",
    )


def _limit_note(ledger: Ledger, leader: Candidate, score: float) -> str:
    """Whether the best so far keeps the limits that are known of it."""
    if leader.broken:
        return f", over {', '.join(leader.broken)}"
    for limit in ledger.limits:
        if limit.metric == ledger.goal and not limit.relative and not limit.slice_column:
            return f", limit {'met' if limit.met_by(score) else 'not met'}"
    return ""
