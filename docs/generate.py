"""Write docs/spec.md and docs/modelwright.schema.json from the spec's own JSON Schema.

Run by `make docs`. A key, unit or metric that is added to the code appears here by itself; a metric
without a line in MEANING stops the build.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelwright.core import limits
from modelwright.core.limits import DEFAULT_GOAL, METRICS, Metric
from modelwright.core.spec_file import spec_json_schema

DOCS = Path(__file__).resolve().parent
Json = dict[str, Any]

MEANING = {
    "roc_auc": "area under the ROC curve; several classes: mean of each against the rest",
    "pr_auc": "average precision of the positive class",
    "accuracy": "share of right labels",
    "balanced_accuracy": "mean recall over the classes",
    "f1": "harmonic mean of precision and recall of the positive class",
    "f1_macro": "mean F1 over the classes",
    "f1_weighted": "F1 of each class, averaged by its rows",
    "precision": "share of right ones among the rows labelled positive",
    "recall": "share of the positive rows that are found",
    "mcc": "Matthews correlation coefficient",
    "log_loss": "mean negative logarithm of the true class's probability",
    "brier": "mean squared error of the positive class's probability",
    "rmse": "root of the mean squared error",
    "mae": "mean absolute error",
    "medae": "median absolute error",
    "r2": "share of the variance that is explained",
    "mape": "mean absolute error as a share of the true value",
    "latency_p95": "95th percentile of the HTTP server's time for one row a request, one client",
    "throughput": "requests a second of the HTTP server, one row each, eight connections",
    "memory": "of the server after that load: supervisor and worker, what they share counted once",
    "size": "bytes of all files in the model folder",
}
NOTES = {
    "data.split": "Such as `auto`, or `{method: time, by: date}`.",
    "fit.params": "The key is the family's own name, such as `lightgbm`.",
    "serve.max_body": "A number alone means bytes.",
}
UNIT_NAMES = {
    "seconds": "time", "bytes": "bytes", "per_second": "rate", "score": "score",
    "target": "the target's own unit",
}  # fmt: skip
HEAD = """\
# modelwright.yaml

Every key, made from the JSON Schema of the installed version. Only `name`, `data.source` and
`data.target` are required. An unknown key is an error, with a suggestion. All problems are listed
at once, each with its line and column.

Any key can be set for one run: `modelwright run --set fit.budget=30s`. The value is read as YAML,
and the override is kept in the run's records. `modelwright spec` prints the spec with all defaults
filled in. Where a list of columns is wanted, one name may stand alone.

A key marked *reserved* is accepted and has no effect yet.

For an editor, put this on top of the file, with the path of the schema that
`modelwright spec schema > modelwright.schema.json` wrote:

```yaml
# yaml-language-server: $schema=modelwright.schema.json
```
"""
LIMITS = """\
`limits` maps a metric to the bound that a model must keep. A bare quantity is enough, since each
metric has one side that makes sense:

```yaml
limits:
  roc_auc: 0.90            # at least
  latency_p95: 10 ms       # at most
  recall:
    at_least: 80 %
    slices: {sex: 75 %}    # for each level of the column
    worse_than_champion: 1 %
```

`slices` and `worse_than_champion` are for quality metrics. `worse_than_champion` is a difference of
the metric: `1 %` of a score means 0.01. In the long form:
"""

UNITS = """\
A number and a unit, with or without a space, in upper or lower case. Times and bytes need their
unit; a score may be written as `92 %` or `0.92`. A sign may stand before it, such as `>= 92 %`; it
must be the one that makes sense for the metric.
"""
GOALS = """\
The goal is one of the quality metrics: those whose unit is score or the target's own. Without
`goal` it is """


def main() -> None:
    """Write both files."""
    schema = spec_json_schema()
    text = json.dumps(schema, indent=2, ensure_ascii=False)
    (DOCS / "modelwright.schema.json").write_text(f"{text}\n", encoding="utf-8")
    (DOCS / "spec.md").write_text(page(schema), encoding="utf-8")


def page(schema: Json) -> str:
    """The whole reference as Markdown."""
    defs = schema["$defs"]
    plain, sections = [], []
    for name, about in schema["properties"].items():
        model = section_of(about, defs)
        if model is not None:
            sections.append(f"## {name}\n\n{model['description']}\n\n{table(name, model, defs)}")
            continue
        plain.append(row(name, about, schema, defs))
    parts = [
        HEAD,
        "## Top level\n\n" + as_table(KEY_HEAD, plain),
        f"## limits\n\n{LIMITS}\n{table('limits.<metric>', defs['LimitSpec'], defs)}",
        *sections,
        f"## Units\n\n{UNITS}\n{units()}",
        f"## Metrics\n\n{GOALS}"
        + ", ".join(f"`{metric}` ({task})" for task, metric in DEFAULT_GOAL.items())
        + ".\n\n"
        + metrics(),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


KEY_HEAD = ("key", "type", "default", "what it does")


def table(prefix: str, model: Json, defs: Json) -> str:
    """The keys of one section, those of nested sections in place."""
    return as_table(KEY_HEAD, rows(prefix, model, defs))


def rows(prefix: str, model: Json, defs: Json) -> Iterator[tuple[str, ...]]:
    """A line a key."""
    for name, about in model["properties"].items():
        yield row(f"{prefix}.{name}", about, model, defs)
        nested = section_of(about, defs)
        if nested is not None:
            yield from rows(f"{prefix}.{name}", nested, defs)


def row(key: str, about: Json, model: Json, defs: Json) -> tuple[str, ...]:
    """Key, type, default and description."""
    required = key.rsplit(".", 1)[-1] in model.get("required", ())
    default = "**required**" if required else shown(about.get("default"))
    if section_of(about, defs) is not None:
        default = ""
    text = about.get("description", "")
    if text.startswith("Reserved"):
        text = f"*reserved*{text.removeprefix('Reserved')}"
    if key in NOTES:
        text = f"{text} {NOTES[key]}"
    return f"`{key}`", type_of(about, defs), default, text


def section_of(about: Json, defs: Json) -> Json | None:
    """The section that a key opens, or None for a value."""
    found: Json | None = defs[about["$ref"].rsplit("/", 1)[-1]] if "$ref" in about else None
    return found


def type_of(about: Json, defs: Json) -> str:
    """A type in words, with its bounds."""
    if section_of(about, defs) is not None:
        return "mapping"
    if "anyOf" in about:
        found = [type_of(option, defs) for option in about["anyOf"]]
        return " or ".join(dict.fromkeys(word for word in found if word != "nothing"))
    if "enum" in about:
        return ", ".join(f"`{value}`" for value in about["enum"])
    if about.get("type") == "array":
        return f"list of {type_of(about['items'], defs)}"
    if about.get("type") == "object":
        inner = about.get("additionalProperties")
        return f"mapping to {type_of(inner, defs)}" if isinstance(inner, dict) else "mapping"
    words = {"string": "text", "boolean": "true or false", "null": "nothing", None: "any value"}
    kind = about.get("type")
    return str(words.get(kind, kind)) + bounds(about)


def bounds(about: Json) -> str:
    """`, 1 to 20` or `, above 0`."""
    signs = {
        "minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most",
        "exclusiveMaximum": "below",
    }  # fmt: skip
    return "".join(f", {word} {about[key]:,}" for key, word in signs.items() if key in about)


def shown(default: object) -> str:
    """A default as it would stand in the file; empty for none."""
    if default is None or default == "":
        return "none"
    return f"`{json.dumps(default, ensure_ascii=False)}`".replace('"', "")


def units() -> str:
    """What may follow a number."""
    lines = [
        (UNIT_NAMES[unit], ", ".join(f"`{name}`" for name in known) or "none")
        for unit, known in limits._UNITS.items()
    ]
    return as_table(("quantity", "units"), lines)


def metrics() -> str:
    """Every metric, and which tasks have it."""
    tasks = ("binary", "multiclass", "regression")
    lines = [
        (
            f"`{metric.name}`",
            MEANING[metric.name],
            side(metric),
            UNIT_NAMES[metric.unit],
            *("yes" if task in metric.tasks else "" for task in tasks),
        )
        for metric in METRICS.values()
    ]
    return as_table(("metric", "what it is", "a limit means", "unit", *tasks), lines)


def side(metric: Metric) -> str:
    """Which side of a limit is the right one."""
    return metric.direction.replace("_", " ")


def as_table(head: tuple[str, ...], lines: Any) -> str:
    """A Markdown table."""
    cells = [head, tuple("---" for _ in head), *lines]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


if __name__ == "__main__":
    main()
