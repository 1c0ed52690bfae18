"""What a look at late labels costs, as the journal grows.

    .venv/bin/python benchmarks/watch/looks.py [--files 100 1000 3000]

A journal of files of 1,000 rows and labels of a tenth of them, then looks: one without news, one
with one new label, one with a hundred, and the count of minutes with nothing to count and with a
version that nobody knows. Printed: CPU of all threads, medians of five.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import labels as journal
import numpy as np
from labels import NOW, measured

from modelwright.serve.journal_store import place_of
from modelwright.serve.labels import Labels, Sender, compact
from modelwright.watch.labels import Cursor, arrived_since
from modelwright.watch.summary_store import SummaryStore, count_journal

DAY = 86_400.0


def fill(to: Path, files: int) -> np.ndarray:
    """The journal, a tenth of it labelled; all ids."""
    rng = np.random.default_rng(0)
    ids = np.array([f"{word:032x}" for word in rng.integers(0, 2**62, 1000 * files)])
    times = np.sort(NOW - 30 * DAY + rng.random(len(ids)) * 29 * DAY)
    for number, start in enumerate(range(0, len(ids), 1000)):
        part = slice(start, start + 1000)
        journal.write(to, number, ids[part], times[part], rng)
    chosen = rng.choice(len(ids), len(ids) // 10, replace=False)
    sender = Sender(place_of(str(to)))
    for part in np.array_split(chosen[np.argsort(times[chosen])], 30):
        tell(sender, ids[part], times[part].max() + DAY)
    compact(place_of(str(to)), "shop", NOW + 40 * DAY)
    return ids


def tell(sender: Sender, ids: np.ndarray, at: float) -> None:
    """Labels that arrive then."""
    moment, many = int(at * 1e6), len(ids)
    sender.send("shop", Labels(
        ids.tolist(), [0] * many, ["yes"] * many, [None] * many, [moment] * many, [moment] * many
    ))  # fmt: skip


def looks(to: Path, ids: np.ndarray, cursor: Cursor) -> None:
    """Print what looks cost that find nothing, a label, a hundred."""
    sender, rng = Sender(place_of(str(to))), np.random.default_rng(1)
    for many in (0, 1, 100):

        def work(many: int = many) -> None:
            nonlocal cursor
            if many:
                tell(sender, rng.choice(ids, many), NOW)
            found, cursor = arrived_since(
                to, "shop", cursor, now=NOW, remembered=to.with_name("ids")
            )
            assert many < 2 or len(found) > 50

        measured(f"  {many} new labels", work)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, nargs="+", default=[100, 1000, 3000])
    for files in parser.parse_args().files:
        with tempfile.TemporaryDirectory() as folder:
            to = Path(folder) / "journal"
            ids = fill(to, files)
            print(f"{files:,} files, {len(ids):,} answers, {len(ids) // 10:,} labels")
            cursor = Cursor()
            _, cursor = arrived_since(to, "shop", cursor, now=NOW, remembered=to.with_name("ids"))
            looks(to, ids, cursor)
            store = SummaryStore(Path(folder) / "watch.db")
            count_all(store, to)
            store.close()


def count_all(store: SummaryStore, to: Path) -> None:
    """Print what it costs to pass over files of a version that nobody knows."""
    measured(
        "  files of versions that nobody knows",
        lambda: count_journal(store, to, lambda *_: None, "shop"),
    )


if __name__ == "__main__":
    main()
