"""Answers of the careful way, each with its own values, on their way to the journal's process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelwright.core.intake import Feeds
from modelwright.core.schema import Column
from modelwright.pack.artefact import Answers
from modelwright.serve.dense import Dense
from modelwright.serve.journal_chunk import Recorded, about, answered
from modelwright.serve.journal_wire import RECORD, Asked, Block, Blocks

Entry = tuple[Recorded, int, int, str, float, float, tuple[str, str, bool], Feeds, Answers, str]
"""One answered request, as the event loop hands it over: the version; what it takes up in the
queue; how many rows it had; its id; `time.perf_counter()` of the answer; seconds that it took; arm,
fallback and cached of `messages.Answered`; its feeds; its answers; its caller. A tuple: an object
with names takes four times as long to make."""


def are_alike(one: Entry, other: Entry) -> bool:
    """Whether both may be told of in one message."""
    return one[0] is other[0] and one[6] == other[6]


def together(entries: Sequence[Entry], offset: float) -> Asked:
    """Entries that are alike, in one message.

    Args:
        entries: at least one.
        offset: Unix time less `time.perf_counter()`.

    Raises:
        KeyError: a column that the version reads is not among the values of a request.
    """
    versions, _, counts, ids, ended, seconds, flags, feeds, answers, callers = zip(
        *entries, strict=True
    )
    records = np.empty(len(ids), RECORD)
    records["ended"], records["seconds"], records["rows"] = ended, seconds, counts
    records["ended"] += offset
    records["first"] = np.cumsum(records["rows"]) - records["rows"]
    features = versions[0].told.features
    outputs = [answered(one) for one in answers]
    arm, fallback, cached = flags[0]
    return Asked(
        versions[0].number,
        about(ids, records),
        _columns(features, feeds),
        {name: Block.joined([one[name] for one in outputs]) for name in outputs[0]},
        arm,
        fallback,
        cached,
        list(callers) if any(callers) else [],
    )


def _columns(features: Sequence[Column], feeds: Sequence[Feeds]) -> Blocks:
    if all(isinstance(one, Dense) for one in feeds):
        matrix = np.concatenate([one.matrix for one in feeds if isinstance(one, Dense)])
        feeds = [Dense(feeds[0].names, matrix)] if isinstance(feeds[0], Dense) else feeds
    return {column.name: Block.joined([one[column.name] for one in feeds]) for column in features}
