"""The verdict on a canary: roll back, promote or hold, from counts of each minute.

Each rule (errors, slow answers, wrong labels) owns a share of alpha. For it, a stratified
two-sample e-process (`watch.two_arms`) collects evidence that the canary is worse than tolerated; a
second one collects evidence that it is not worse than the margin. Errors of predicted values are
bet on as they are (`watch.two_means`). Cells of one rule, such as
answers beyond the champion's p50, p95 and p99, are averaged. One may look after every minute and
act on what one sees: the chance that a canary which is no worse than tolerated is ever rolled back
is at most alpha, and the chance that one beyond the margin is promoted at most beta.

Prefer it to a threshold on a dashboard, which is looked at until it fires: a z-test at .05 looked
at each minute rolls back one healthy release in four. Switch it off, or count users in the place
of requests, where errors come in bursts of one caller: the guarantee needs requests that are
independent given their minute.

Source: Turner, Ly, Grünwald (2024). A second opinion on mean latency: `watch.second_opinion`.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np

from modelwright.core.errors import DataError
from modelwright.core.records import Finding, Interval
from modelwright.watch.second_opinion import Slower, second_opinion, with_latency
from modelwright.watch.times import lasted
from modelwright.watch.two_arms import TILTS, log_e_of_rate, log_e_values, mixed
from modelwright.watch.two_means import Losses, Sums, log_e_of_means

Call = Literal["roll back", "promote", "hold"]


class Arms(msgspec.Struct, frozen=True):
    """Trials and events of both arms in one stratum: requests and errors, labels and wrong ones."""

    champion_trials: int
    champion_events: int
    canary_trials: int
    canary_events: int


class Stratum(msgspec.Struct, frozen=True):
    """What both arms did while the split of traffic did not change.

    Close a stratum when the canary's share changes: else a ramp in an incident looks like harm.

    Attributes:
        cells: name -> counts.
        latency: seconds of the answers.
        minutes: that it took.
        losses: name -> losses, for a cell that is no count: errors of predicted values.
    """

    cells: dict[str, Arms]
    latency: Sums | None = None
    minutes: float = 1.0
    losses: dict[str, Losses] = {}


class Rule(msgspec.Struct, frozen=True):
    """One metric that the canary is judged by.

    Attributes:
        name: as it is shown.
        cells: names of its counts; their e-values are averaged.
        weight: its part of alpha.
        tolerance: how much larger the canary's odds of an event, or its mean error, may be; .05 is
            5 %. For rates below a few percent odds and rates are the same.
        slack: difference of rates that is tolerated as well, whatever the ratio.
        margin: promoted when an odds ratio of this or more is ruled out.
        budget: or when a rate of this or more is ruled out; None for no such way.
        needed: whether promotion waits for it; else it is enough that nothing points to harm.
    """

    name: str
    cells: tuple[str, ...]
    weight: float = 1.0
    tolerance: float = 0.05
    slack: float = 0.0005
    margin: float = 1.5
    budget: float | None = None
    needed: bool = True


RULES = (
    Rule("errors", ("errors",), weight=2.0, budget=0.01),
    Rule("latency", ("over p50", "over p95", "over p99")),
    Rule("labels", ("label errors",), needed=False),
)


class Plan(msgspec.Struct, frozen=True):
    """How a canary is judged: `alpha` false rollbacks, `beta` false promotions of a rule; minutes.

    `scale`: difference of mean latency, in seconds, that the second opinion is tuned to.
    """

    rules: tuple[Rule, ...] = RULES
    alpha: float = 0.01
    beta: float = 0.05
    minimum: float = 10.0
    maximum: float = 120.0
    scale: float = 0.005

    def __post_init__(self) -> None:
        for rule in self.rules:
            if rule.margin <= 1 + rule.tolerance or rule.weight <= 0 or not rule.cells:
                raise DataError(
                    f"The canary rule {rule.name!r} can not be decided: margin {rule.margin:g}, "
                    f"tolerance {rule.tolerance:g}, weight {rule.weight:g}, cells {rule.cells}.",
                    hint="The margin is above 1 + tolerance, the weight above 0.",
                )


class Evidence(msgspec.Struct, frozen=True):
    """What is remembered of one cell: logarithms of wealth of each bet, counts, and sums.

    `pooled` are the sums of the Mantel-Haenszel ratio and of its variance, for the interval shown;
    `means` the sums of a cell of losses, which has no counts of events.
    """

    harm: tuple[float, ...]
    safe: tuple[float, ...]
    cheap: tuple[float, ...]
    counts: Arms
    pooled: tuple[float, float, float] = (0.0, 0.0, 0.0)
    means: Sums | None = None


class State(msgspec.Struct, frozen=True):
    """A canary so far; the same after a trip through JSON. `slower`: sums for mean latency."""

    minutes: float = 0.0
    call: Call = "hold"
    cells: dict[str, Evidence] = {}
    slower: Slower = (0.0, 0.0, 0.0, 0.0)


class Decision(msgspec.Struct, frozen=True):
    """The verdict with its evidence, the deciding finding first; `over`: a person must decide."""

    call: Call
    minutes: float
    over: bool
    why: str
    findings: tuple[Finding, ...]


def look(state: State, stratum: Stratum, plan: Plan) -> State:
    """Add one stratum. A state that is decided stays as it is.

    Args:
        state: so far; `State()` at the start.
        stratum: each is added once.
        plan: the same for the whole canary.

    Raises:
        DataError: counts that can not be, such as more errors than requests.
    """
    if state.call != "hold":
        return state
    cells = dict(state.cells)
    for rule in plan.rules:
        for name in rule.cells:
            if name in stratum.cells:
                cells[name] = _added(cells.get(name), _checked(name, stratum.cells[name]), rule)
            elif name in stratum.losses:
                cells[name] = _with_losses(cells.get(name), stratum.losses[name], rule)
    minutes = state.minutes + stratum.minutes
    slower = with_latency(state.slower, stratum.latency)
    held = State(minutes, "hold", cells, slower)
    return msgspec.structs.replace(held, call=_call(held, plan))


def decide(state: State, plan: Plan) -> Decision:
    """The verdict of a state, in words and with its evidence.

    Example:
        >>> plan, state = Plan(), State()
        >>> for _ in range(10):
        ...     state = look(state, Stratum({"errors": Arms(800, 4, 200, 5)}), plan)
        >>> decide(state, plan).call, decide(state, plan).why
        ('roll back', 'errors: worse than tolerated')
    """
    found = [(_strength(state, rule, plan), _finding(state, rule, plan)) for rule in plan.rules]
    found = [pair for pair in found if pair[1].measured or pair[1].severity == "warning"]
    findings = [finding for _, finding in sorted(found, key=lambda pair: -pair[0])]
    over = state.call == "hold" and state.minutes >= plan.maximum
    if state.call == "roll back":
        why = f"{findings[0].subject}: worse than tolerated"
    elif state.call == "promote":
        why = "every metric that is needed is within its margin"
    elif over:
        why = f"neither harm nor safety is shown in {lasted(plan.maximum)}: a person decides"
    else:
        why = "not enough evidence yet"
    if state.slower[0]:
        findings.append(second_opinion(state.slower, plan.alpha, plan.scale))
    return Decision(state.call, state.minutes, over, why, tuple(findings))


def _checked(name: str, arms: Arms) -> Arms:
    for trials, events in (
        (arms.champion_trials, arms.champion_events),
        (arms.canary_trials, arms.canary_events),
    ):
        if not 0 <= events <= trials:
            raise DataError(
                f"{name}: {events} events in {trials} trials.", hint="Count both in one place."
            )
    return arms


def _added(old: Evidence | None, arms: Arms, rule: Rule) -> Evidence:
    if old is None:
        none = (0.0,) * len(TILTS)
        old = Evidence(none, none, none, Arms(0, 0, 0, 0))
    counts = Arms(
        old.counts.champion_trials + arms.champion_trials,
        old.counts.champion_events + arms.champion_events,
        old.counts.canary_trials + arms.canary_trials,
        old.counts.canary_events + arms.canary_events,
    )
    tolerated, margin = _bounds(counts, rule)
    bets = np.concatenate([
        np.stack([np.full(len(TILTS), tolerated), tolerated + TILTS], axis=1),
        np.stack([np.full(len(TILTS), margin), margin - TILTS], axis=1),
    ])  # fmt: skip
    champion = (arms.champion_trials, arms.champion_events)
    canary = (arms.canary_trials, arms.canary_events)
    logs = log_e_values(champion, canary, bets)
    cheap = np.array(old.cheap)
    if rule.budget is not None:
        cheap = cheap + log_e_of_rate(*canary, rule.budget, TILTS)
    return Evidence(
        tuple((np.array(old.harm) + logs[: len(TILTS)]).tolist()),
        tuple((np.array(old.safe) + logs[len(TILTS) :]).tolist()),
        tuple(cheap.tolist()),
        counts,
        _pooled(old.pooled, arms),
    )


def _with_losses(old: Evidence | None, losses: Losses, rule: Rule) -> Evidence:
    harm, safe = log_e_of_means(losses, 1 + rule.tolerance, rule.slack, rule.margin)
    sums = losses.sums()
    if old is not None and old.means is not None:
        harm, safe, sums = harm + old.harm, safe + old.safe, old.means.plus(sums)
    counts = Arms(sums.champion[0], 0, sums.canary[0], 0)
    return Evidence(tuple(harm.tolist()), tuple(safe.tolist()), (), counts, means=sums)


def _bounds(counts: Arms, rule: Rule) -> tuple[float, float]:
    """Log odds ratios that are tolerated, and that promotion rules out.

    The rate behind the slack is that of both arms together, this stratum included: totals are what
    the e-value is conditional on, so it stays one.
    """
    events = counts.champion_events + counts.canary_events
    rate = (events + 0.5) / (counts.champion_trials + counts.canary_trials + 1)
    with_slack = min(rate + rule.slack, 1 - 1e-9)
    ratio = with_slack / (1 - with_slack) / (rate / (1 - rate))
    tolerated = math.log(max(1 + rule.tolerance, ratio))
    return tolerated, max(math.log(rule.margin), tolerated)


def _pooled(old: tuple[float, float, float], arms: Arms) -> tuple[float, float, float]:
    total = arms.champion_trials + arms.canary_trials
    if not total:
        return old
    worse = arms.canary_events * arms.champion_trials / total
    base = arms.champion_events * arms.canary_trials / total
    events = arms.champion_events + arms.canary_events
    spread = arms.champion_trials * arms.canary_trials * events / total**2
    spread -= arms.canary_events * arms.champion_events / total
    return old[0] + worse, old[1] + base, old[2] + spread


def _harm(state: State, rule: Rule) -> float:
    """Log e-value of "worse than tolerated"; a cell without counts so far has bet nothing."""
    none = (0.0,) * len(TILTS)
    return mixed(
        np.array([state.cells[n].harm if n in state.cells else none for n in rule.cells]).ravel()
    )


def _safe(state: State, rule: Rule) -> float:
    """Log e-value of "within the margin": that of the cell that says it least."""
    cells = [state.cells[name] for name in rule.cells if name in state.cells]
    bets = [np.array(c.safe if rule.budget is None else c.safe + c.cheap) for c in cells]
    return min((mixed(logs) for logs in bets), default=-math.inf)


def _strength(state: State, rule: Rule, plan: Plan) -> float:
    """Above 0: this rule rolls back."""
    share = rule.weight / sum(r.weight for r in plan.rules)
    return _harm(state, rule) + math.log(plan.alpha * share)


def _is_safe(state: State, rule: Rule, plan: Plan) -> bool:
    return _safe(state, rule) >= -math.log(plan.beta)


def _call(state: State, plan: Plan) -> Call:
    if any(_strength(state, rule, plan) >= 0 for rule in plan.rules):
        return "roll back"
    if state.minutes < plan.minimum:
        return "hold"
    seen = [r for r in plan.rules if any(name in state.cells for name in r.cells)]
    needed = [rule for rule in plan.rules if rule.needed] or seen
    leaning = any(_harm(state, rule) > 0 for rule in seen if not rule.needed)
    safe = bool(needed) and all(_is_safe(state, rule, plan) for rule in needed)
    return "promote" if safe and not leaning else "hold"


def _finding(state: State, rule: Rule, plan: Plan) -> Finding:
    cells = {name: state.cells[name] for name in rule.cells if name in state.cells}
    if not cells:
        return Finding(
            check="canary",
            subject=rule.name,
            verdict="undecided",
            wanted="counts of both arms",
            advice="not promoted without them: count them, or set `needed` to false",
            severity="warning" if rule.needed else "info",
        )
    worst = max(cells, key=lambda name: mixed(np.array(cells[name].harm)))
    broken = _strength(state, rule, plan) >= 0
    label = "" if len(rule.cells) == 1 else f"{worst}: "
    measured, wanted, interval = _in_words(cells[worst], rule)
    shown = math.exp(min(_harm(state, rule), 700.0))
    safe = _is_safe(state, rule, plan)
    return Finding(
        check="canary",
        subject=rule.name,
        verdict="fail" if broken else "pass" if safe else "undecided",
        measured=label + measured,
        wanted=wanted,
        why=f"the evidence for harm is {shown:.3g} to 1 after {lasted(state.minutes)}",
        advice="roll back" if broken else "" if safe else "wait, or give the canary more traffic",
        severity="error" if broken else "info",
        interval=interval,
        columns=tuple(cells),
    )


def _in_words(found: Evidence, rule: Rule) -> tuple[str, str, Interval]:
    """What was measured, what was wanted, and the ratio of the arms."""
    if found.means is not None:
        old, new = found.means.means()
        measured = f"a mean error of {new:.4g} against {old:.4g} of the champion"
        wanted = f"a mean error at most {1 + rule.tolerance:g} of the champion's"
        return measured, wanted, found.means.ratio()
    counts = found.counts
    rates = [
        events / trials if trials else math.nan
        for trials, events in (
            (counts.champion_trials, counts.champion_events),
            (counts.canary_trials, counts.canary_events),
        )
    ]
    measured = f"{rates[1]:.3%} against {rates[0]:.3%} of the champion"
    wanted = f"odds at most {1 + rule.tolerance:g} of the champion's, or {rule.slack:.2%} more"
    return measured, wanted, _ratio(found.pooled)


def _ratio(pooled: tuple[float, float, float]) -> Interval:
    """Mantel-Haenszel ratio of rates; its interval is for reading, not for stopping."""
    worse, base, spread = pooled
    if not worse or not base:
        return Interval(math.nan, -math.inf, math.inf)
    ratio = worse / base
    width = math.exp(1.96 * math.sqrt(max(0.0, spread) / (worse * base)))
    return Interval(ratio, ratio / width, ratio * width)
