"""`check` on tables of any size: two passes in batches, the costly looks at a sample.

The first pass takes a uniform sample (the rows with the smallest random priorities), which is
judged like a whole table. The second counts and fingerprints every row under the kinds that the
sample showed, so that the fingerprint equals the one of a table that was read at once.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import polars as pl

from modelwright.core.contract import missing_in
from modelwright.core.intake import Array
from modelwright.core.progress import Progress
from modelwright.core.records import DatasetRecord, Finding
from modelwright.core.spec_file import SpecFile
from modelwright.core.table import take_feeds
from modelwright.data.dataset import divided, label_texts
from modelwright.data.fingerprint import Digest
from modelwright.data.hints import Hints
from modelwright.data.interpret import Parsed, hints_for, parse
from modelwright.data.sources import Source
from modelwright.data.target import label_texts_of, typed
from modelwright.data.typed import Typing

STREAM_FROM = 200_000_000
"""Bytes of rows from which a table is not held in memory."""
SAMPLE = 50_000
COUNTED_AGAIN = ("duplicate rows", "rows without target", "rows without time")
_PART = 64
"""Duplicates are counted in one of so many parts of all hashes, and scaled up."""


def is_large(source: Source) -> bool:
    """Whether a table is surveyed rather than loaded."""
    return source.size is not None and source.size > STREAM_FROM


def survey(spec_file: SpecFile, source: Source, progress: Progress) -> DatasetRecord:
    """Check a table in constant memory.

    Args:
        spec_file: the spec.
        source: the opened table.
        progress: told how far it is.

    Raises:
        DataError: as `data.dataset.load` has it.
    """
    sample, numbers, rows = sampled(source, spec_file.spec.data.seed, progress)
    parsed = parse(sample, spec_file.spec, source, numbers)
    record = divided(spec_file, source, parsed, sample.height, thorough=True).record
    hints, _, _ = hints_for(sample, spec_file.spec.data, source)
    counted = _second_pass(spec_file, source, parsed, hints, rows, progress)
    share = record.holdout_rows / record.rows
    holdout = round(counted.labelled * share)
    whole = [f for f in record.findings if f.check not in COUNTED_AGAIN]
    return msgspec.structs.replace(
        record,
        rows=counted.labelled,
        train_rows=counted.labelled - holdout,
        holdout_rows=holdout,
        fingerprint=counted.digest.whole(),
        holdout_fingerprint="",
        column_fingerprints=counted.digest.columns(),
        findings=(*counted.findings(rows), *whole),
        sampled=sample.height,
        streamed=True,
    )


def sampled(source: Source, seed: int, progress: Progress) -> tuple[pl.DataFrame, Array, int]:
    """A uniform sample of a table.

    Returns:
        (the rows in file order, their numbers in the file, how many rows there are).
    """
    generator = np.random.default_rng(seed)
    kept: pl.DataFrame | None = None
    rank: Array = np.empty(0)
    number: Array = np.empty(0, np.int64)
    rows = 0
    for frame in source.batches():
        fresh = generator.random(frame.height)
        within = fresh < (rank.max() if len(rank) == SAMPLE else 2.0)
        chosen = frame.filter(pl.Series(within))
        kept = chosen if kept is None else pl.concat([kept, chosen], how="vertical_relaxed")
        rank = np.concatenate([rank, fresh[within]])
        number = np.concatenate([number, rows + np.flatnonzero(within)])
        rows += frame.height
        if len(rank) > SAMPLE:
            best = np.sort(np.argpartition(rank, SAMPLE)[:SAMPLE])
            kept, rank, number = kept[best], rank[best], number[best]
        progress.step(0, 1, f"{rows:,} rows read")
    assert kept is not None  # a source without a row has raised
    return kept, number, rows


class _Counted:
    """What only the whole table tells."""

    def __init__(self, typing: Typing) -> None:
        self.digest = Digest()
        self.typing = typing
        self.labelled = 0
        self.lost: Counter[tuple[str, str]] = Counter()
        self._part: list[Array] = []

    def add(self, hashes: Array, labelled: int) -> None:
        self._part.append(hashes[hashes % np.uint64(_PART) == 0])
        self.labelled += labelled

    def findings(self, rows: int) -> list[Finding]:
        """Rows without target or time, duplicates, values that do not fit their column."""
        found = [
            Finding(check, subject, "fail", f"{count:,} of {rows:,}", "", "they are left out",
                    "check that they are missing at random", "warning")
            for (check, subject), count in self.lost.items()
        ]  # fmt: skip
        part = np.concatenate(self._part) if self._part else np.empty(0)
        copies = (len(part) - len(np.unique(part))) * _PART
        if copies:
            found.append(
                Finding("duplicate rows", "table", "pass", f"about {copies:,} of {rows:,}", "",
                        f"counted in 1 of {_PART} parts of the rows", "are they real?",
                        "info")
            )  # fmt: skip
        for name, wrong in self.typing.wrong.items():
            shown = "; ".join(f"row {row}: {text!r}" for row, text in wrong.shown[:4])
            found.append(
                Finding("bad values", name, "fail", f"{wrong.count:,} do not fit: {shown}", "",
                        "they are unlike the sample that the kind was found by",
                        f"mend them, or data.kinds: {{{name}: category}}", "warning",
                        rows=tuple(row for row, _ in wrong.shown))
            )  # fmt: skip
        return found


def _second_pass(
    spec_file: SpecFile, source: Source, parsed: Parsed, hints: Hints, rows: int, progress: Progress
) -> _Counted:
    data = spec_file.spec.data
    columns = tuple(parsed.columns)
    numeric = frozenset(n for n, values in parsed.values.items() if values.dtype == np.float64)
    counted = _Counted(Typing(columns, numeric, unused_style=parsed.style))
    sample_texts = label_texts(parsed.target)
    done = 0
    for frame in source.batches():
        target = typed(frame[data.target], hints)
        kept = target.is_not_null()
        if target.dtype.is_float():
            kept &= target.is_not_nan()
        feeds = counted.typing.feeds(frame)
        mask = kept.to_numpy()
        if not mask.all():
            counted.lost["rows without target", "target"] += int((~mask).sum())
        if data.split.method == "time" and data.split.by:
            placeless = mask & missing_in(feeds[data.split.by])
            if placeless.any():
                counted.lost["rows without time", data.split.by] += int(placeless.sum())
                mask = mask & ~placeless
        if not mask.all():
            feeds = take_feeds(feeds, mask)
            target = target.filter(pl.Series(mask))
        if len(target):
            labels = label_texts_of(target, parsed.target.target, sample_texts.dtype)
            hashes = counted.digest.add(feeds | {data.target: labels})
            counted.add(hashes, len(target))
        done += frame.height
        progress.step(done, rows, f"{done:,} of {rows:,} rows fingerprinted")
    return counted
