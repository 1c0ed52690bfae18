"""What a model card says, section by section, out of the records of a run."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from modelwright.core.evaluation import Slice
from modelwright.core.limits import show
from modelwright.core.records import Finding, Interval
from modelwright.release.document import Block, Bullets, Code, Grid, Heading, Paragraph, Section
from modelwright.release.run_records import HIDDEN, RunRecords
from modelwright.release.verdict import headline

MOST_COLUMNS = 100
MOST_SLICES = 20
MOST_FINDINGS = 50
EMPTY = "Not filled in yet by the owner: set {key}: in modelwright.yaml."
NOT_LIMITS = ("card", "goal", "metric")


def sections_of(run: RunRecords, missing: Sequence[str]) -> list[Section]:
    """All sections; `missing`: keys of the spec that are empty."""
    return [
        Section("Model details", _details(run, missing)),
        Section("Intended use", _use(run)),
        Section("Factors", _factors(run)),
        Section("Metrics", _metrics(run)),
        Section("Evaluation data", _evaluation_data(run)),
        Section("Training data", _training_data(run)),
        Section("Quantitative analyses", _analyses(run)),
        Section("Ethical considerations", _ethics(run)),
        Section("Limitations found", _limitations(run)),
        Section("How to use", _how_to_use(run)),
    ]


def _details(run: RunRecords, missing: Sequence[str]) -> list[Block]:
    release, manifest, spec = run.release, run.manifest, run.spec
    verdict = [Paragraph(headline(release))]
    if missing:
        verdict.append(Paragraph(f"This card is incomplete. Empty: {', '.join(missing)}."))
    target = manifest.schema.target
    rows = [
        ("model", release.model),
        ("version", release.version or "not released"),
        ("date", release.at),
        ("owner", spec.owner or EMPTY.format(key="owner")),
        ("license", spec.license or EMPTY.format(key="license")),
        ("answers", f"{target.name} ({target.task})"),
        ("family", manifest.family),
        ("format", "ONNX with its preprocessing inside; JSON manifest; no code"),
        ("features", f"{len(manifest.schema.features)}"),
        ("code", manifest.code or "not in git"),
        ("run", release.run),
        ("sha256", release.artefact),
    ]
    return [*verdict, Grid(("what", "value"), rows)]


def _use(run: RunRecords) -> list[Block]:
    spec = run.spec
    return [
        Heading("For"),
        Paragraph(spec.intent or EMPTY.format(key="intent")),
        Heading("Out of scope"),
        Paragraph(spec.out_of_scope or EMPTY.format(key="out_of_scope")),
    ]


def _factors(run: RunRecords) -> list[Block]:
    schema = run.dataset.schema
    protected = [c.name for c in schema.columns if c.protected]
    sliced = dict.fromkeys(limit.slice_column for limit in run.manifest.limits)
    searched = [f"{f.verdict} (wanted: {f.wanted})" for f in run.gates("weak slice")]
    items = [
        f"Protected columns: {', '.join(protected) or 'none was named'}.",
        f"Slices with a limit of their own: {', '.join(filter(None, sliced)) or 'none'}.",
        f"Search for weak slices: {', '.join(searched) or 'none was made'}.",
        f"Costs were measured on {run.measured.machine}.",
    ]
    return [Bullets(items)]


def _metrics(run: RunRecords) -> list[Block]:
    goal = next((f for f in run.release.evidence if f.check == "goal"), None)
    confidence = f"{goal.interval.confidence:.0%}" if goal and goal.interval else "stated"
    items = [
        f"Goal: {run.manifest.goal}; candidates were compared by {run.fit.folds}.",
        f"Intervals of quality hold with {confidence} confidence and come from the holdout rows.",
        "A limit passes only if its whole interval keeps it; in between it is undecided.",
    ]
    if (threshold := run.fit.outputs.get("threshold")) is not None:
        items.append(f"The positive class needs a probability of at least {threshold:.4g}.")
    return [Bullets(items)]


def _evaluation_data(run: RunRecords) -> list[Block]:
    dataset = run.dataset
    return [
        Paragraph(
            f"{dataset.holdout_rows:,} rows of {dataset.source}, sealed before any model was "
            f"trained ({dataset.split}, seed {dataset.seed}). Times they were opened so far: "
            f"{max(1, run.release.holdout_uses)}. Fingerprint {dataset.holdout_fingerprint}."
        )
    ]


def _training_data(run: RunRecords) -> list[Block]:
    dataset = run.dataset
    target = dataset.schema.target
    kinds = ", ".join(target.levels[:20]) or f"{target.minimum:g} to {target.maximum:g}"
    rows = []
    for column in dataset.schema.columns[:MOST_COLUMNS]:
        base = dataset.baseline.get(column.name)
        marks = ("protected" if column.protected else "", "private" if column.private else "",
                 column.unused)  # fmt: skip
        missing = f"{base.missing:.1%}" if base else ""
        rows.append((column.name, column.kind, missing, ", ".join(filter(None, marks))))
    blocks: list[Block] = [
        Paragraph(
            f"{dataset.train_rows:,} of {dataset.rows:,} rows of {dataset.source}. Target: "
            f"{target.name}: {kinds}. Fingerprint {dataset.fingerprint}."
        ),
        *(Paragraph(f"Retrained: {f.measured}.") for f in run.gates("retrained")),
        *_set_aside(run),
        Grid(("column", "kind", "missing", "note"), rows),
    ]
    more = len(dataset.schema.columns) - MOST_COLUMNS
    return [*blocks, Paragraph(f"... and {more} more columns.")] if more > 0 else blocks


def _set_aside(run: RunRecords) -> list[Block]:
    aside = (run.fit.outputs.get("reach") or {}).get("aside", 0)
    if not aside:
        return []
    return [Paragraph(
        f"No model learned from {aside:,} of them: their errors are the width of low and high "
        "(split conformal)."
    )]  # fmt: skip


def _analyses(run: RunRecords) -> list[Block]:
    quality = [f for f in run.release.evidence if f.check in ("goal", "metric")]
    blocks: list[Block] = [
        Heading("Quality on the holdout"),
        Grid(("metric", "value"), [(f.subject, f.measured) for f in quality]),
        Heading("Limits, and what was measured"),
    ]
    limits = [
        (run.named(f), _open(run, f), f.wanted, f.verdict, f.why)
        for f in run.gates("limit", "slice")
    ]
    if limits:
        head = ("limit", "measured", "wanted", "verdict", "where")
        blocks.append(Grid(head, limits))
    else:
        blocks.append(Paragraph("The spec sets no limits."))
    blocks += _slices(run)
    compared = run.gates("baseline", "champion", "recent", "fairness", "calibration", "robustness",
                         "agreement", "interval")  # fmt: skip
    if compared:
        rows = [(f.check, run.named(f), _open(run, f), f.verdict) for f in compared]
        blocks += [Heading("Comparisons"), Grid(("gate", "of", "measured", "verdict"), rows)]
    return blocks


def _slices(run: RunRecords) -> list[Block]:
    found = run.evaluation.slices[:MOST_SLICES]
    if not found:
        return []
    metric = found[0].metric or run.evaluation.goal
    rows = [
        (
            _where(run, part),
            f"{part.rows:,}",
            "" if part.value is None or part.value != part.value else show(metric, part.value),
            _range(part.excess),
            f"{part.p:.3g}",
        )
        for part in found
    ]
    head = ("slice", "rows", metric, f"{found[0].cost} above the others", "p, corrected")
    return [Heading("Slices found by search, the weakest first"), Grid(head, rows)]


def _where(run: RunRecords, part: Slice) -> str:
    if not run.is_private(part.columns, part.where):
        return part.where
    return f"rows by {', '.join(part.columns)} {HIDDEN}"


def _range(found: Interval) -> str:
    return f"{found.value:.3g} ({found.confidence:.0%}: {found.low:.3g} to {found.high:.3g})"


def _open(run: RunRecords, finding: Finding) -> str:
    """What was measured, unless it may hold a value of a private column."""
    return HIDDEN if run.hides(finding) else finding.measured


def _ethics(run: RunRecords) -> list[Block]:
    blocks: list[Block] = [Paragraph(run.spec.ethics or EMPTY.format(key="ethics"))]
    about = [f for f in run.dataset.findings
             if f.check in ("personal data", "proxy", "protected columns")]  # fmt: skip
    if about:
        blocks.append(Bullets([_told(run, finding) for finding in about]))
    private = [column.name for column in run.dataset.schema.columns if column.private]
    if private:
        blocks.append(Paragraph(f"Values are kept out of this card: {', '.join(private)}."))
    return blocks


def _limitations(run: RunRecords) -> list[Block]:
    """Everything that is not as it should be, the gates first; weak slices one by one."""
    weak = run.evaluation.slices
    left_out = (*NOT_LIMITS, "weak slice") if weak else NOT_LIMITS
    gates = [f for f in run.release.evidence if f.verdict != "pass" and f.check not in left_out]
    seen = {(f.check, f.subject) for f in run.release.evidence}
    gates += [f for f in run.evaluation.findings
              if f.verdict != "pass" and f.check not in left_out
              and (f.check, f.subject) not in seen]  # fmt: skip
    data = [f for f in run.dataset.findings if f.verdict != "pass" and f.severity != "info"]
    items = [
        *(_told(run, finding) for finding in gates),
        *(f"weak slice: {_where(run, part)}, {part.rows:,} rows, {part.cost} above the others "
          f"{_range(part.excess)}" for part in weak),
        *(f"in the data: {_told(run, finding)}" for finding in data),
        *(f"let through by {o.who} on {o.at}: {o.check} {_subject(run, o.subject)}; {o.why}"
          for o in run.release.overrides),
        *(_note(run, note) for note in run.evaluation.notes),
    ]  # fmt: skip
    if not items:
        return [Paragraph("None was found by the gates; that is no proof that there are none.")]
    more = len(items) - MOST_FINDINGS
    rest = [Paragraph(f"... and {more} more, in the report.")] if more > 0 else []
    return [Bullets(items[:MOST_FINDINGS]), *rest]


def _subject(run: RunRecords, subject: str) -> str:
    return run.named(Finding("override", subject, "undecided"))


def _note(run: RunRecords, note: str) -> str:
    """Notes are free text, so one on a private column is left in the run's records."""
    return f"a note on a private column {HIDDEN}" if run.is_private((), note) else note


def _told(run: RunRecords, finding: Finding) -> str:
    sign = "" if finding.verdict == "fail" else f" ({finding.verdict})"
    start = f"{finding.check} {run.named(finding)}{sign}"
    why = "" if run.hides(finding) else finding.why
    return "; ".join(filter(None, (f"{start}: {_open(run, finding)}", why)))


def _how_to_use(run: RunRecords) -> list[Block]:
    release, example = run.release, run.manifest.example
    if release.version:
        reference = f"{release.model}/{release.version}"
    else:
        reference = f"runs/{release.run}/artefact"
    body = msgspec.json.encode({"rows": [example]}).decode().replace("'", "'\\''")
    return [
        Paragraph("In Python, in the project's folder:"),
        Code(
            "python",
            f'import modelwright\n\nmodel = modelwright.load("{reference}")\n'
            f"model.predict([{example!r}])",
        ),
        Paragraph("As an HTTP server:"),
        Code("bash", f"modelwright serve {reference}"),
        Paragraph("Then, from another terminal:"),
        Code(
            "bash",
            f"curl http://127.0.0.1:8000/predict -H 'content-type: application/json' -d '{body}'",
        ),
        Paragraph(
            "The example is a typical row of medians and frequent values, nobody's real one."
        ),
    ]
