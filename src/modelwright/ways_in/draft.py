"""`modelwright init`: a commented spec from a look at the data."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path
from typing import Any

import modelwright as mw
from modelwright.core.records import DatasetRecord, Finding, ReleaseRecord
from modelwright.core.schema import Column, Target
from modelwright.core.spec_file import SpecFile, parse_spec

_PLAIN = re.compile(r"^[A-Za-z_][A-Za-z0-9_. /-]*$")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"})
MOST_PROPOSALS = 20
WORTH_PROPOSING = frozenset({"time order", "protected columns", "missing marker"})
MOST_EXPECTED = 60
_GOALS = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}


def draft(
    data: str, target: str, name: str | None, out: Path, query: str | None = None
) -> tuple[str, DatasetRecord, str]:
    """Write the text of a spec.

    Args:
        data: the table: a path, or anything that `data.source` takes.
        target: its column to predict.
        name: the model's name, or None to derive it from the target.
        out: where the spec will be, which the source is relative to.
        query: SQL, for a database.

    Returns:
        (text of modelwright.yaml, what the data room found, the model's name).

    Raises:
        DataError: the table or target cannot be used.
    """
    chosen = name or _slug(target)
    source = data
    if "://" not in data and (Path(data).exists() or ":" not in data):
        source = os.path.relpath(Path(data).resolve(), out.resolve().parent)
    lines: tuple[str, ...] = (
        "data:",
        f"  source: {_quoted(source)}",
        f"  target: {_quoted(target)}",
    )
    if query:
        lines = (*lines, f"  read: {{query: {_quoted(query)}}}")
    minimal = "\n".join((f"name: {_quoted(chosen)}", *lines))
    found: SpecFile = parse_spec(minimal, out)
    record = mw.check(found, quick=True)
    return _text(found, record), record, chosen


def headline_of(release: ReleaseRecord) -> str:
    """The verdict in one sentence."""
    return mw.headline(release)


def _text(found: SpecFile, record: DatasetRecord) -> str:
    schema, data = record.schema, found.spec.data
    target = schema.target
    goal = _GOALS[target.task]
    parts = [
        f"# {record.rows:,} rows, {len(schema.features)} of {len(schema.columns)} columns used. "
        "All keys: modelwright spec schema",
        f"name: {_quoted(found.spec.name)}",
        "intent: ''          # what the model is for, in a sentence",
        "out_of_scope: ''    # what it must not be used for",
        "owner: ''           # who answers for it",
        "",
        "data:",
        f"  source: {_quoted(data.source)}",
        *_read({"query": data.read.query} if data.read.query else record.read),
        f"  target: {_quoted(data.target)}",
        f"  task: {target.task}",
    ]
    if target.task == "binary":
        parts.append(f"  positive: {_scalar(target)}    # the class to find")
    parts += _columns(schema.columns)
    parts += _proposed(record.findings)
    parts += [
        f"  split: {_split(schema.columns)}",
        "  seed: 0",
        "",
        f"goal: {goal}",
        "",
        "limits:             # they gate the release; write what production needs",
        *_limits(target),
        "",
        *_expect(schema.features),
        "",
        "fit:",
        "  families: [linear, lightgbm, catboost]",
        "  budget: 60s       # the whole search, or '40 trials'",
        "",
    ]
    return "\n".join(parts)


def _read(found: dict[str, Any]) -> list[str]:
    """What was detected, pinned: the next run does not guess."""
    if not found:
        return []
    lines = [
        "  read:             # how the file is written, as detected; the next run is pinned to it"
    ]
    for key, value in found.items():
        if isinstance(value, dict):
            inner = ", ".join(f"{_quoted(name)}: {_value(item)}" for name, item in value.items())
            lines.append(f"    {key}: {{{inner}}}")
        else:
            lines.append(f"    {key}: {_value(value)}")
    return lines


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    return str(value) if isinstance(value, (int, float)) else _quoted(str(value))


def _proposed(findings: tuple[Finding, ...]) -> list[str]:
    """What the data check advises, as comments: nothing of it is applied unasked."""
    lines = []
    leaks = [name for f in findings if f.check == "leakage" and f.blocks for name in f.columns]
    if leaks:
        lines.append(f"  # drop: {_value(list(dict.fromkeys(leaks)))}   # they know the answer")
    told = [f for f in findings if f.severity != "info" or f.check in WORTH_PROPOSING]
    for found in [f for f in told if f.check != "personal data"][:MOST_PROPOSALS]:
        sign = {"error": "!!", "warning": "! ", "info": ". "}[found.severity]
        first, *more = textwrap.wrap(
            _one_line(f"{found.check}, {found.subject}: {found.measured}"), 92
        )
        lines += [f"  # {sign} {first}", *(f"  #    {line}" for line in more)]
        lines.append(f"  #    {_one_line(found.advice)}")  # in one line: it is there to be pasted
    if lines:
        lines.append("  # accept: {check: [column]}   # for what you know about")
    return lines


def _one_line(text: str) -> str:
    """Words for a comment, which no name of a column ends or steers."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


def _expect(columns: tuple[Column, ...]) -> list[str]:
    """The contract: kinds as found, the rest for the owner to fill in."""
    lines = [
        "expect:             # what values must be, in training, scoring and serving; sharpen it:",
        "  # COLUMN: {required: true, range: [0, 120], levels: [a, b], regex: '[A-Z]+',",
        "  #          unique: true, max_missing: 5 %}",
    ]
    if len(columns) > MOST_EXPECTED or not columns:
        return [f"# {line}" for line in lines]
    return [*lines, *(f"  {_quoted(c.name)}: {{kind: {c.kind}}}" for c in columns)]


def _columns(columns: tuple[Column, ...]) -> list[str]:
    lines = []
    private = [c.name for c in columns if c.private]
    if private:
        lines.append(f"  private: {_value(private)}   # looks personal; kept out of reports")
    unused = [c for c in columns if c.unused]
    for column in unused[:20]:
        lines.append(f"  # not used: {_one_line(f'{column.name} ({column.unused})')}")
    if unused:
        lines.append("  # kinds: {column: number}   # to use one of them after all")
    return [*lines, "  drop: []          # columns that the model must not read"]


def _split(columns: tuple[Column, ...]) -> str:
    dates = [c.name for c in columns if c.kind == "datetime" and c.is_feature]
    if not dates:
        return "auto       # or random, stratified, {method: group, by: COLUMN}"
    by = _quoted(dates[0])
    return f"auto       # rows have a date: {{method: time, by: {by}}} tests on the newest"


def _limits(target: Target) -> list[str]:
    quality = {
        "binary": "  # roc_auc: 0.80",
        "multiclass": "  # accuracy: 80 %",
        "regression": "  # r2: 0.50    # or rmse, mae: in the target's own unit",
    }[target.task]
    return [
        quality,
        "  latency_p95: 50 ms",
        "  size: 100 MB",
        "  # throughput: 100 /s",
        "  # memory: 500 MB",
    ]


def _slug(text: str) -> str:
    slug = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")
    return slug[:64] or "model"


def _scalar(target: Target) -> str:
    plain = target.label_type in ("integer", "boolean")
    return target.positive if plain else _quoted(target.positive)


def _quoted(text: str) -> str:
    """Text as YAML, quoted where YAML would read it as something else."""
    if _PLAIN.match(text) and text.lower() not in _WORDS and text == text.strip():
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{"".join(c if c.isprintable() else _escaped(c) for c in escaped)}"'


def _escaped(character: str) -> str:
    """As YAML writes a character that cannot be seen."""
    number = ord(character)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
