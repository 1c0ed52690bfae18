"""A released project with a journal of real answers, looked at as the watcher does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import modelwright as mw
from modelwright.core.intake import feeds_from_columns
from modelwright.core.spec_file import read_spec
from modelwright.release.registry import Registry
from modelwright.serve.journal_store import Folder, file_name
from modelwright.watch.database import Database
from modelwright.watch.episodes import Event
from modelwright.watch.look import Part
from modelwright.watch.loop import Look, look
from modelwright.watch.part_drift import DriftPart
from modelwright.watch.reference import as_journal
from modelwright.watch.state import Memory
from modelwright.watch.subject import Known, Library, Subject, subject
from modelwright.watch.summary_store import SummaryStore
from projects import mixed_table

BEGIN = 1_795_000_020 // 60 * 60
"""When the first answer was given; windows of the tests are ten minutes."""
SPEC = """
serve: {journal: {to: journal, every: 1 s}}
watch: {window: 10 min, rows: 400}
"""


END = BEGIN + 8 * 600 + 30
"""A moment after the last of eight windows."""


class Nobody:
    """Alerts go nowhere."""

    def queue_events(
        self, connection: Any, model: str, version: str, events: Sequence[Event], now: float
    ) -> None:
        """Nothing."""


@dataclass
class Live:
    """What a watcher has in hand."""

    folder: Path
    library: Library
    store: SummaryStore
    memory: Memory
    database: Database

    @classmethod
    def of(cls, folder: Path) -> Live:
        """Of a project whose model is released."""
        path = folder / "modelwright.yaml"
        path.write_text(path.read_text(encoding="utf-8") + SPEC, encoding="utf-8")
        return cls.opened(folder, Database(folder / "watch.db"))

    @classmethod
    def opened(cls, folder: Path, database: Database) -> Live:
        """Of a project that was prepared before."""
        library = Library(Registry(folder), "shop")
        return cls(folder, library, SummaryStore(database), Memory(database), database)

    def subject(self, now: float) -> Subject:
        """The model then."""
        spec = read_spec(self.folder / "modelwright.yaml").spec
        found = subject(spec, self.folder, self.library, self.store, now)
        assert found is not None
        return found

    def look(self, now: float, *parts: Part) -> Look:
        """Look once."""
        return look(self.subject(now), parts or (DriftPart(),), self.memory, Nobody())

    def answer(
        self, table: pl.DataFrame, begin: float, seconds: float = 600.0, requests: int = 0
    ) -> None:
        """Answer rows evenly over some time, into the journal; of so many requests, 0 for one a
        row."""
        to, known = self.folder / "journal", self.library.get("1")
        write_journal(to, known, table, begin, seconds, requests or len(table))

    def close(self) -> None:
        """End all connections."""
        self.store.close()
        self.database.close()


def write_journal(
    to: Path, known: Known, table: pl.DataFrame, begin: float, seconds: float, requests: int
) -> None:
    """A file of the version's real answers to these rows."""
    schema = known.manifest.schema
    given = {column.name: table[column.name].to_list() for column in schema.features}
    feeds = feeds_from_columns(schema, given)
    answers = known.artefact.answer(feeds)
    rows = as_journal(schema, feeds, answers.raw, answers.codes)
    times = ((begin + seconds * np.arange(len(table)) / len(table)) * 1e6).astype(np.int64)
    rows = rows.append_column("time", pa.array(times).cast(pa.timestamp("us", tz="UTC")))
    for name, value in (("version", known.version.number), ("arm", "champion"), ("fallback", "")):
        rows = rows.append_column(name, pa.array([value] * len(table)).dictionary_encode())
    many = len(table)
    ids = pa.array([f"{begin:.0f}-{number * requests // many}" for number in range(many)])
    rows = rows.append_column("request_id", ids)
    rows = rows.append_column("row", pa.array(np.zeros(len(table), np.int32)))
    about = {"format": 1, "model": "shop", "version": known.version.number, "digest": known.digest}
    sink = pa.BufferOutputStream()
    pq.write_table(rows.replace_schema_metadata({"modelwright": json.dumps(about)}), sink)
    name = file_name(
        "shop", known.version.number, begin, begin + seconds, "0123456789ab", int(begin)
    )
    Folder(to).put(name, sink.getvalue().to_pybytes())


def usual(seed: int, rows: int = 600) -> pl.DataFrame:
    """Rows as in training."""
    return mixed_table(rows, seed).drop("bought")


def drifted(seed: int, rows: int = 600) -> pl.DataFrame:
    """Larger ones, of a colour that training never saw, and fewer dates."""
    table = usual(seed, rows)
    gaps = pl.Series(np.random.default_rng(seed).random(rows) < 0.4)
    return table.with_columns(
        pl.col("size, cm") + 30,
        pl.when(pl.Series(np.arange(rows) % 5 == 0)).then(pl.lit("<b>mauve</b>"))
        .otherwise(pl.col("colour")).alias("colour"),
        pl.when(gaps).then(None).otherwise(pl.col("start")).alias("start"),
    )  # fmt: skip


def copied(released: mw.Released, folder: Path) -> Live:
    """A copy of a released project."""
    shutil.copytree(released.run.parents[1], folder)
    return Live.of(folder)


def with_drift(found: Live) -> Live:
    """Five windows as in training, then three that differ; looked at once."""
    for number in range(8):
        table = usual(number + 1) if number < 5 else drifted(number)
        found.answer(table, BEGIN + 600 * number)
    found.look(END)
    return found
