"""Splits on sets of levels, as columns of a category's own table.

ONNX has a node for them (BRANCH_MEMBER), which ONNX Runtime walks level by level: 3 to 8 times
slower than a comparison. Here each different set becomes a feature that is 0 for its levels and 1
for all others, missing and unseen ones too; it comes out of the table that the category is looked
up in anyway.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from modelwright.fit.decision import Decision, Forest
from modelwright.fit.features import Encoder


def spelled_out(encoder: Encoder, decision: Decision) -> tuple[Encoder, Decision]:
    """Encoder and decision in which every split compares a feature with a threshold.

    Args:
        encoder: of the model; its native categories have one feature each, their level's number.
        decision: of the model.

    Returns:
        The same function; the pair itself where no split looks for a set.
    """
    if not isinstance(decision, Forest) or not decision.subsets:
        return encoder, decision
    starts = encoder.width - sum(
        [*(t.table.shape[1] for t in encoder.tables), *(len(t.items) for t in encoder.lists)]
    )
    moved = list(range(starts))
    places = np.zeros(len(decision.subsets), np.int64)
    tables, old, new = [], starts, starts
    for table in encoder.tables:
        own = [k for k, (feature, _) in enumerate(decision.subsets) if feature == old]
        sets = np.ones((len(table.table), len(own)))
        for column, k in enumerate(own):
            sets[list(decision.subsets[k][1]), column] = 0.0
        width = table.table.shape[1]
        tables.append(replace(table, table=np.concatenate([table.table, sets], axis=1)))
        moved += range(new, new + width)
        places[own] = np.arange(len(own)) + new + width
        old, new = old + width, new + width + len(own)
    moved += range(new, new + encoder.width - old)
    feature = decision.feature
    sets_at = places[np.maximum(-1 - feature, 0)]
    renumbered = np.where(feature < 0, sets_at, np.array(moved)[np.maximum(feature, 0)])
    return (
        replace(encoder, tables=tuple(tables)),
        replace(decision, feature=renumbered, subsets=()),
    )
