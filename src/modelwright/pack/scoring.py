"""A file of rows in, a file of answers out, in batches."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import polars as pl

from modelwright.core.intake import Feeds
from modelwright.data.scoring import open_rows, scored_batches
from modelwright.data.writing import write_batches
from modelwright.pack.artefact import Artefact


def answer_file(model: Artefact, source: str, out: Path) -> int:
    """Answer the rows of a file, in their order; returns how many there were.

    Args:
        model: the packed model.
        source: whatever `data.source` reads; it is streamed.
        out: CSV or Parquet by its ending; appears whole or not at all.

    Raises:
        RowsError: rows that do not fit; nothing is written.
    """
    return write_batches(_answered(model, scored_batches(open_rows(source), model.schema)), out)


def _answered(model: Artefact, batches: Iterable[Feeds]) -> Iterator[pl.DataFrame]:
    """Answers in the order of the batches; a core each works on those that wait."""
    cores = len(os.sched_getaffinity(0))
    waiting: deque[Future[pl.DataFrame]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        for feeds in batches:
            waiting.append(pool.submit(_frame_of, model, feeds))
            if len(waiting) > cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _frame_of(model: Artefact, feeds: Feeds) -> pl.DataFrame:
    return pl.DataFrame(model.answer(feeds).columns())
