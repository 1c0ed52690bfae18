"""Proof that the packed model answers as the trained pipeline does, row by row.

Compared are all training and holdout rows, and edge rows made to break it: missing, unseen and
odd text, huge and tiny numbers, integers around 2**24 and 2**53, dates from year 1 to 9999, and
both float32 and float64 neighbours of every split threshold.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnxruntime as ort

from modelwright.core.errors import ParityError
from modelwright.core.intake import Array, Feeds
from modelwright.core.records import Parity
from modelwright.core.schema import MISSING_TIME, Column
from modelwright.core.table import concat_feeds, take_feeds
from modelwright.fit.decision import Forest
from modelwright.fit.pipeline import Pipeline
from modelwright.pack.artefact import Artefact
from modelwright.pack.convert import convert
from modelwright.pack.inputs import matrices

TOLERANCE = 1e-6
TIE = 1e-9
"""Probabilities (or a threshold) that are this near each other make the label a coin toss."""
SHOWN_ROWS = 5
ROWS_AT_A_TIME = 8192
MOST_SINGLE_ROWS = 8000
"""Edge rows with one odd value each; wide tables get fewer a column."""
ODD_TEXTS = (
    "",
    " ",
    "never seen before",
    "None",
    "nan",
    "NaN",
    "NULL",
    "0",
    "\u00e9\u4e2d\U0001f600",
)
ODD_NUMBERS = (
    np.nan, 0.0, -0.0, 1.0, -1.0, 0.1, 1e-300, 5e-324, -5e-324, 1e38, 3.5e38, -3.5e38, 1e300,
    1e308, -1e308, np.inf, -np.inf, 2.0**24, 2.0**24 + 1, 2.0**24 + 3, 2.0**31, 2.0**53,
    2.0**53 + 2, -(2.0**24) - 1,
)  # fmt: skip
ODD_TIMES = (
    MISSING_TIME, 0, -1, 1, -62_135_596_800_000_000, 253_402_300_799_999_999,
    951_782_399_999_999, 951_782_400_000_000, 1_709_164_800_000_000, -2_203_891_200_000_000,
)  # fmt: skip


def prove(
    pipeline: Pipeline, artefact: Artefact, known: Iterable[Feeds], *, seed: int = 0
) -> Parity:
    """Compare the packed model with the pipeline on all known rows and on edge rows.

    Args:
        pipeline: as trained, alive.
        artefact: as loaded from its files.
        known: feeds of the training and the holdout rows.
        seed: of the choice of base rows for edge rows.

    Returns:
        How many rows were compared and the largest difference.

    Raises:
        ParityError: some label differs, or a probability by more than 1e-6 (values: 1e-6 of
            their size); names the step and the rows.
    """
    parts = list(known)
    base = parts[0]
    for part in parts[1:]:
        base = concat_feeds(base, part)
    edges = edge_rows(pipeline, base, seed)
    everything = concat_feeds(base, edges)
    compared = [
        _difference(pipeline, artefact, take_feeds(everything, slice(at, at + ROWS_AT_A_TIME)))
        for at in range(0, _count(everything), ROWS_AT_A_TIME)
    ]
    size, flips = (np.concatenate(found) for found in zip(*compared, strict=True))
    bad = np.flatnonzero((size > TOLERANCE) | flips)
    if len(bad):
        raise _explained(pipeline, everything, bad, size, flips, rows=_count(base))
    return Parity(_count(base), _count(edges), float(size.max()), int(flips.sum()), TOLERANCE)


def _difference(pipeline: Pipeline, artefact: Artefact, feeds: Feeds) -> tuple[Array, Array]:
    """(largest difference, whether the label differs) of each row."""
    wanted, answers = pipeline.answer(feeds), artefact.answer(feeds)
    size, reach = _sizes(wanted, answers.raw), pipeline.outputs.reach
    if reach is not None and answers.low is not None and answers.high is not None:
        for end, given in zip(reach.around(wanted), (answers.low, answers.high), strict=True):
            size = np.maximum(size, _sizes(end, given))
    if answers.codes is None:
        return size, np.zeros(len(size), bool)
    flips = (answers.codes != pipeline.outputs.labels(wanted)) & ~_ties(pipeline, wanted)
    return size, flips


def _ties(pipeline: Pipeline, p: Array) -> Array:
    """Rows whose label hangs on the last digits."""
    outputs = pipeline.outputs
    if outputs.threshold is not None and not outputs.costs:
        return np.asarray(np.abs(p[:, 1] - outputs.threshold) <= TIE)
    ranked = np.sort(p @ np.array(outputs.costs) if outputs.costs else -p, axis=1)
    return np.asarray(ranked[:, 1] - ranked[:, 0] <= TIE)


def edge_rows(pipeline: Pipeline, base: Feeds, seed: int) -> Feeds:
    """Rows in which each column takes its odd values, the others those of real rows.

    Args:
        pipeline: its thresholds are what the numbers are set around.
        base: real rows to start from.
        seed: of the choice among them.
    """
    thresholds = _thresholds(pipeline)
    odd = {c.name: _odd_values(c, thresholds.get(c.name)) for c in pipeline.schema.features}
    longest = max(len(values) for values in odd.values())
    generator = np.random.default_rng(seed)
    each = max(4, min(64, MOST_SINGLE_ROWS // len(odd)))
    few = {name: values[:each] for name, values in odd.items()}
    count = longest + sum(len(values) for values in few.values())
    rows = take_feeds(base, generator.integers(0, _count(base), count))  # copies
    start = longest
    for name, values in odd.items():
        rows[name][generator.permutation(longest)[: len(values)]] = values
        rows[name][start : start + len(few[name])] = few[name]
        start += len(few[name])
    return rows


def _count(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))


def _odd_values(column: Column, thresholds: Array | None) -> Array:
    if column.kind == "category":
        known = [f"{level}{suffix}" for level in column.levels[:20] for suffix in ("", " ")]
        cases = [level.upper() for level in column.levels[:20]]
        return np.array([*ODD_TEXTS, *known, *cases], dtype=object)
    if column.kind == "list":
        mark, some = column.format or "|", column.levels[:20]
        lists = [mark.join(some[:n]) for n in range(1, len(some) + 1)]
        beside = [f"{a}{b}" for a in some for b in (mark, " ", "x", "\n", f"{mark}{mark}zzz")]
        return np.array([*ODD_TEXTS, *some, *lists, *beside, mark, mark * 2], dtype=object)
    if column.kind == "datetime":
        return np.array(ODD_TIMES, np.int64)
    if column.kind == "boolean":
        return np.array([np.nan, 0.0, 1.0])
    near = [] if thresholds is None else [neighbours(thresholds)]
    ends = [v for v in (column.minimum, column.maximum) if v is not None]
    return np.concatenate([np.array(ODD_NUMBERS), np.array(ends, float), *near])


def neighbours(thresholds: Array) -> Array:
    """Each threshold, and the next numbers below and above it in float64 and in float32.

    Example:
        >>> len(neighbours(np.array([0.1])))
        6
    """
    with np.errstate(over="ignore"):
        single = thresholds.astype(np.float32)
        around = [
            thresholds,
            np.nextafter(thresholds, -np.inf),
            np.nextafter(thresholds, np.inf),
            single.astype(np.float64),
            np.nextafter(single, np.float32(-np.inf)).astype(np.float64),
            np.nextafter(single, np.float32(np.inf)).astype(np.float64),
        ]
    return np.concatenate(around)


def _thresholds(pipeline: Pipeline) -> dict[str, Array]:
    """Split thresholds of each column that a forest reads as it is."""
    found: dict[str, Array] = {}
    for member in pipeline.members:
        decision = member.decision()
        if not isinstance(decision, Forest) or member.encoder.scaling is not None:
            continue
        for number, source in enumerate(member.encoder.sources):
            mine = np.unique(decision.threshold[decision.feature == number])
            if source.part is None and len(mine):
                found[source.column] = np.union1d(found.get(source.column, mine), mine)
    return found


def _sizes(wanted: Array, found: Array) -> Array:
    """Largest difference a row; equal NaNs and infinities count as equal."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(wanted - found)
        if wanted.ndim == 1:
            difference = difference / np.maximum(1.0, np.abs(wanted))
    same = (wanted == found) | (np.isnan(wanted) & np.isnan(found))
    difference = np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))
    return np.asarray(difference if wanted.ndim == 1 else difference.max(axis=1))


def _explained(
    pipeline: Pipeline, feeds: Feeds, bad: Array, size: Array, flips: Array, *, rows: int
) -> ParityError:
    """Find the first step whose result differs: the encoding, or the model."""
    shown = take_feeds(feeds, bad[:SHOWN_ROWS])
    converted = convert(pipeline, with_features=True)
    session = ort.InferenceSession(
        converted.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    given = matrices(shown, converted.inputs)
    same = np.ones(len(bad[:SHOWN_ROWS]), bool)
    for number, member in enumerate(pipeline.members):
        [encoded] = session.run([converted.outputs[f"features {number}"]], given)
        wanted = member.encoder.transform(shown)
        same &= np.isclose(encoded, wanted, 0, 0, equal_nan=True).all(axis=1)
    problems = []
    for place, row in enumerate(bad[:SHOWN_ROWS].tolist()):
        step = "the model" if same[place] else "the encoding"
        what = "another label" if flips[row] else f"off by {size[row]:.3g}"
        kind = f"row {row}" if row < rows else f"edge row {row - rows}"
        private = {column.name for column in pipeline.schema.columns if column.private}
        open_names = [name for name in shown if name not in private][:6]
        values = {name: shown[name][place] for name in open_names}
        problems.append(f"{kind}: {what} in step {step}; it begins {values}")
    return ParityError(
        f"The packed {pipeline.family} model differs from the trained one on {len(bad)} rows:",
        problems,
        hint="Nothing was released. For a family of your own look at its decision(); "
        "else please report this as a fault of modelwright.",
    )
