"""What a version is held against when it is live: its own training, as it looked to models that had
not seen the row.

The rows are those of training, the answers those of the folds: a model's answers on rows that it
learned from are bolder than any it will give. Made once, when a run is judged, and kept with it, so
that a watcher on another machine needs the registry and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from modelwright.core.errors import DataError
from modelwright.core.intake import Array, Feeds
from modelwright.core.records import Interval, Manifest
from modelwright.core.schema import MISSING_TIME, Schema
from modelwright.core.store import from_json, to_json, write_atomic
from modelwright.fit.pipeline import Fit
from modelwright.release.fetch import run_file
from modelwright.release.registry import Registry, Version
from modelwright.serve.journal_segment import FEATURE, PROBABILITY
from modelwright.watch import counted
from modelwright.watch.counted import Frame, Joint, Reference, category_counts, number_counts
from modelwright.watch.estimate import Calibrator, LossCurve, calibrator, loss_curve
from modelwright.watch.summaries import MINUTE, PREDICTION, SCORE, Plan, Summary

FILE = "reference.json"
BLOCK_ROWS = 1000
MOST_BLOCKS = 200
SPREAD_ROWS = 20_000
"""So many rows are enough to say how far correlations scatter."""


class Live(msgspec.Struct, frozen=True):
    """`reference.json` of a run.

    Attributes:
        digest: sha256 of the manifest that it belongs to.
        drift: counts in the order of the training rows, `counted.to_json`.
        loss: mean loss between 0 and 1 a row: wrong labels, or errors over `scale`.
        scale: what errors are divided by, so that they are between 0 and 1; 1 with classes.
        rows: that had an answer.
        calibrator: of classes: what scores mean; None for values.
        curve: of values: what such predictions lost; None with classes.
    """

    digest: str
    drift: msgspec.Raw
    loss: Interval
    scale: float
    rows: int
    calibrator: Calibrator | None = None
    curve: LossCurve | None = None

    @property
    def reference(self) -> Reference:
        """Counts to hold windows against."""
        return counted.from_json(bytes(self.drift))


def keep_reference(
    run: Path, manifest: Manifest, digest: str, fit: Fit, feeds: Feeds, y: Array
) -> None:
    """Write `reference.json` of a run.

    Args:
        run: its folder.
        manifest, digest: of the packed model.
        fit: whose out-of-fold answers are taken.
        feeds: the training rows, in order of time where they have one.
        y: class index or value a row.
    """
    write_atomic(run / FILE, to_json(reference_of(manifest, digest, fit, feeds, y)))


def fetch_reference(registry: Registry, version: Version) -> Live | None:
    """The record of the run that made a version; None for one made before there was such a record.

    Raises:
        DataError: the file is of something else.
        RegistryError: it cannot be downloaded.
    """
    found = run_file(registry, version, FILE)
    if found is None:
        return None
    live = from_json(found, Live, where=f"{FILE} of run {version.run}")
    if live.digest != version.digest:
        raise DataError(
            f"{FILE} of run {version.run} belongs to another model than version {version.number}.",
            hint="Restore the run's folder, or run again.",
        )
    return live


def reference_of(manifest: Manifest, digest: str, fit: Fit, feeds: Feeds, y: Array) -> Live:
    """See `keep_reference`."""
    answers = fit.out_of_fold
    known = ~np.isnan(answers if answers.ndim == 1 else answers[:, 0])
    answers, y = answers[known], y[known]
    feeds = {name: values[known] for name, values in feeds.items()}
    classes = manifest.schema.target.levels
    labels = fit.best.outputs.labels(answers) if classes else None
    table = as_journal(manifest.schema, feeds, answers, labels)
    drift = counted.to_json(_counted(Plan.of(manifest), table))
    losses = np.abs(y - answers) if labels is None else (labels != y).astype(np.float64)
    scale = 1.0 if labels is not None else max(float(np.quantile(losses, 0.99)), 1e-12)
    bounded = np.minimum(losses / scale, 1.0)
    reach = float(1.96 * bounded.std() / np.sqrt(len(bounded)))
    mean = float(bounded.mean())
    return Live(
        digest, msgspec.Raw(drift), Interval(mean, max(0.0, mean - reach), mean + reach), scale,
        len(y),
        calibrator(answers[:, 1] if answers.shape[1] == 2 else answers, y) if classes else None,
        None if classes else loss_curve(answers, losses),
    )  # fmt: skip


def as_journal(schema: Schema, feeds: Feeds, answers: Array, labels: Array | None) -> Any:
    """Rows as the journal would have them, as far as they are counted: a `pyarrow.Table`.

    Args:
        feeds: features after the intake.
        answers: probabilities [rows, classes] or values [rows].
        labels: class index a row; None for values.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {}
    if labels is None:
        columns |= {PREDICTION: pa.array(answers), SCORE: pa.array(answers)}
    else:
        levels = schema.target.levels
        score = answers[:, 1] if answers.shape[1] == 2 else answers.max(axis=1)
        columns[PREDICTION] = pa.array([levels[code] for code in labels.tolist()])
        columns[SCORE] = pa.array(np.ascontiguousarray(score))
        for code, level in enumerate(levels):
            columns[PROBABILITY + level] = pa.array(np.ascontiguousarray(answers[:, code]))
    for column in schema.features:
        values = feeds[column.name]
        if column.kind in ("category", "list"):
            texts = [text or None for text in values.tolist()]
            columns[FEATURE + column.name] = pa.array(texts, pa.string())
        elif column.kind == "datetime":
            found = pa.array(values, mask=values == MISSING_TIME)
            columns[FEATURE + column.name] = found.cast(pa.timestamp("us"))
        else:
            columns[FEATURE + column.name] = pa.array(values, mask=np.isnan(values))
    return pa.table(columns)


def frame_of(summary: Summary, alone: Mapping[str, int] | None = None) -> Frame:
    """Counts of minutes, as drift is judged on them.

    Args:
        summary: of any time.
        alone: of a reference: name -> rows whose category no other row has.
    """
    plan, alone = summary.plan, alone or {}
    columns = {
        bins.name: number_counts(summary.of(bins.name))
        if bins.kind == "number"
        else category_counts(summary.of(bins.name), alone.get(bins.name, 0))
        for bins in plan.bins
    }
    names = tuple(bins.name for bins in plan.crossed)
    return Frame(columns, Joint(names, summary.rows, summary.sums(), summary.products()))


def _counted(plan: Plan, table: Any) -> Reference:
    """The rows in their order, cut into stretches."""
    import pyarrow as pa

    rows = len(table)
    many = int(np.clip(rows // BLOCK_ROWS, 1, MOST_BLOCKS))
    block = np.minimum(np.arange(rows) * many // max(rows, 1), many - 1)
    # minutes are what the plan counts by, so a block is a minute of its own
    timed = table.append_column("time", pa.array(block * MINUTE * 1_000_000))
    blocks = [
        frame_of(one, _alone(plan, table, block == n)) for n, one in plan.count(timed).items()
    ]
    some = np.random.default_rng(0).permutation(rows)[:SPREAD_ROWS]
    spread = counted.spread_of(plan.scores(table.take(pa.array(np.sort(some)))))
    kinds: dict[str, Any] = {
        b.name: "number" if b.kind == "number" else "category" for b in plan.bins
    }
    levels = {b.name: b.levels for b in plan.bins if b.kind == "text"}
    first = tuple(b.name for b in plan.bins if b.name in (SCORE, PREDICTION))
    return Reference(kinds, tuple(blocks), spread, first, levels)


def _alone(plan: Plan, table: Any, inside: Array) -> dict[str, int]:
    """Rows of a block whose category is in no other row of the table."""
    found = {}
    for bins in plan.bins:
        if bins.kind == "text" and bins.name in table.column_names:
            codes = table[bins.name].combine_chunks().dictionary_encode()
            numbers = codes.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            once = np.bincount(numbers[numbers >= 0], minlength=1) == 1
            own = numbers[inside]
            found[bins.name] = int(once[own[own >= 0]].sum())
    return found
