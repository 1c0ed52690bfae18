"""The window of the estimate, which moves on: as if it were read anew each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

import modelwright as mw
from modelwright.core.records import Interval
from modelwright.serve.journal_store import Folder
from modelwright.watch import expected
from modelwright.watch.answered import answered
from modelwright.watch.estimate import calibrator, expected_confusion, loss_curve
from modelwright.watch.expected import Expected, Sums, grown
from modelwright.watch.reference import Live as Reference
from projects import mixed_table
from watch.live import BEGIN, Live, copied


@pytest.fixture
def live(released: mw.Released, tmp_path: Path) -> Iterator[Live]:
    found = copied(released, tmp_path / "project")
    yield found
    found.close()


def test_a_window_that_moved_on_is_the_one_read_anew(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in range(6):
        live.answer(mixed_table(300, part).drop("bought"), BEGIN + 300 * part, 300)
    seen = live.subject(BEGIN + 1800)
    known = live.library.get("1").live
    assert known is not None
    window = Expected()
    for end in range(BEGIN + 300, BEGIN + 1860, 60):
        window = grown(window, seen, known, end - 600, end)
        window = msgspec.json.decode(msgspec.json.encode(window), type=Expected)
        rows = answered(seen, end - 600, end)
        assert window.rows == len(rows.time)
        whole = expected.of(rows.answers, rows.codes, known).loss(known)
        np.testing.assert_allclose(msgspec.structs.astuple(window.total.loss(known))[:3],
                                   msgspec.structs.astuple(whole)[:3])  # fmt: skip
    read: list[str] = []

    def watched(place: Folder, name: str) -> bytes:
        read.append(name)
        return (place.root / name).read_bytes()

    monkeypatch.setattr(Folder, "get", watched)
    assert grown(window, seen, known, BEGIN + 1200, BEGIN + 1800) == window
    assert read == [], "nothing was answered since"


def test_a_long_window_has_few_slots(live: Live) -> None:
    path = live.folder / "modelwright.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("window: 10 min", "window: 7 d"), encoding="utf-8")
    for day in range(8):
        live.answer(mixed_table(2000, day).drop("bought"), BEGIN + 86_400 * day, 86_400)
    known = live.library.get("1").live
    assert known is not None
    end = BEGIN + 8 * 86_400
    window = grown(Expected(), live.subject(end), known, end - 7 * 86_400, end)
    assert window.rows == pytest.approx(14_000, abs=20)
    assert len(window.slots) <= expected.SLOTS + 2


def test_sums_of_values_add_up() -> None:
    predictions = np.arange(200.0)
    curve = loss_curve(predictions, predictions / 10)
    reference = Reference("d", msgspec.Raw(b"{}"), Interval(0, 0, 0), 4.0, 200, curve=curve)
    first = expected.of(predictions[:50], None, reference)
    second = expected.of(predictions[50:], None, reference)
    whole = curve.estimate(predictions)
    found = (Sums() + first + second).loss(reference)
    assert found.value == pytest.approx(whole.value / 4) and found.low == whole.low / 4


def test_the_matrix_is_that_of_all_parts_and_old_sums_have_none() -> None:
    chance = np.random.default_rng(1).random(900)
    made = calibrator(chance, (np.random.default_rng(2).random(900) < chance).astype(np.int64))
    reference = Reference("d", msgspec.Raw(b"{}"), Interval(0, 0, 0), 1.0, 900, calibrator=made)
    answers, codes = np.stack([1 - chance, chance], axis=1), (chance > 0.5).astype(np.int64)
    parts = [expected.of(answers[at::3], codes[at::3], reference) for at in range(3)]
    [found] = sum(parts, Sums()).matrix(reference, ("no", "yes"), "back-test")
    whole = expected_confusion(made.probabilities(chance), codes)
    assert f"recall {whole[1, 1] / whole[1].sum():.3f}" in found.measured
    right = f"{codes.sum():,} said to be yes, {whole[1, 1]:,.0f} rightly"
    assert right in found.measured and found.why == "back-test"
    old = Sums(10, (8.0, 1.0))
    assert (old + parts[0]).matrix(reference, ("no", "yes"), "") == []
    assert (old + parts[0]).loss(reference).value == pytest.approx(1 - (8 + parts[0].of[0]) / 310)
