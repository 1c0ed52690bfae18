"""What a candidate would cost to serve: a cheap estimate, anchored on one real measurement.

The estimate runs the candidate's graph in this process. What the HTTP server adds to it is learned
once, from the first candidate, on the real server; so every other candidate's p95, throughput and
memory can be foretold in a fraction of a second.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from modelwright.core.intake import Feeds
from modelwright.core.limits import Limit
from modelwright.core.records import Measured, Price
from modelwright.fit.pipeline import Pipeline
from modelwright.pack.artefact import session_of
from modelwright.pack.bench import in_process, measure, sampled
from modelwright.pack.build import Maker
from modelwright.pack.convert import convert
from modelwright.pack.inputs import matrices

ROWS = 100
ANCHOR_SECONDS = 1.0
SERVER_COSTS = ("latency_p95", "throughput", "memory")
MEMORY_A_BYTE = 4.0
"""Bytes of a server's memory for each byte of the model file (measured: 3 to 5 on forests)."""


class PriceList:
    """Prices candidates; the first one also on the real server, where a limit asks for that."""

    def __init__(self, maker: Maker, folder: Path, feeds: Feeds, limits: Sequence[Limit]) -> None:
        self._maker = maker
        self._folder = folder
        self._feeds = feeds
        self._limits = tuple(limits)
        self._sample = sampled(feeds, ROWS, seed=0)
        self._anchor: tuple[Price, Measured] | None = None
        spec = maker.spec_file.spec
        self._asks_server = spec.pack.measure == "server" and any(
            limit.metric in SERVER_COSTS for limit in limits
        )

    def price(self, pipeline: Pipeline, ratio: float = 1.0) -> Price:
        """One row in process, bytes and nodes; server figures where they can be foretold.

        Args:
            pipeline: as one fold trained it.
            ratio: rounds of the last fit to those of the fold; bytes and nodes grow with it.
        """
        converted = convert(pipeline)
        data = converted.model.SerializeToString()
        session = session_of(data)
        names = list(converted.outputs.values())

        def answer(feeds: Feeds) -> object:
            return session.run(names, matrices(feeds, converted.inputs))

        size = round(ratio * len(data)) + self._maker.size_around(pipeline, converted)
        found = Price(in_process(answer, self._sample), size, round(ratio * converted.nodes))
        if self._asks_server and self._anchor is None:
            self._anchor = found, self._measured(pipeline)
        return self.foretold(found)

    def _measured(self, pipeline: Pipeline) -> Measured:
        folder = self._folder / ".anchor"
        spec = self._maker.spec_file.spec.pack.model_copy(update={"seconds": ANCHOR_SECONDS})
        try:
            artefact = self._maker.write(pipeline, None, folder)
            return measure(artefact, self._feeds, spec, limits=self._limits)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def foretold(self, found: Price) -> Price:
        """The same with p95, throughput and memory as the anchor has them."""
        if self._anchor is None:
            return found
        base, real = self._anchor
        slower = found.in_process - base.in_process
        if real.latency_p95 is None or real.throughput is None or real.memory is None:
            return found
        rate = real.throughput.value  # 0 where even the anchor missed p95: that tells of no other
        throughput = 1 / max(1e-6, 1 / rate + slower) if rate else None
        heavier = MEMORY_A_BYTE * (found.size - base.size)
        return msgspec.structs.replace(
            found,
            latency_p95=float(np.maximum(1e-6, real.latency_p95.value + slower)),
            throughput=throughput,
            memory=float(np.maximum(0.0, real.memory.value + heavier)),
        )
