"""What a run proves of each test of the ML Test Score: points and the reason for them.

A point is given where the tool itself tested it in this run, half a point where it is recorded but
not tested again by itself. Each reason says what the evidence is, or what would earn more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from modelwright.core.limits import METRICS, QUALITY, show
from modelwright.release.run_records import RunRecords


class Points(NamedTuple):
    """What a rule gives. `refuted`: evidence speaks against it, so no declaration helps."""

    score: float
    why: str
    refuted: bool = False


ENOUGH_TRIALS = 10
"""Candidates of a search from which it counts as tuned; fewer are a look around."""
MOST_NAMED = 5


LEAST_WORDS = 4
_PLACE = re.compile(r"https?://\S+|\S+@\S+\.\S+|[\w.-]*/[\w./-]+|[\w-]+\.\w{2,5}\b")
"""A link, an address, a path or a file: where something is written down."""
_FILE = re.compile(r"(?<![\w:/.-])[\w-][\w./-]*\.(?:md|rst|txt|py|ya?ml|ipynb|pdf|html|json|csv)\b")


def objection(told: str, project: Path) -> str:
    """Why a declaration is worth nothing; empty where it is worth half a point.

    What people do cannot be checked here. That the words say something, and that a file of the
    project that they name is there, can.

    Example:
        >>> objection("all is well", Path("."))
        'says neither what is done nor where that is written down'
        >>> objection("drills twice a year, see https://wiki.example/drills", Path("."))
        ''
    """
    if len(re.findall(r"\w{2,}", told)) < LEAST_WORDS and not _PLACE.search(told):
        return "says neither what is done nor where that is written down"
    named = [name for name in _FILE.findall(told) if not (project / name).exists()]
    return f"names {_listed(named)}, which is not in the project" if named else ""


def declared(run: RunRecords, code: str) -> str:
    """What the spec says is done for a test by hand; empty where that is nothing."""
    told = run.spec.practices.get(code, "")
    return "" if objection(told, run.project) else told


def schema_of_features(run: RunRecords) -> Points:
    """D1: kinds are always enforced; what values should be is for people to say."""
    features = run.dataset.schema.features
    stated = sum(column.expect is not None for column in features)
    how = f"`expect` states what {stated} of {len(features)} features must be"
    if 2 * stated >= len(features):
        return Points(1.0, f"one schema checks training, scoring and serving; {how}")
    return Points(
        0.5,
        f"kinds are inferred and enforced, but {how}: half of them or more would count; "
        "expect: {column: {range: [...], required: true}}",
    )


def features_are_beneficial(run: RunRecords) -> Points:
    """D2: each column's importance, by itself, with those that it stands for, or by training
    without it, is above zero."""
    importance = run.evaluation.importance
    if not importance:
        return Points(0.0, "importance was not measured: run again with the evaluation")
    sets = (*run.evaluation.groups, *run.evaluation.ablation)
    together = {c for group in sets if group.loss.low > 0 for c in group.columns}
    idle = [
        i.subject
        for i in importance
        if i.loss.low <= 0 and not set(i.columns or (i.subject,)) <= together
    ]
    seen = {c for i in importance for c in (*i.columns, i.subject)} | together
    unseen = [c.name for c in run.dataset.schema.features if c.name not in seen]
    if idle:
        return Points(
            0.0,
            f"{len(idle)} of {len(importance)} features are not above zero for certain: "
            f"{_listed(idle)}; leave them out (data.drop) or bring more holdout rows",
            refuted=True,
        )
    if unseen:
        return Points(0.5, f"not measured: {_listed(unseen)}")
    return Points(
        1.0, f"importance of all {len(importance)} features is above zero with its interval"
    )


def forbidden_features(run: RunRecords) -> Points:
    """D4: a list of what may not be read is enforced, and somebody says that it is complete."""
    dropped, told = run.spec.data.drop, declared(run, "D4")
    proxies = [f for f in run.dataset.findings if f.check == "proxy" and f.verdict != "pass"]
    held = f"data.drop keeps {_listed(dropped)} out of every model" if dropped else ""
    if proxies:
        names = _listed(run.named(f) for f in proxies)
        return Points(
            0.0, f"columns stand for protected ones: {names}; drop them or say why they may stay"
        )
    if dropped and told:
        return Points(1.0, f"{held}; the requirement is written down")
    if dropped:
        return Points(0.5, f"{held}; say in practices: {{D4: ...}} which rule the list comes from")
    return Points(
        0.0, "name columns that the law or your rules forbid in data.drop, and say so under D4"
    )


def privacy(run: RunRecords) -> Points:
    """D5: the scan is clean and private values are kept out; storage is for people to state."""
    scan = [f for f in run.dataset.findings if f.check == "personal data"]
    found = [f.subject for f in scan if f.severity != "info" and f.verdict != "pass"]
    if found:
        return Points(
            0.0,
            f"columns look personal and nobody decided about them: {_listed(found)}; "
            "data.private, data.drop or data.accept",
            refuted=True,
        )
    private = [c.name for c in run.dataset.schema.columns if c.private]
    held = f"; values of {_listed(private)} are kept out of reports" if private else ""
    done = f"every column was scanned for personal data{held}"
    if declared(run, "D5"):
        return Points(1.0, f"{done}; retention and access are declared")
    return Points(
        0.5, f"{done}; state who may read the table and for how long in practices: {{D5: ...}}"
    )


def feature_code(run: RunRecords) -> Points:
    """D7: the packed transforms answer as the trained ones; code of one's own is not covered."""
    parity, data = run.manifest.parity, run.spec.data
    own = ":" in data.source and "://" not in data.source
    if own or data.read.query:
        what = "data.read.query" if data.read.query else data.source
        return Points(
            0.0, f"{what} makes features by code of your own: test it and name the tests under D7"
        )
    proven = parity.label_flips == 0 and parity.largest_difference <= parity.tolerance
    if not proven or not parity.edge_rows:
        return Points(
            0.0, "packed and trained transforms were not proved equal: see the parity gate"
        )
    return Points(
        1.0,
        f"transforms proved equal on {parity.rows:,} rows and {parity.edge_rows:,} edge rows "
        "(gaps, unseen levels, extremes), again at every run",
    )


def model_spec_reviewed(run: RunRecords) -> Points:
    """MD1: the spec is in version control, and somebody says who reviews it."""
    code, told = run.manifest.code, declared(run, "MD1")
    if not code:
        return Points(
            0.0, "the project is not in git: git init, commit modelwright.yaml, review changes"
        )
    if "+" in code:
        return Points(
            0.0, f"the run was made from uncommitted changes on {code[:12]}: commit, run again"
        )
    if told:
        return Points(1.0, f"commit {code[:12]}, clean; the review is declared")
    return Points(
        0.5, f"commit {code[:12]}, clean; say in practices: {{MD1: ...}} who reviews changes"
    )


def tuned(run: RunRecords) -> Points:
    """MD3: a search was made, and what it gained over the defaults."""
    scored = [t for t in run.fit.leaderboard() if t.family != "dummy"]
    searched = [t for t in scored if t.origin == "search"]
    tried = [t for t in scored if t.origin in ("search", "preset")]
    gain = _gain_over_default(run)
    if len(searched) >= ENOUGH_TRIALS:
        return Points(
            1.0, f"{len(searched)} candidates of a search were scored on {run.fit.folds}{gain}"
        )
    if tried:
        return Points(
            0.5,
            f"candidates beside the defaults: {len(tried)}{gain}; raise fit.budget until at "
            f"least {ENOUGH_TRIALS} come from the search",
        )
    return Points(0.0, "defaults only: raise fit.budget")


def _gain_over_default(run: RunRecords) -> str:
    sign = 1 if METRICS[run.fit.goal].better == "higher" else -1
    chosen = next((t.score for t in run.fit.trials if t.number == run.fit.best), None)
    defaults = [sign * t.score for t in run.fit.leaderboard()
                if t.origin == "default" and t.score is not None]  # fmt: skip
    if chosen is None or not defaults:
        return ""
    lead = sign * chosen - max(defaults)
    if lead <= 0:
        return "; the best default was not beaten"
    return f"; {run.fit.goal} better by {show(run.fit.goal, lead)} than the best default"


def staleness(run: RunRecords) -> Points:
    """MD4: a curve of quality over the time since training."""
    curve = run.evaluation.curve("age")
    if curve is None or len(curve.x) < 2:
        return Points(
            0.0, "no curve of age: data.split: {method: time, by: COLUMN} lets the run measure it"
        )
    goal = run.evaluation.goal
    return Points(
        1.0,
        f"measured over {len(curve.x)} stretches of time after training: {goal} "
        f"{show(goal, curve.y[0])} in the first, {show(goal, curve.y[-1])} in the last",
    )


def simpler_is_not_better(run: RunRecords) -> Points:
    """MD5: dummy and linear model, paired on the same rows."""
    found = run.gates("baseline")
    simple = {f.subject for f in found if f.subject != "dummy"}
    open_ones = [f for f in found if f.verdict != "pass"]
    if not found or not (simple or run.fit.family == "linear"):
        return Points(0.0, "no comparison with baselines is recorded: run again")
    if open_ones:
        worst = open_ones[0]
        return Points(
            0.0,
            f"{worst.subject}: {worst.measured}; {worst.advice or 'take the simpler model'}",
            refuted=True,
        )
    if not simple:
        return Points(
            1.0, "the linear model itself was chosen, and it beats the dummy beyond noise"
        )
    return Points(
        1.0, f"better than {_listed(f.subject for f in found)} beyond noise, on the same rows"
    )


def slices_are_good(run: RunRecords) -> Points:
    """MD6: declared slices keep their limits, searched ones are not weak."""
    declared, searched = run.gates("slice"), run.gates("weak slice")
    weak = [f for f in (*declared, *searched) if f.verdict != "pass"]
    if weak:
        failed = any(f.verdict == "fail" for f in weak)
        named = _listed(
            run.named(f) if run.hides(f) else f"{f.subject}: {f.measured}" for f in weak
        )
        return Points(0.0, f"weak or undecided slices ({named}): more rows or features", failed)
    if not declared and not searched:
        return Points(
            0.0, "no slice was looked at: limits: {METRIC: {at_least: ..., slices: {COLUMN: ...}}}"
        )
    parts = [f"declared slices that keep their limits: {len(declared)}"] if declared else []
    parts += [f"searched: {f.wanted or 'none is weak'}" for f in searched]
    return Points(1.0, "; ".join(parts))


def inclusion(run: RunRecords) -> Points:
    """MD7: metrics for protected groups, and a person's judgement of them."""
    protected = [c.name for c in run.dataset.schema.columns if c.protected]
    if not protected:
        return Points(
            0.0, "no column is marked: data.protected: [...], and write down who could be harmed"
        )
    found = run.gates("fairness")
    if not found:
        return Points(
            0.0, f"groups of {_listed(protected)} were not compared: run with the evaluation"
        )
    unequal = [f for f in found if f.verdict != "pass"]
    if unequal:
        named = _listed(run.named(f) for f in unequal)
        failed = any(f.verdict == "fail" for f in unequal)
        return Points(0.0, f"unequal, or too few rows to tell: {named}; judge it in ethics", failed)
    done = f"groups of {_listed(protected)} differ by no more than allowed"
    if run.spec.ethics:
        return Points(1.0, f"{done}; the judgement is written down under ethics")
    return Points(0.5, f"{done}; write the judgement down: ethics: ...")


def reproducible(run: RunRecords) -> Points:
    """I1: trained twice with the same result; else all that is needed for that is recorded."""
    again = run.reproduced
    if again is not None and again.same:
        return Points(1.0, f"made once more with the same digest, {again.digests[0][:12]}")
    if again is not None:
        return Points(
            0.0,
            f"made once more, and it differs: {_listed(again.differences) or 'model file'}",
            refuted=True,
        )
    do = f"modelwright reproduce {run.release.run} would prove it"
    code = run.manifest.code
    if not code or "+" in code or not run.dataset.fingerprint:
        return Points(
            0.0, f"the code of the run is in no commit: commit the project, run again; {do}"
        )
    return Points(
        0.5, f"seed, fingerprint of the data, versions and commit {code[:12]} are recorded; {do}"
    )


def model_code(run: RunRecords) -> Points:
    """I2: what a run exercises of the model's code; the rest has its tests in the tool."""
    own = [name for name in run.spec.fit.families if ":" in name]
    if own:
        return Points(
            0.0, f"{_listed(own)} is your own: let it sit the families' exam, and declare it (I2)"
        )
    return Points(
        0.5,
        "saved, loaded and compared row by row in this run; the families' own tests (loss falls, a "
        "batch is learned) run where the tool is built, not here",
    )


def whole_pipeline(run: RunRecords) -> Points:
    """I3: a run goes from the table to a server that answers; CI is not seen from here."""
    do = "run the spec on a sample in CI (modelwright run --set fit.budget='4 trials') and name it"
    if run.measured.latency_p95 is None:
        return Points(0.0, f"the server was not started (pack.measure: process); {do} under I3")
    return Points(
        0.5, f"this run went from the table to an HTTP server that answered; {do} under I3"
    )


def validated_before_serving(run: RunRecords) -> Points:
    """I4: gates on quality stood between the model and a version."""
    quality = [limit for limit in run.manifest.limits if limit.metric in QUALITY]
    blocking = [f for f in run.release.evidence if f.severity == "error"]
    if not blocking:
        return Points(0.0, "no gate has spoken: run again")
    waved = [f for f in blocking if f.verdict != "pass"] if run.release.verdict == "pass" else []
    if waved or run.release.overrides:
        count = max(len(waved), len(run.release.overrides))
        return Points(0.5, f"undecided gates let through: {count}; bring rows that decide them")
    if not quality:
        return Points(
            0.5, "only baselines guard quality: set a limit, such as limits: {roc_auc: 0.8}"
        )
    return Points(1.0, f"{len(blocking)} gates that block; limits on quality: {len(quality)}")


def rollback(run: RunRecords) -> Points:
    """I7: a way back that was used; nothing times it yet, so no more than half a point."""
    used = [line for line in run.audit if line.action == "rollback"]
    if used:
        return Points(
            0.5, f"used {len(used)} times, last {used[-1].at}; no timed drill is recorded"
        )
    return Points(
        0.0,
        f"modelwright rollback {run.release.model} exists but was never used here: roll back and "
        "promote again once, outside busy hours",
    )


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return ", ".join(found[:MOST_NAMED]) + more
