"""JSON Schemas of one model's rows and answers, with what training saw of each column."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from modelwright.core.records import Manifest
from modelwright.core.schema import Column, moment_text
from modelwright.serve.protocol import column_type, example_in_json

Json = dict[str, Any]
LEVELS_SHOWN = 200
UNSEEN_LEVELS, OUT_OF_RANGE = "unseen_levels", "out_of_range"
"""What a server may refuse: then the schema of a column says so as well."""


def row_schema(
    manifest: Manifest, *, refuse_unknown: bool = True, refused: Collection[str] = ()
) -> Json:
    """One row as an object; columns that the model does not read may be there and are named so.

    Args:
        manifest: of the model.
        refuse_unknown: whether columns that a model never saw are refused.
        refused: `UNSEEN_LEVELS`, `OUT_OF_RANGE`, both or neither.
    """
    features = manifest.schema.features
    properties = {column.name: _property(column, refused) for column in features}
    for name in sorted(manifest.schema.tolerated - properties.keys()):
        properties[name] = {"description": "May be sent; the model does not read it."}
    found: Json = {"type": "object", "properties": properties}
    wanted = [column.name for column in features if not column.nullable]
    if wanted:
        found["required"] = wanted
    if refuse_unknown:
        found["additionalProperties"] = False
    return {**found, "example": example_in_json(manifest.schema, manifest.example)}


def columns_schema(
    manifest: Manifest, *, refuse_unknown: bool = True, refused: Collection[str] = ()
) -> Json:
    """Rows as an object of lists, one a column; see `row_schema`."""
    row = row_schema(manifest, refuse_unknown=refuse_unknown, refused=refused)
    lists = {n: {"type": "array", "items": _bare(about)} for n, about in row["properties"].items()}
    kept = {name: about for name, about in row.items() if name not in ("properties", "example")}
    example = {name: [value] for name, value in row["example"].items()}
    return {**kept, "properties": lists, "example": example}


def _bare(about: Json) -> Json:
    return {k: v for k, v in about.items() if not k.startswith("x-")}


def _property(column: Column, refused: Collection[str]) -> Json:
    found = column_type(column)
    if not column.private:
        found |= _bounds(column, found, refused)
    seen: Json = {"kind": column.kind, "nullable": column.nullable}
    if not column.private:
        if column.minimum is not None and column.maximum is not None:
            ends = {"minimum": column.minimum, "maximum": column.maximum}
            is_time = column.kind == "datetime"
            seen |= {end: moment_text(v) if is_time else v for end, v in ends.items()}
        if column.levels:
            seen["levels"] = list(column.levels[:LEVELS_SHOWN])
    if column.kind == "datetime" and column.format:
        found["description"] = f"ISO 8601, or as in training: {column.format}."
    return {**found, "x-training": seen}


def _bounds(column: Column, known: Json, refused: Collection[str]) -> Json:
    """What of training's range or levels is a must; JSON Schema has no range of date-times."""
    if OUT_OF_RANGE in refused and column.kind == "number":
        if column.minimum is None or column.maximum is None:
            return {}
        return {
            "minimum": max(column.minimum, known.get("minimum", column.minimum)),
            "maximum": min(column.maximum, known.get("maximum", column.maximum)),
        }
    many = len(column.levels) > LEVELS_SHOWN
    if UNSEEN_LEVELS not in refused or not column.levels or many or "enum" in known:
        return {}
    if column.kind == "list":
        return {"items": {**known["items"], "enum": list(column.levels)}}
    if column.kind != "category":
        return {}
    return {"enum": [*column.levels, *([None] if "null" in known["type"] else [])]}


def label_schema(manifest: Manifest) -> Json:
    """A label, or a value."""
    target = manifest.schema.target
    found: Json = {"type": target.label_type}
    if target.levels:
        found["enum"] = [target.label(level) for level in target.levels]
    return found


def prediction_schema(manifest: Manifest) -> Json:
    """The answer to one row; `top` stands in place of the probabilities under `top_k`."""
    target, label = manifest.schema.target, label_schema(manifest)
    share = {"type": "number", "minimum": 0, "maximum": 1}
    properties: Json = {"prediction": label}
    properties |= {f"p_{level}": share for level in target.levels}
    if target.interval:
        about = f"{target.interval:.0%} of true values are expected between low and high."
        properties |= {end: {"type": "number", "description": about} for end in ("low", "high")}
    if target.levels:
        best = {"label": label, "probability": share}
        top = {"type": "object", "properties": best, "required": list(best)}
        about = "With top_k, in place of the probabilities; the best first."
        properties["top"] = {"type": "array", "items": top, "description": about}
    properties["explanation"] = _explanation(manifest)
    return {"type": "object", "properties": properties, "required": ["prediction"]}


def _explanation(manifest: Manifest) -> Json:
    names = [column.name for column in manifest.schema.features]
    numbers = {name: {"type": "number"} for name in names}
    by_column = {"type": "object", "properties": numbers, "required": names}
    return {
        "type": "object",
        "description": "With explain: base and contributions add up to the probability of the "
        "predicted class, or to the value. Counted from a typical row.",
        "properties": {
            "base": {"type": "number"},
            "contributions": by_column,
            "standard_errors": by_column,
        },
        "required": ["base", "contributions", "standard_errors"],
    }
