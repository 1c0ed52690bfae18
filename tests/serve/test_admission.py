"""What the limit on latency has time for, by curves that are no lines."""

from __future__ import annotations

import pytest

from modelwright.pack.artefact import ROWS_A_RUN
from modelwright.serve.admission import LATELY, Admission
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


def refused(admission: Admission, **about: float | None) -> bool:
    given = {"rows": 1, "queued": 0, "requests": 0, "busy": 0.0, "left": None, **about}
    try:
        admission.check(**given)  # type: ignore[arg-type]
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
