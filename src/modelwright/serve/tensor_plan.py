"""What requests of tensors ask of a schema, looked up once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelwright.core.intake import Array
from modelwright.core.schema import Column, Schema

DENSE = "numbers"
"""The one tensor [rows, columns] that may stand for all columns of a model that reads numbers."""
MOST_TENSORS = 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of a schema in every request, looked up once."""

    schema: Schema
    features: tuple[Column, ...]
    columns: dict[str, Column]
    required: frozenset[str]
    tolerated: frozenset[str]
    most: int
    dense: tuple[str, ...]
    watched: tuple[tuple[int, Column], ...]
    single: dict[str, dict[Any, Array]]


_PLANS: dict[int, Plan] = {}


def plan_of(schema: Schema) -> Plan:
    """The plan of a schema, made once."""
    found = _PLANS.get(id(schema))
    if found is not None and found.schema is schema:
        return found
    features = schema.features
    columns = {column.name: column for column in features}
    numbers = bool(features) and all(column.kind == "number" for column in features)
    plan = Plan(
        schema=schema,
        features=features,
        columns=columns,
        required=frozenset(column.name for column in features if not column.nullable),
        tolerated=schema.tolerated,
        most=max(MOST_TENSORS, len(schema.columns)),
        dense=tuple(columns) if numbers and DENSE not in columns else (),
        watched=tuple(
            (place, column)
            for place, column in enumerate(features)
            if column.expect is not None or column.missing
        ),
        single={column.name: {} for column in features if column.kind not in ("number", "list")},
    )
    if len(_PLANS) >= 64:
        _PLANS.pop(next(iter(_PLANS)), None)
    _PLANS[id(schema)] = plan
    return plan
