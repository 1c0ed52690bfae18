"""What `fit:` of the spec asks for, checked and brought into the search's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from modelwright.core.errors import UsageError, did_you_mean
from modelwright.core.goals import goal_of
from modelwright.core.schema import Schema
from modelwright.core.spec import FitSpec, Spec
from modelwright.data.dataset import Dataset
from modelwright.fit.family import BASELINES, Family, encoding_of, family_of, split_params
from modelwright.fit.features import read_by
from modelwright.fit.finish import cost_matrix


def check_settings(spec: Spec, dataset: Dataset) -> None:
    """Refuse what `fit:` asks for and the target or the families cannot give, before any work.

    Raises:
        UsageError: an unknown family, column or class; a setting for another kind of target.
    """
    schema = dataset.schema
    asked = {goal_of(spec, schema.target), *(limit.metric for limit in spec.parsed_limits())}
    if "mape" in asked and (dataset.train.target == 0).any():
        raise UsageError(
            f"mape has no meaning where {schema.target.name!r} is 0, which it is in "
            f"{int((dataset.train.target == 0).sum()):,} rows.",
            hint="Use mae, or medae.",
        )
    names = dict.fromkeys([*BASELINES, *spec.fit.families])
    families = {name: family_of(name) for name in names}
    params = by_family(spec.fit.params, families, "params")
    for family in families.values():
        read_by(schema, encoding_of(family, split_params(params[family.name])).without)
    by_family(spec.fit.space, families, "space")
    signs = monotone_signs(spec.fit, schema)
    if signs and not any(getattr(families[n], "monotone", False) for n in spec.fit.families):
        raise UsageError(
            "fit.monotone: none of fit.families can promise it.",
            hint="lightgbm, xgboost, catboost, extra_trees and random_forest can.",
        )
    cost_matrix(spec.fit.costs, schema.target)
    if spec.fit.interval is not None and schema.target.levels:
        raise UsageError(
            f"fit.interval is for numbers; {schema.target.name!r} has classes.",
            hint="Leave it out: probabilities say how sure a label is.",
        )
    if spec.fit.interval_method is not None and spec.fit.interval is None:
        raise UsageError(
            "fit.interval_method has no interval to size.",
            hint="Give fit.interval as well, such as 0.9, or leave fit.interval_method out.",
        )


def by_family(
    given: Mapping[str, Mapping[str, Any]], families: Mapping[str, Family], key: str
) -> dict[str, dict[str, Any]]:
    """`fit.params` or `fit.space` by family name; a family of your own goes by its name in the
    spec too.

    Raises:
        UsageError: a family that the spec does not have.
    """
    known = {name: family.name for name, family in families.items()}
    known |= {family.name: family.name for family in families.values()}
    found: dict[str, dict[str, Any]] = {family.name: {} for family in families.values()}
    for name, values in given.items():
        if name not in known:
            hint = did_you_mean(name, known) or f"Families of this spec: {', '.join(families)}."
            raise UsageError(f"fit.{key} names the family {name!r}.", hint=hint)
        found[known[name]] |= values
    return found


def monotone_signs(fit: FitSpec, schema: Schema) -> dict[str, Literal[-1, 1]]:
    """``fit.monotone`` as -1 and 1.

    Raises:
        UsageError: a column that is no number, or a target of several classes.
    """
    if fit.monotone and schema.target.task == "multiclass":
        raise UsageError("fit.monotone is for two classes or a number.", hint="Leave it out.")
    numbers = [column.name for column in schema.features if column.kind == "number"]
    for name in fit.monotone:
        if name not in numbers:
            hint = did_you_mean(name, numbers) or f"Number columns: {', '.join(numbers[:20])}."
            raise UsageError(f"fit.monotone names {name!r}.", hint=hint)
    return {name: 1 if way == "increasing" else -1 for name, way in fit.monotone.items()}
