"""Whether what the spec asks for fits the target and columns that the table has."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.core.errors import UsageError
from modelwright.core.limits import DEFAULT_GOAL, METRICS, QUALITY, Limit
from modelwright.core.schema import Schema, Target
from modelwright.core.spec import Spec

MOST_SLICES = 50


def goal_of(spec: Spec, target: Target) -> str:
    """The metric to improve.

    Raises:
        UsageError: the spec's goal does not fit the task.
    """
    task = target.task
    goal = spec.goal or DEFAULT_GOAL[task]
    for name, key in [
        (goal, "goal"),
        *((limit.metric, "limits") for limit in spec.parsed_limits()),
    ]:
        if task not in METRICS[name].tasks:
            fitting = ", ".join(
                m.name for m in METRICS.values() if task in m.tasks and m.name in QUALITY
            )
            raise UsageError(
                f"{key}: {name} is not for a {task} target.", hint=f"Fitting: {fitting}."
            )
    return goal


def check_slices(limits: Sequence[Limit], schema: Schema) -> None:
    """Refuse slices that cannot be taken, before any training.

    Raises:
        UsageError: the column is unknown, unused, or has too many values.
    """
    for limit in limits:
        if limit.slice_column is None:
            continue
        names = [c.name for c in schema.features if c.kind in ("category", "boolean")]
        if limit.slice_column not in names:
            raise UsageError(
                f"limits.{limit.metric}.slices names {limit.slice_column!r}.",
                hint=f"Wanted a category or boolean column: {', '.join(names[:20]) or 'none'}.",
            )
        levels = len(schema.column(limit.slice_column).levels)
        if levels > MOST_SLICES:
            raise UsageError(
                f"limits.{limit.metric}.slices names {limit.slice_column!r}, "
                f"which has {levels:,} levels; at most {MOST_SLICES} can be judged."
            )
