"""A model's graph in the form that answers fastest here, and proved to answer alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from modelwright.core.errors import ArtefactError
from modelwright.core.intake import Array, Feeds
from modelwright.core.records import Manifest
from modelwright.pack import golden
from modelwright.pack.artefact import ORT_ERRORS, ROWS_A_RUN, Answers, session_of
from modelwright.pack.compiled import CODE, Compiled, compiled
from modelwright.pack.inputs import NUMBERS, TEXTS, matrices
from modelwright.serve.bound import BoundRuns
from modelwright.serve.curve import LEAST_SECONDS, Curve, measured
from modelwright.serve.dense import Dense
from modelwright.serve.settings import Seconds

Inputs = dict[str, Array]
PROBES = 512
"""Made-up rows on which the compiled graph must equal the packed one, to the last bit."""


class Engine:
    """A session, and what its inputs and outputs mean.

    Args:
        manifest: of the model.
        model: bytes of its graph, or of the compiled one.
        cut: the compiled graph's lookups; None for the graph as it was packed.

    Attributes:
        takes: names of the graph's inputs; the compiled one has none that it does not use.
        curve: how long its runs take.
    """

    def __init__(self, manifest: Manifest, model: bytes, cut: Compiled | None = None) -> None:
        self.schema = manifest.schema
        self.groups: Mapping[str, tuple[str, ...]] = manifest.inputs
        self.cut = cut
        self._session = session_of(model)
        self._names = dict(manifest.outputs)
        self.takes = frozenset(given.name for given in self._session.get_inputs())
        levels = list(self.schema.target.levels)
        labels = levels
        if cut is not None and cut.labels:
            labels = list(cut.labels)
            self._names.pop("label")
            self._names[CODE] = CODE
        self._meaning = None if labels == levels else np.array([levels.index(v) for v in labels])
        self._code_of = {level: code for code, level in enumerate(levels)}
        self._wanted = list(self._names.values())
        self._small = BoundRuns(self._session, self._wanted)
        self.curve = Curve((LEAST_SECONDS,))
        self._dense: tuple[str, ...] | None = None

    def inputs(self, feeds: Feeds) -> Inputs:
        """What the graph takes, from checked columns."""
        if isinstance(feeds, Dense):
            if feeds.names is not self._dense and self.groups == {NUMBERS: feeds.names}:
                self._dense = feeds.names  # hundreds of names need not be compared again
            if feeds.names is self._dense:
                return {NUMBERS: feeds.matrix}
        found = matrices(feeds, self.groups)
        if self.cut is None:
            return found
        for tensor, lookups in self.cut.lookups.items():
            rows = np.empty((len(feeds[lookups[0].column]), len(lookups)), np.int64)
            for place, lookup in enumerate(lookups):
                known, unknown = lookup.rows, lookup.unknown
                rows[:, place] = [known.get(v, unknown) for v in feeds[lookup.column].tolist()]
            found[tensor] = rows
        return {name: values for name, values in found.items() if name in self.takes}

    def run(self, inputs: Inputs) -> Answers:
        """Answer rows.

        Raises:
            One of `ORT_ERRORS`: the graph cannot answer them.
        """
        rows = len(next(iter(inputs.values())))
        if rows <= ROWS_A_RUN:
            return self._answers(self._small.run(inputs, rows))
        parts = [
            self._session.run(
                self._wanted, {name: v[at : at + ROWS_A_RUN] for name, v in inputs.items()}
            )
            for at in range(0, rows, ROWS_A_RUN)
        ]
        return self._answers([np.concatenate(found) for found in zip(*parts, strict=True)])

    def _answers(self, outputs: list[Any]) -> Answers:
        found = dict(zip(self._names, outputs, strict=True))
        if "value" in found:
            return Answers(
                self.schema, values=found["value"], low=found.get("low"), high=found.get("high")
            )
        if CODE in found:
            codes = found[CODE]
            codes = codes if self._meaning is None else self._meaning[codes]
        else:
            codes = np.array([self._code_of[str(v)] for v in found["label"].tolist()], np.int64)
        return Answers(self.schema, codes=codes, probabilities=found["probabilities"])

    def warm_up(self, feeds: Feeds, enough: Seconds = math.inf) -> None:
        """First runs allocate; they are timed, up to those that take longer than `enough`."""
        count = len(next(iter(feeds.values())))

        def prepared(rows: int) -> Callable[[], Answers]:
            index = np.arange(rows) % count
            inputs = self.inputs({name: values[index] for name, values in feeds.items()})
            return lambda: self.run(inputs)

        self.curve = measured(prepared, enough)


def engine_of(manifest: Manifest, model: bytes, where: object) -> Engine:
    """The fastest form of a graph that says what the packed one says.

    Args:
        manifest: of the model.
        model: verified bytes of its graph.
        where: what to call it in errors.

    Raises:
        ArtefactError: ONNX Runtime cannot load it, or it cannot answer made-up rows.
    """
    plain = Engine(manifest, model)
    rows = golden.probe_rows(manifest.schema, manifest.baseline, PROBES)
    enough = limit_p95(manifest) or math.inf
    cut = compiled(model, manifest.inputs.get(TEXTS, ()))
    try:
        if cut is not None:
            faster = Engine(manifest, cut.model, cut)
            if golden.same(plain.run(plain.inputs(rows)), faster.run(faster.inputs(rows))):
                faster.warm_up(rows, enough)
                return faster
        plain.warm_up(rows, enough)
    except ORT_ERRORS as error:
        first = str(error).splitlines()[0][:200]
        raise ArtefactError(f"{where} cannot answer its golden rows: {first}") from error
    return plain


def limit_p95(manifest: Manifest) -> Seconds | None:
    """The spec's limit on the 95th percentile of latency, or None."""
    bounds = (x.bound for x in manifest.limits if x.metric == "latency_p95" and not x.relative)
    return next(bounds, None)
