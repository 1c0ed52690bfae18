"""Results as people read them at a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from modelwright.core import limits
from modelwright.ways_in import results
from modelwright.ways_in.agents.shapes import AgentsResult
from modelwright.ways_in.job_state import JobsResult
from modelwright.ways_in.mcp.untrusted import one_line
from modelwright.ways_in.operations import OPERATIONS
from modelwright.ways_in.render_agents import show_agents
from modelwright.ways_in.render_audit import show_audit
from modelwright.ways_in.render_findings import print_findings, print_ways_on
from modelwright.ways_in.render_jobs import show_jobs
from modelwright.ways_in.render_requests import show_approved, show_requests
from modelwright.ways_in.render_retrain import print_plan
from modelwright.ways_in.render_traffic import show_traffic
from modelwright.ways_in.render_watch import show_watch_result
from modelwright.ways_in.results_requests import ApproveResult, RequestsResult

MOST_COLUMNS = 60
MOST_CANDIDATES = 10
WIDE = 120
NAMES = {"latency_p95": "p95"}


def show(result: BaseModel, console: Console) -> None:
    """Print any operation's result."""
    _RENDERERS[type(result)](result, console)


def _init(result: results.InitResult, console: Console) -> None:
    print_findings(result.findings, console)
    console.print(
        f"\nWrote [bold]{escape(result.spec)}[/]: {result.task} model [bold]{result.name}[/] from "
        f"{result.rows:,} rows and {result.features} columns."
    )
    errors = sum(f.severity == "error" for f in result.findings)
    if not result.features:
        console.print("No column can be used as it is: see the findings, and data.kinds.")
    elif errors:
        console.print(
            f"Next: decide on the {errors} error(s) above (data.drop, or data.accept), look at the "
            "limits, then: [bold]modelwright run[/]"
        )
    else:
        console.print("Next: look at its limits, then: [bold]modelwright run[/]")


def _check(result: results.CheckResult, console: Console) -> None:
    if result.model:
        print_findings(result.findings, console)
        refused = sum(f.severity == "error" for f in result.findings)
        moved = sum(f.severity == "warning" for f in result.findings)
        console.print(
            f"\n{escape(result.source)}: {result.rows:,} rows held against "
            f"[bold]{escape(result.model)}[/]: {refused} reason(s) to refuse rows, "
            f"{moved} warning(s)."
        )
        return
    _print_read(result, console)
    table = Table(box=None, pad_edge=False)
    for name in ("column", "kind", "missing", "tells", "values", "not used because"):
        table.add_column(name, overflow="fold")
    for column in result.columns[:MOST_COLUMNS]:
        missing = "" if column.missing is None else f"{column.missing:.1%}"
        tells = "" if column.relation is None else f"{column.relation:.2f} {_bar(column.relation)}"
        cells = (column.name, column.kind, missing, tells, column.values, column.unused)
        table.add_row(*map(escape, cells))
    console.print(table)
    if len(result.columns) > MOST_COLUMNS:
        console.print(f"... and {len(result.columns) - MOST_COLUMNS} more columns (--json has all)")
    print_findings(result.findings, console)
    console.print(
        f"\n{escape(result.source)}: {result.rows:,} rows, {result.train_rows:,} to learn from, "
        f"{result.holdout_rows:,} sealed ({escape(result.split)}).\n"
        f"Target {escape(result.target)}: {result.task}. Fingerprint {result.fingerprint}."
    )
    if result.sampled:
        console.print(f"Kinds and costly checks are those of {result.sampled:,} sampled rows.")


def _print_read(result: results.CheckResult, console: Console) -> None:
    """How the file is written, and which version of it this is: one table."""
    known = {**result.read, **result.origin}
    if not known:
        return
    table = Table(box=None, pad_edge=False, title="Read as", title_justify="left")
    table.add_column("what")
    table.add_column("found", overflow="fold")
    shown = {"\t": "tab", " ": "blank", "": "none"}
    for what, found in known.items():
        text = found if not isinstance(found, dict) else _listed(found)
        table.add_row(what, escape(shown.get(str(text), str(text))))
    console.print(table)
    console.print()


def _listed(found: dict[str, Any]) -> str:
    return "; ".join(
        f"{name}: {', '.join(value) if isinstance(value, list) else value}"
        for name, value in list(found.items())[:12]
    )


def _bar(share: float) -> str:
    """A share of 0 to 1 as up to five blocks.

    Example:
        >>> _bar(0.5), _bar(0.01)
        ('██▌', '')
    """
    halves = round(share * 10)
    return "█" * (halves // 2) + "▌" * (halves % 2)


def _compare(result: results.CompareResult, console: Console) -> None:
    if result.report:
        _differences(result, console)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("column", "kind", "missing", "distance", "what changed"):
        table.add_column(name, overflow="fold")
    changed = [c for c in result.columns if not c.equal]
    changed.sort(key=lambda c: -2.0 if c.distance is None else -c.distance)
    for column in changed[:MOST_COLUMNS]:
        kind = column.kinds[1] if column.kinds[0] == column.kinds[1] else " → ".join(
            kind or "none" for kind in column.kinds
        )  # fmt: skip
        shares = ["none" if m is None else f"{m:.1%}" for m in column.missing]
        missing = shares[1] if shares[0] == shares[1] else " → ".join(shares)
        far = "" if column.distance is None else f"{column.distance:.3f}"
        table.add_row(*map(escape, (column.name, kind, missing, far, column.why)))
    if changed:
        console.print(table)
    if len(changed) > MOST_COLUMNS:
        console.print(f"... and {len(changed) - MOST_COLUMNS} more columns (--json has all)")
    one, two = result.sources
    console.print(
        f"\n{escape(one)}: {result.rows[0]:,} rows; {escape(two)}: {result.rows[1]:,} rows. "
        + (
            ""
            if result.sampled
            else f"{len(result.columns) - len(changed)} of {len(result.columns)} columns are equal."
        )
    )
    if result.fingerprints[0] and result.fingerprints[0] == result.fingerprints[1]:
        console.print(f"The same table, whatever the order: fingerprint {result.fingerprints[0]}.")
    elif result.both >= 0:
        console.print(
            f"By the columns of both: {result.both:,} rows in both, {result.only[0]:,} only in the "
            f"first, {result.only[1]:,} only in the second."
        )
    if result.sampled:
        console.print(f"Distributions are of {result.sampled:,} sampled rows a side.")


def _differences(result: results.CompareResult, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("", *result.sources, ""):
        table.add_column(escape(name), overflow="fold")
    for line in result.differences:
        table.add_row(*map(escape, (line.what, line.one, line.two, line.better)))
    console.print(table)
    console.print(f"\nBoth reports side by side: {escape(result.report)}")


def _release(result: results.ReleaseResult, console: Console) -> None:
    console.print(f"[bold green]{escape(result.headline)}[/]")
    for line in result.overrides:
        console.print(f"Let through: {escape(line)}")
    console.print(f"Registered as version {result.version} ({result.alias}).")
    if result.next:
        console.print(f"Next: {escape(result.next)}")


def _retrain(result: results.RetrainResult, console: Console) -> None:
    print_plan(result, console)
    if result.run is not None:
        console.print()
        _run(result.run, console)


def _run(result: results.RunResult, console: Console) -> None:
    _leaderboard(result, console)
    print_findings(result.findings, console)
    colour = {"pass": "green", "fail": "red", "undecided": "yellow"}[result.verdict]
    console.print(f"\n[bold {colour}]{escape(result.headline)}[/]")
    if result.version:
        console.print(
            f"Registered as version {result.version} ({result.alias}), {result.family}, "
            f"best of {result.trials} candidates."
        )
    there = "" if result.project == "." else f" --project {escape(result.project)}"
    if result.alias == "challenger" and not result.replaces:
        console.print(f"Next: {escape(result.next)}")
    elif result.alias == "challenger":
        console.print(
            f"The champion is still version {result.replaces}. "
            f"Next: [bold]modelwright promote {result.model}{there}[/]"
        )
    elif result.version:
        console.print(f"Next: [bold]modelwright serve {result.model}{there}[/]")
    elif result.verdict == "undecided":
        print_ways_on(result.findings, result.run, there, console)
    console.print(f"Report: {escape(result.report)}")


def _leaderboard(result: results.RunResult, console: Console) -> None:
    """The best candidates, and those that were measured; chosen and Pareto ones are marked."""
    table = Table(box=None, pad_edge=False, title="Candidates", title_justify="left")
    wide = console.width >= WIDE
    served = ("latency_p95", "throughput", "memory") if wide else ("latency_p95",)
    table.add_column("")
    table.add_column("#", justify="right")
    table.add_column("candidate", overflow="fold", min_width=20)
    for name in (
        result.goal,
        *(NAMES.get(n, n) for n in served),
        "one row",
        "size",
        *(("fit",) if wide else ()),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for line in result.leaderboard[:MOST_CANDIDATES]:
        sign = "[yellow]![/]" if not line.feasible else "[dim]~[/]" if line.pareto else ""
        sign = f"[green]>[/]{'' if line.feasible else sign}" if line.chosen else sign
        error = "" if line.error is None else f" ± {limits.show(result.goal, line.error)}"
        part = "" if line.outcome == "complete" else f", {line.folds} fold(s)"
        cells = [str(line.number), f"{line.candidate} ({line.origin}{part})"]
        cells.append(_figure(result.goal, line.score) + error)
        cells += [_figure(name, getattr(line, name)) for name in served]
        seconds = line.in_process
        about = "" if line.measured else "~"
        row = "" if seconds is None else f"{about}{seconds * 1e6:,.0f} µs"
        size = _figure("size", line.size)
        cells += [row, f"{about}{size}" if size else ""]
        cells += [f"{line.fit_seconds:.1f} s"] if wide else []
        table.add_row(sign, *map(escape, cells))
    console.print(table)
    more = len(result.leaderboard) - MOST_CANDIDATES
    console.print(
        "[dim]> chosen, ~ left: nothing is both better and faster, ! breaks a limit on cost; "
        "~ before a figure: estimated"
        + (f"; {more} more in the report" if more > 0 else "")
        + "[/]\n"
    )


def _figure(metric: str, value: float | None) -> str:
    return "" if value is None else limits.show(metric, value)


def _reproduce(result: results.ReproduceResult, console: Console) -> None:
    for difference in result.differences:
        console.print(f"[yellow]![/] {escape(difference)}")
    if result.same:
        console.print(
            f"[green]✓[/] Run {escape(result.run)}: the same model, byte by byte "
            f"(sha256 {result.now[:12]})."
        )
    else:
        console.print(
            f"[red]✗[/] Run {escape(result.run)}: another model file: sha256 {result.then[:12]} "
            f"then, {result.now[:12]} now."
        )


def _dashboard(result: results.DashboardResult, console: Console) -> None:
    rules = f"Rule file: [bold]{escape(result.rules)}[/]. " if result.rules else ""
    console.print(
        f"Wrote [bold]{escape(result.out)}[/], {result.panels} panels: import it in Grafana "
        f"(Dashboards, New, Import). {rules}Under scrape_configs of prometheus.yml:\n"
    )
    console.print(result.scrape, markup=False, highlight=False, soft_wrap=True)


def _predict(result: results.PredictResult, console: Console) -> None:
    console.print(f"Wrote {result.rows:,} predictions to [bold]{escape(result.out)}[/].")


def _client(result: results.ClientResult, console: Console) -> None:
    console.print(f"Wrote a {result.language} client to [bold]{escape(result.out)}[/].")


def _change(result: results.ChangeResult, console: Console) -> None:
    replaced = f", in place of version {result.replaces}" if result.replaces else ""
    console.print(
        f"Version [bold]{result.champion}[/] is now champion of [bold]{result.model}[/]{replaced}."
    )
    if result.replaces:
        again = f"promote {result.model} {result.replaces}"
        back = f"rollback {result.model}" if result.action == "promote" else again
        console.print(f"Way back: [bold]modelwright {back}[/]")


def _history(result: results.HistoryResult, console: Console) -> None:
    table = Table(box=None, pad_edge=False, title="Versions", title_justify="left")
    for name in ("version", "alias", "verdict", "created", "run"):
        table.add_column(name)
    for v in result.versions:
        verdict = ", ".join([v.verdict, *(f"{subject} let through" for subject in v.let_through)])
        table.add_row(v.version, ", ".join(v.aliases), escape(verdict), v.created, v.run)
    console.print(table)
    table = Table(box=None, pad_edge=False, title="\nChanges", title_justify="left")
    for name in ("when", "what", "version", "in place of", "by", "why"):
        table.add_column(name, overflow="fold")
    for c in result.changes:
        what = f"{c.action} {c.subject}".strip()
        table.add_row(
            c.at, escape(what), c.champion, c.replaces, escape(c.by), escape(one_line(c.why))
        )
    console.print(table)


def _approve(result: ApproveResult, console: Console) -> None:
    show_approved(result, console)
    if result.result:
        kind = next(one.result for one in OPERATIONS if one.name == result.request.action)
        show(kind.model_validate(result.result), console)


def _gc(result: results.GcResult, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("what", "why", "size", "where"):
        table.add_column(name, overflow="fold")
    for one in result.garbage:
        table.add_row(one.kind, escape(one.why), _figure("size", one.bytes), escape(one.path))
    if result.garbage:
        console.print(table)
    size = _figure("size", result.bytes)
    if not result.garbage:
        console.print("Nothing to remove.")
    elif result.applied:
        console.print(f"\nRemoved {len(result.garbage)}, {size} freed.")
    else:
        console.print(
            f"\n{len(result.garbage)} found, {size}; nothing was changed. "
            "Remove them: [bold]modelwright gc --apply[/]"
        )


def _keys(result: results.KeysResult, console: Console) -> None:
    if result.approver:
        console.print(
            f"{escape(result.approver)} is an approver now: {escape(result.policy)} has the public "
            "key. To approve:"
        )
        console.print(f"  modelwright approve ID --key {escape(result.private)}", soft_wrap=True)
        return
    console.print(f"Wrote the key {result.key}. Where releases are made:")
    console.print(f"  export MODELWRIGHT_SIGNING_KEY={escape(result.private)}", soft_wrap=True)
    console.print("Where they are promoted and served:")
    console.print(f"  export MODELWRIGHT_TRUSTED_KEYS={escape(result.public)}", soft_wrap=True)


def _spec(result: results.SpecResult, console: Console) -> None:
    text = msgspec.json.format(msgspec.json.encode(result.document), indent=2).decode()
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _doctor(result: results.DoctorResult, console: Console) -> None:
    print_findings(result.findings, console)


_RENDERERS: dict[type[BaseModel], Callable[[Any, Console], None]] = {
    results.InitResult: _init,
    results.CheckResult: _check,
    results.CompareResult: _compare,
    results.RunResult: _run,
    results.RetrainResult: _retrain,
    results.ReportResult: _run,
    results.ReleaseResult: _release,
    results.DashboardResult: _dashboard,
    results.PredictResult: _predict,
    results.ClientResult: _client,
    results.ReproduceResult: _reproduce,
    JobsResult: lambda result, console: show_jobs(result, console, show),
    results.ChangeResult: _change,
    results.TrafficResult: show_traffic,
    AgentsResult: show_agents,
    results.WatchResult: show_watch_result,
    results.HistoryResult: _history,
    results.AuditResult: show_audit,
    results.GcResult: _gc,
    results.KeysResult: _keys,
    RequestsResult: show_requests,
    ApproveResult: _approve,
    results.SpecResult: _spec,
    results.DoctorResult: _doctor,
}
