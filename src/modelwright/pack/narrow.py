"""Encoders without the features that no model reads: fewer steps in the graph, the same answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from modelwright.core.intake import Array
from modelwright.fit.decision import Decision, Forest
from modelwright.fit.features import Encoder

Part = tuple[Encoder, Decision]


def narrowed(parts: Sequence[Part]) -> list[Part]:
    """Leave out features that the models do not use; models with equal encoders keep sharing one.

    Args:
        parts: encoder and decision of each member.
    """
    masks: dict[bytes, Array] = {}
    keys = [_key(encoder) for encoder, _ in parts]
    for key, (_, decision) in zip(keys, parts, strict=True):
        masks[key] = masks.get(key, False) | _used(decision, parts[keys.index(key)][0].width)
    return [
        _without(encoder, decision, masks[key])
        for key, (encoder, decision) in zip(keys, parts, strict=True)
    ]


def _key(encoder: Encoder) -> bytes:
    """Equal for encoders that compute the same."""
    scaling = encoder.scaling
    arrays = [table.table for table in encoder.tables]
    if scaling is not None:
        arrays += [scaling.fill, scaling.center, scaling.scale, scaling.indicators]
    names = [encoder.sources, [(t.column, t.levels) for t in encoder.tables], encoder.lists]
    clip = scaling.clip if scaling is not None else None
    return repr((names, clip)).encode() + b"".join(array.tobytes() for array in arrays)


def _used(decision: Decision, width: int) -> Array:
    mask = np.zeros(width, bool)
    if isinstance(decision, Forest):
        mask[decision.feature] = True
    else:
        mask |= (decision.coefficients != 0).any(axis=1)
    if not mask.any():
        mask[0] = True  # a graph needs at least one feature
    return mask


def _without(encoder: Encoder, decision: Decision, used: Array) -> Part:
    kept = used.copy()
    made, at = _numbers(encoder, used, kept)
    tables = []
    for table in encoder.tables:
        width = table.table.shape[1]
        own = used[at : at + width]
        if own.any():
            tables.append(replace(table, table=np.ascontiguousarray(table.table[:, own])))
        at += width
    lists = []
    for items in encoder.lists:
        own = used[at : at + len(items.items)]
        if own.any():
            names = tuple(name for name, is_used in zip(items.items, own, strict=True) if is_used)
            lists.append(replace(items, items=names))
        at += len(items.items)
    narrow = replace(made, tables=tuple(tables), lists=tuple(lists))
    if isinstance(decision, Forest):
        place = np.cumsum(kept) - 1
        return narrow, replace(decision, feature=place[decision.feature])
    return narrow, replace(decision, coefficients=decision.coefficients[kept])


def _numbers(encoder: Encoder, used: Array, kept: Array) -> tuple[Encoder, int]:
    """The encoder with fewer numeric sources, and where its tables' features begin.

    A source stays for its indicator too, and then keeps its place among the features.
    """
    count = len(encoder.sources)
    stays = used[:count].copy()
    scaling, at = encoder.scaling, count
    if scaling is not None:
        flags = used[count : count + len(scaling.indicators)]
        stays[scaling.indicators[flags]] = True
        place = np.cumsum(stays) - 1
        scaling = replace(
            scaling,
            fill=scaling.fill[stays],
            center=scaling.center[stays],
            scale=scaling.scale[stays],
            indicators=place[scaling.indicators[flags]],
        )
        at += len(flags)
    kept[:count] = stays
    sources = tuple(s for s, stay in zip(encoder.sources, stays, strict=True) if stay)
    return replace(encoder, sources=sources, scaling=scaling), at
