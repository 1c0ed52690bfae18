"""The measured curve: its ladder, its shape, the batch that it allows, and what runs teach it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from modelwright.core.schema import Column, Schema, Target
from modelwright.pack.artefact import ROWS_A_RUN
from modelwright.pack.graph import GraphWriter
from modelwright.pack.inputs import inputs_of
from modelwright.serve.curve import (
    KNOTS,
    LADDER_MOST,
    LADDER_RUNS,
    LADDER_SECONDS,
    Curve,
    measured,
)
from modelwright.serve.engine import Engine
from serve import made

Shape = Callable[[int], float]


def line(rows: int) -> float:
    return 0.001 + 1e-5 * rows


def plateau(rows: int) -> float:
    """A net that is bound by reading its weights, up to 128 rows."""
    return 0.004 * max(1.0, rows / 128)


def steps(rows: int) -> float:
    """Whole tiles of 64 rows."""
    return 0.002 * math.ceil(rows / 64)


def superlinear(rows: int) -> float:
    """What a batch needs leaves the cache of the processor, more and more."""
    return 2e-4 * rows**1.3


def falling(rows: int) -> float:
    """Not a shape that a run can have, but one that disturbed timings may have."""
    return 0.01 if rows in (1, 4) else 0.005


SHAPES = [line, plateau, steps, superlinear]


class Machine:
    """A graph whose runs take what a shape says, by a clock of its own."""

    def __init__(self, shape: Shape) -> None:
        self.now, self.shape, self.runs = 0.0, shape, [0]

    def prepared(self, rows: int) -> Callable[[], object]:
        def run() -> None:
            self.runs.append(rows)
            self.now += self.shape(rows)

        return run

    def ladder(self, enough: float = math.inf) -> Curve:
        return measured(self.prepared, enough, lambda: self.now)


def fit_of(shape: Shape, budget: float) -> int:
    """The most rows that truly take at most so long."""
    return max([n for n in range(1, ROWS_A_RUN + 1) if shape(n) <= budget], default=1)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_curve_passes_through_what_was_timed(shape: Shape) -> None:
    machine = Machine(shape)
    curve = machine.ladder()
    timed = max(machine.runs)
    assert timed >= 32
    for at in range(timed.bit_length()):
        assert curve.seconds(1 << at) == pytest.approx(shape(1 << at))
    every = [curve.seconds(rows) for rows in range(1, 3 * ROWS_A_RUN)]
    assert every == sorted(every)
    assert curve.seconds(0) == 0.0
    assert curve.seconds(2 * ROWS_A_RUN + 1) == pytest.approx(
        2 * curve.seconds(ROWS_A_RUN) + curve.seconds(1)
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("budget", [0.005, 0.01, 0.02])
def test_the_largest_batch_that_fits_is_found(shape: Shape, budget: float) -> None:
    curve = Machine(shape).ladder(budget)
    chosen, wanted = curve.most_rows(budget), fit_of(shape, budget)
    assert curve.seconds(chosen) <= budget + 1e-12
    assert chosen == ROWS_A_RUN or curve.seconds(chosen + 1) > budget
    assert shape(chosen) <= 1.25 * budget  # within a step its two ends are all that is known
    assert chosen >= 0.9 * wanted


def test_a_line_through_two_sizes_would_have_chosen_otherwise() -> None:
    """What the curve is for: 1 and 64 rows say nothing about a plateau's end."""
    a_row = (superlinear(64) - superlinear(1)) / 63
    by_line = int((0.02 - superlinear(1)) / a_row) + 1
    by_curve = Machine(superlinear).ladder().most_rows(0.02)
    wanted = fit_of(superlinear, 0.02)
    assert abs(by_curve - wanted) <= 1 < abs(by_line - wanted)
    flat = Machine(plateau).ladder().most_rows(0.0045)  # by a line no row costs anything
    assert abs(flat - fit_of(plateau, 0.0045)) <= 1


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 1000.0])
def test_the_ladder_keeps_to_its_time(scale: float) -> None:
    def shape(rows: int) -> float:
        return scale * line(rows)

    machine = Machine(shape)
    machine.ladder()
    allowed = min(max(LADDER_SECONDS, LADDER_RUNS * shape(1)), LADDER_MOST)
    assert machine.now <= max(allowed, 2 * shape(1)) + 1e-9
    assert machine.runs.count(1) >= 2


def test_no_larger_run_is_timed_than_the_limit_lets_through() -> None:
    machine = Machine(plateau)
    machine.ladder(0.005)
    assert max(machine.runs) == 256  # 128 rows are within it: the next size says where it ends


def test_a_disturbed_size_takes_no_longer_than_a_larger_one() -> None:
    curve = Machine(falling).ladder()
    assert [curve.seconds(rows) for rows in (1, 2, 4, 8)] == pytest.approx([0.005] * 4)


def test_without_any_measure_nothing_takes_no_time() -> None:
    curve = Curve((0.0,))
    assert 0 < curve.seconds(1) < curve.seconds(2) and curve.most_rows(1.0) == ROWS_A_RUN
    assert curve.most_rows(0.0) == 1
    assert len(Curve([1e-3] * 30)._knots) == KNOTS + 1


@pytest.mark.parametrize("shape", SHAPES)
def test_runs_mend_a_curve_that_was_measured_at_a_bad_moment(shape: Shape) -> None:
    """Batches are chosen by the curve alone: it has to find its way from three times too slow, and
    from half of what runs take, by what it sees there."""
    budget, chance = 0.01, random.Random(7)
    for wrong in (3.0, 0.5):
        curve = Curve([wrong * shape(1 << at) for at in range(6)])
        for _ in range(4000):
            rows = min(curve.most_rows(budget), chance.choice((ROWS_A_RUN, ROWS_A_RUN, 20)))
            curve.learn(rows, shape(rows) * chance.choice((0.97, 1.0, 1.0, 1.03, 3.0)))
        chosen = curve.most_rows(budget)
        assert shape(chosen) <= 1.3 * budget and chosen >= 0.7 * fit_of(shape, budget)


def test_a_machine_that_gets_slower_does_so_for_every_size() -> None:
    curve = Curve([line(1 << at) for at in range(KNOTS)])
    for _ in range(2000):
        curve.learn(1, 3 * line(1))
    assert curve.seconds(1) == pytest.approx(3 * line(1), rel=0.05)
    assert 1.4 < curve.seconds(512) / line(512) < 2.0
    every = [curve.seconds(rows) for rows in range(1, ROWS_A_RUN)]
    assert every == sorted(every)


def test_outliers_do_not_move_it() -> None:
    curve = Curve([line(1 << at) for at in range(KNOTS)])
    for number in range(5000):
        curve.learn(8, 1.0 if number % 10 == 0 else line(8) * (1.02 if number % 2 else 0.98))
    assert curve.seconds(8) == pytest.approx(line(8), rel=0.05)
    curve.learn(ROWS_A_RUN + 1, 100.0)
    curve.learn(0, 100.0)
    assert curve.seconds(8) == pytest.approx(line(8), rel=0.05)


def net(width: int, layers: int) -> tuple[Schema, bytes]:
    """A net of so many layers on one number; it mostly reads its weights."""
    schema = Schema((Column("a", "number"),), Target("y", "regression"))
    writer = GraphWriter()
    writer.input("numbers", "float64", [None, 1])
    chance = np.random.default_rng(3)
    found = writer.add("Cast", "numbers", to=1)
    found = writer.add("MatMul", found, writer.constant(np.ones((1, width), np.float32)))
    for _ in range(layers):
        weights = chance.normal(0, width**-0.5, (width, width)).astype(np.float32)
        found = writer.add("Relu", writer.add("MatMul", found, writer.constant(weights)))
    total = writer.add("ReduceSum", found, writer.constant([1], np.int64), keepdims=0)
    writer.output(writer.add("Cast", total, to=11), "value", "float64", [None])
    return schema, bytes(writer.finish("net").SerializeToString())


def test_the_ladder_of_a_real_net() -> None:
    schema, model = net(width=768, layers=4)
    manifest = msgspec.structs.replace(
        made.manifest(), schema=schema, inputs=inputs_of(schema), outputs={"value": "value"}
    )
    engine = Engine(manifest, model)

    def best(rows: int) -> float:
        inputs, times = engine.inputs({"a": np.zeros(rows)}), []
        for _ in range(7):
            started = time.thread_time()
            engine.run(inputs)
            times.append(time.thread_time() - started)
        return min(times)

    for left in (3, 2, 1, 0):  # a busy machine may disturb either, but not all the time
        engine.warm_up({"a": np.linspace(0, 1, 50)})
        curve = engine.curve
        chosen = curve.most_rows(2 * curve.seconds(16))
        assert 16 < chosen < ROWS_A_RUN
        # the weights are read once for a batch: a row among 32 costs a fraction of a row alone
        assert curve.seconds(32) < 16 * curve.seconds(1)
        off = [curve.seconds(rows) / best(rows) for rows in (1, 8, 24, 64, chosen)]
        if min(off) > 0.4 and max(off) < 2.5:
            break
        assert left, off
