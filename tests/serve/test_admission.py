"""What the limit on latency has time for, by curves that are no lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.pack.artefact import ROWS_A_RUN
from modelwright.serve.admission import LATELY, SURE_SECONDS, Admission
from modelwright.serve.curve import KNOTS, Curve
from modelwright.serve.messages import ProtocolError

LINE = [0.004 + 0.001 * 2**at for at in range(KNOTS)]
FLAT = [0.004] * 7 + [0.004 * 2**at for at in range(1, KNOTS - 6)]  # up to 64 rows
STEEP = [2e-4 * (2**at) ** 1.3 for at in range(KNOTS)]


@pytest.mark.parametrize(
    ("curve", "waited", "rows"),
    [(LINE, 0.0, 11), (LINE, 0.003, 8), (LINE, 0.006, 6), (LINE, 5.0, 6),
     (FLAT, 0.0, 240), (FLAT, 5.0, 160), (STEEP, 0.0, 27), (STEEP, 0.003, 22), (STEEP, 5.0, 19)],
)  # fmt: skip
def test_a_batch_ends_in_time_for_who_waited_longest(
    curve: list[float], waited: float, rows: int
) -> None:
    """Of a limit of 20 ms 15 may be used; who waited beyond hope does not make batches tiny."""
    admission = Admission(Curve(curve), 0.02)
    assert admission.most_rows(waited) == rows
    assert admission.expected(rows) <= max(0.015 - waited, 0.01) < admission.expected(rows + 1)
    assert Admission(Curve(curve), None).most_rows(waited) == ROWS_A_RUN
    for _ in range(LATELY):  # at present everything takes three times as long
        admission.ran(rows, 3 * admission.expected(rows) / admission.slowness)
    assert admission.most_rows(waited) < rows


@pytest.mark.parametrize("waited", [0.0, 5.0])
def test_runs_that_cannot_be_in_time_take_who_costs_little_more(waited: float) -> None:
    """One row by itself would be late as well, and all that wait behind it still later."""
    for curve, rows in (([0.6] * KNOTS, ROWS_A_RUN), ([0.6 * 2**at for at in range(KNOTS)], 1),
                        ([0.6 + 0.01 * 2**at for at in range(KNOTS)], 31)):  # fmt: skip
        assert Admission(Curve(curve), 0.02).most_rows(waited) == rows


def refused(
    admission: Admission, rows: int = 1, queued: int = 0, busy: float = 0.0,
    left: float | None = None,
) -> bool:  # fmt: skip
    try:
        admission.check(rows, queued, 0, busy, left)
    except ProtocolError as error:
        assert error.status == 503 and error.retry_after and error.retry_after >= 1
        return True
    return False


def test_the_queue_takes_what_the_curve_says() -> None:
    line, flat = Admission(Curve(LINE), 0.02), Admission(Curve(FLAT), 0.02)
    assert [refused(line, queued=rows) for rows in (0, 9, 10, 11, 12)] == [False] * 3 + [True] * 2
    assert not refused(flat, queued=200) and refused(flat, queued=250)
    assert not refused(line, busy=0.009) and refused(line, busy=0.011)
    assert not refused(line, rows=100, busy=10.0)  # the limit is on requests of one row
    assert refused(line, rows=100, busy=10.0, left=10.0)
    assert not refused(Admission(Curve(LINE), None), queued=500, busy=10.0)
    with pytest.raises(ProtocolError, match="is over") as caught:
        line.check(1, 0, 0, 0.0, left=0.0)
    assert caught.value.status == 504


def test_a_version_that_gets_slower_sheds_after_three_runs_and_recovers_as_soon() -> None:
    admission = Admission(Curve(LINE), 0.02)
    usual = admission.expected(4)
    for run in range(1, 4):
        assert not refused(admission, queued=4)
        admission.ran(4, 3 * usual)
        assert (admission.slowness > 2) == (run == 3)
    assert refused(admission, queued=4)
    for _ in range(3):
        admission.ran(4, usual)
    assert not refused(admission, queued=4)


@given(
    st.floats(1e-5, 0.02), st.floats(0, 1e-3), st.one_of(st.none(), st.floats(1e-3, 1.0)),
    st.floats(1, 20),
)  # fmt: skip
def test_rows_that_are_sure_are_let_in(
    first: float, each: float, budget: float | None, slowness: float
) -> None:
    """Whatever part of them is one more request of one row, with any deadline that is not near."""
    admission = Admission(Curve([first + each * (1 << at) for at in range(11)]), budget)
    admission.slowness = slowness
    sure = admission.sure_rows()
    for queued in {1, sure // 2, sure - 1} & set(range(1, sure)):  # alone nobody waits
        admission.check(1, queued, queued, 0.0, SURE_SECONDS)
