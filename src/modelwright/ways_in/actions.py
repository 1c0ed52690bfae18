"""What each operation does: the public API called with checked arguments."""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from pathlib import Path

import msgspec

import modelwright as mw
from modelwright.core.errors import NoSuchModel, UsageError
from modelwright.core.goalposts import must_leave_to_people, remember
from modelwright.core.principal import acting
from modelwright.core.progress import Progress
from modelwright.core.spec_file import parse_spec, read_spec, spec_json_schema
from modelwright.core.store import to_json
from modelwright.ways_in import arguments, results
from modelwright.ways_in.approvals import new_approver
from modelwright.ways_in.carry_out import present_call
from modelwright.ways_in.doctor import examine
from modelwright.ways_in.draft import draft, headline_of
from modelwright.ways_in.lines import (
    change,
    column_line,
    figure,
    in_a_line,
    lines,
    moment,
    near,
    next_step,
    run_result,
)
from modelwright.ways_in.named_files import write_named, writes_to
from modelwright.ways_in.traffic import change as change_traffic
from modelwright.ways_in.traffic import result as traffic_result


def init(given: arguments.InitArguments, progress: Progress) -> results.InitResult:
    """Look at the data, write a commented spec."""
    path = Path(given.out)
    if path.is_dir():
        raise UsageError(f"--out {given.out!r} is a folder.", hint="Such as modelwright.yaml.")
    if path.exists() and not given.force:
        raise UsageError(f"{path} exists already.", hint="Use --force to overwrite it, or --out.")
    progress.stage("data", given.data)
    text, record, name = draft(given.data, given.target, given.name, path, given.query)
    before = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
    if before is not None and acting().is_agent:
        must_leave_to_people(path, parse_spec(text, path).spec)
    write_named("--out", given.out, text.encode())
    if acting().is_agent:
        remember(path.parent, text, before)
    return results.InitResult(
        spec=str(path),
        name=name,
        task=record.schema.target.task,
        rows=record.rows,
        features=len(record.schema.features),
        findings=lines(record.findings),
    )


def check(given: arguments.CheckArguments, progress: Progress) -> results.CheckResult:
    """Read and judge the data."""
    progress.stage("data", given.spec)
    if given.against is not None:
        judged = mw.check_against(
            given.spec, given.against, folder=given.project, progress=progress
        )
        return results.CheckResult(
            source=judged.source,
            rows=judged.rows,
            model=judged.model,
            findings=lines(judged.findings),
        )
    path = Path(given.project) / given.spec
    if path.suffix.lower() not in (".yaml", ".yml") and path.exists():
        raise UsageError(
            f"{given.spec} is a table, not a spec file.",
            hint=f"modelwright check {given.spec} --against NAME judges it against a model; "
            f"modelwright init {given.spec} --target COLUMN writes a spec.",
        )
    record = mw.check(path, overrides=tuple(given.overrides), progress=progress)
    return results.CheckResult(
        source=record.source,
        rows=record.rows,
        train_rows=record.train_rows,
        holdout_rows=record.holdout_rows,
        split=record.split,
        fingerprint=record.fingerprint,
        target=record.schema.target.name,
        task=record.schema.target.task,
        read=record.read,
        origin=record.origin,
        sampled=record.sampled,
        columns=[column_line(record, column) for column in record.schema.columns],
        findings=lines(record.findings),
    )


def compare(given: arguments.CompareArguments, progress: Progress) -> results.CompareResult:
    """Two versions of a table, or two judged models, side by side."""
    progress.stage("compare", f"{given.one} and {given.two}")
    if not any(map(_is_table, (given.one, given.two))):
        return _compare_models(given)
    found = mw.compare(given.one, given.two, progress=progress)
    return results.CompareResult(
        sources=found.sources,
        rows=found.rows,
        fingerprints=found.fingerprints,
        only=found.only,
        both=found.both,
        sampled=found.sampled,
        columns=[
            results.ChangedColumn(
                name=c.name,
                kinds=c.kind,
                missing=c.missing,
                distance=c.distance,
                equal=c.equal,
                why=c.why,
            )
            for c in found.columns
        ],
    )


def _is_table(text: str) -> bool:
    """Whether an argument of compare is a source of rows, and not a run or a registered model."""
    is_run = (Path(text) / "release.json").is_file()
    return "://" in text or any(c in text for c in "*?[") or (Path(text).exists() and not is_run)


def _compare_models(given: arguments.CompareArguments) -> results.CompareResult:
    try:
        found = mw.compare_releases(given.one, given.two, folder=given.project)
    except NoSuchModel as error:
        for text in (given.one, given.two):
            if Path(text).suffix and repr(text) in error.message:
                raise UsageError(
                    f"No file {text}, and no model of that name.",
                    hint="Compared are two tables, two runs, or two versions such as NAME/2.",
                ) from error
        raise
    if given.open:
        webbrowser.open(found.report.resolve().as_uri())
    return results.CompareResult(
        sources=(given.one, given.two),
        report=near(found.report),
        differences=[
            results.Difference(
                what=line.what,
                one=line.texts[0],
                two=line.texts[1],
                better=line.better,
                values=(figure(line.measured[0]), figure(line.measured[1])),
                lead=figure(line.lead),
            )
            for line in found.differences()
        ],
    )


def report(given: arguments.ReportArguments, progress: Progress) -> results.ReportResult:
    """A judged run, as it was."""
    progress.stage("report", given.reference or "the newest run")
    found = mw.records_of(given.reference, folder=given.project)
    path = mw.write_pages(found)
    if given.open:
        webbrowser.open(path.resolve().as_uri())
    shown = run_result(found.release, found.fit, found.folder)
    return results.ReportResult(**shown.model_dump())


def release(given: arguments.ReleaseArguments, progress: Progress) -> results.ReleaseResult:
    """Let undecided gates through."""
    progress.stage("release", given.run)
    record = mw.release_run(given.run, allow=given.allow, why=given.why, folder=given.project)
    return results.ReleaseResult(
        model=record.model,
        version=record.version,
        alias=record.alias,
        run=record.run,
        headline=headline_of(record),
        overrides=[f"{o.check} {o.subject}: {o.who}, {o.why}" for o in record.overrides],
        next=next_step(record),
    )


def run(given: arguments.RunArguments, progress: Progress) -> results.RunResult:
    """The whole way to a release."""
    since = time.monotonic()  # who waits also waits for the libraries, which `mw.run` loads
    released = mw.run(
        given.spec, overrides=tuple(given.overrides), resume=given.resume, progress=progress,
        since=since,
    )  # fmt: skip
    return run_result(released.record, released.fit, released.run)


def retrain(given: arguments.RetrainArguments, progress: Progress) -> results.RetrainResult:
    """Train a released model anew."""
    found = mw.retrain(
        given.spec, why=given.why, overrides=tuple(given.overrides), dry_run=given.dry_run,
        resume=given.resume, progress=progress,
    )  # fmt: skip
    made, plan = found.released, found.plan
    return results.RetrainResult(
        model=plan.model,
        why=plan.why,
        champion=plan.champion,
        champion_run=plan.champion_run,
        data=plan.data,
        source=plan.source,
        source_rows=plan.source_rows,
        sealed_rows=plan.sealed_rows,
        learned=plan.learned,
        judging=plan.judging,
        window=plan.window,
        recent=plan.recent,
        left_out=plan.left_out,
        problem=plan.problem,
        run=None if made is None else run_result(made.record, made.fit, made.run),
    )


def reproduce(given: arguments.ReproduceArguments, progress: Progress) -> results.ReproduceResult:
    """Train a run's choice again, without a search."""
    found = mw.reproduce(given.run, folder=given.project, progress=progress)
    return results.ReproduceResult(
        run=found.run,
        same=found.same,
        then=found.digests[0],
        now=found.digests[1],
        differences=list(found.differences),
    )


def serve(given: arguments.ServeArguments, progress: Progress) -> results.ServeResult:
    """Find the models, then become the thin server: this process is replaced."""
    said = given.model_dump(exclude={"models", "project"})
    settings = mw.server_settings(given.models, folder=given.project, **said)
    for finding in mw.as_released(given.models[0], folder=given.project, **said):
        progress.say(f"! {in_a_line(finding)}")
    settings = msgspec.structs.replace(settings, called=present_call())
    reading, writing = os.pipe()  # tokens are in it: no file, and no command line that ps shows
    os.set_inheritable(reading, True)
    os.write(writing, msgspec.json.encode(settings))
    os.close(writing)
    sys.stdout.flush()
    config = f"/dev/fd/{reading}"
    os.execv(sys.executable, [sys.executable, "-m", "modelwright.serve", "--config", config])


def dashboard(given: arguments.DashboardArguments, progress: Progress) -> results.DashboardResult:
    """Write a Grafana dashboard, and alerting rules where they are asked for."""
    progress.stage("dashboard", given.model)
    document, scrape = mw.dashboard(given.model, folder=given.project)
    write_named("--out", given.out, to_json(document))
    if given.rules:
        text = mw.alert_rules(given.model, folder=given.project)
        write_named("--rules", given.rules, text.encode())
    shown = [panel for panel in document["panels"] if panel["type"] != "row"]
    return results.DashboardResult(
        model=given.model, out=given.out, panels=len(shown), scrape=scrape, rules=given.rules or ""
    )


def predict(given: arguments.PredictArguments, progress: Progress) -> results.PredictResult:
    """Answer a file."""
    progress.stage("predict", given.data)
    rows = mw.predict_file(given.model, given.data, given.out, folder=given.project)
    return results.PredictResult(rows=rows, out=given.out)


def client(given: arguments.ClientArguments, progress: Progress) -> results.ClientResult:
    """Write a client."""
    progress.stage("client", given.model)
    with writes_to("--out", given.out):
        path = mw.write_client(given.model, given.language, given.out, folder=given.project)
    return results.ClientResult(language=given.language, out=str(path))


def promote(given: arguments.PromoteArguments, progress: Progress) -> results.ChangeResult:
    """Make a version the champion."""
    progress.stage("promote", given.model)
    return change(mw.promote(given.model, given.version, why=given.why, folder=given.project).audit)


def rollback(given: arguments.RollbackArguments, progress: Progress) -> results.ChangeResult:
    """Go back to the champion before."""
    progress.stage("rollback", given.model)
    return change(mw.rollback(given.model, why=given.why, folder=given.project).audit)


def traffic(given: arguments.TrafficArguments, progress: Progress) -> results.TrafficResult:
    """Show or change who answers beside the champion."""
    progress.stage("traffic", given.model)
    return traffic_result(change_traffic(given))


def history(given: arguments.HistoryArguments, progress: Progress) -> results.HistoryResult:
    """Versions and changes."""
    versions, changes = mw.history(given.model, folder=given.project)
    return results.HistoryResult(
        model=given.model,
        versions=[
            results.VersionLine(
                version=v.number,
                aliases=list(v.aliases),
                verdict=v.verdict,
                run=v.run,
                let_through=[
                    line.subject
                    for line in changes
                    if line.action == "override" and line.why.endswith(f"(run {v.run})")
                ],
                created=moment(v.created),
            )
            for v in versions
        ],
        changes=[
            change(line)
            for line in changes
            if line.action in ("promote", "rollback", "override", "moved")
        ],
    )


def audit(given: arguments.AuditArguments, progress: Progress) -> results.AuditResult:
    """The audit log, and whether it is whole."""
    log = mw.AuditLog(Path(given.project))
    broken = log.broken_at()
    found = log.entries(given.model, calls=True)
    shown = [line for line in found if given.calls or line.action != "call"]
    shown = shown if given.what == "show" else []
    return results.AuditResult(
        whole=broken is None,
        broken_at=broken,
        count=len(found),
        calls=sum(line.action == "call" for line in found),
        lines=[
            results.AuditLineResult(
                at=line.at,
                by=line.who,
                action=line.action,
                model=line.model,
                version=line.version,
                replaces=line.replaces,
                why=line.why,
                subject=line.subject,
                detail=line.detail,
            )
            for line in shown
        ],
    )


def gc(given: arguments.GcArguments, progress: Progress) -> results.GcResult:
    """Find, and if asked remove, what nothing refers to."""
    progress.stage("gc", given.project)
    found = mw.gc(given.project, apply=given.apply, keep=given.keep)
    return results.GcResult(
        applied=given.apply,
        bytes=sum(one.bytes for one in found),
        garbage=[
            results.GarbageLine(path=str(one.path), kind=one.kind, why=one.why, bytes=one.bytes)
            for one in found
        ],
    )


def keys(given: arguments.KeysArguments, progress: Progress) -> results.KeysResult:
    """Write a key pair."""
    if given.what == "approver":
        return new_approver(given)
    if given.name or given.no_passphrase:
        raise UsageError("--name and --no-passphrase are for: modelwright keys approver FOLDER.")
    private, public, key = mw.new_keys(Path(given.folder))
    return results.KeysResult(private=str(private), public=str(public), key=key)


def spec(given: arguments.SpecArguments, progress: Progress) -> results.SpecResult:
    """The resolved spec, or the JSON Schema."""
    if given.what == "schema":
        return results.SpecResult(document=spec_json_schema())
    found = read_spec(Path(given.file), tuple(given.overrides))
    return results.SpecResult(document=found.spec.model_dump(mode="json"))


def doctor(given: arguments.DoctorArguments, progress: Progress) -> results.DoctorResult:
    """Look at this machine and this project."""
    return results.DoctorResult(findings=lines(examine(Path(given.project))))
