"""Finalists that cannot be packed are left out; Ctrl-C makes the one at hand a whole candidate."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from modelwright.core.ctrl_c import first_press_noted
from modelwright.core.errors import PackError
from modelwright.core.goals import goal_of
from modelwright.core.progress import BoardLine, Silent
from modelwright.core.records import Trial
from modelwright.data.dataset import load
from modelwright.fit.found import Found
from modelwright.fit.pipeline import Pipeline
from modelwright.fit.search import search
from modelwright.pack.artefact import Artefact
from modelwright.pack.build import Maker
from modelwright.pack.finalists import FOLDER, choose_finalist
from modelwright.pack.price import PriceList
from projects import mixed_table, spec_for

MORE = (
    "fit: {budget: 5 trials, folds: 2, families: [linear, lightgbm]}\n"
    "pack: {measure: process}\nlimits: {size: 10 MB}\n"
)


pytestmark = pytest.mark.usefixtures("at_a_terminal")


class Presses(Maker):
    """Presses Ctrl-C so many times when the first model is converted."""

    presses = 1

    def write(self, pipeline: Pipeline, trial: Trial | None, folder: Path) -> Artefact:
        for _ in range(self.presses):
            signal.raise_signal(signal.SIGINT)
        return super().write(pipeline, trial, folder)


class PressesTwice(Presses):
    presses = 2


class PressesAtTheEnd(Maker):
    """Presses when the chosen model is about to be proved."""

    def seal(self, artefact: Artefact, pipeline: Pipeline, target: Path) -> Artefact:
        signal.raise_signal(signal.SIGINT)
        return super().seal(artefact, pipeline, target)


class Cannot(Maker):
    """Cannot convert the first so many models."""

    left = 1

    def write(self, pipeline: Pipeline, trial: Trial | None, folder: Path) -> Artefact:
        self.left -= 1
        if self.left >= 0:
            raise PackError("The model cannot be written as ONNX.")
        return super().write(pipeline, trial, folder)


class CannotAny(Cannot):
    left = 1000


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def searched(folder: Path, kind: type[Maker]) -> tuple[Found, Maker]:
    mixed_table(400).write_csv(folder / "t.csv")
    file = spec_for(folder, "t.csv", "bought", MORE)
    dataset = load(file)
    maker = Maker(file, dataset, goal_of(file.spec, dataset.schema.target))
    prices = PriceList(maker, folder, dataset.train.feeds, file.spec.parsed_limits())
    found = search(file.spec, dataset, Silent(), prices)
    assert len(found.finalists()) > 1
    return found, kind(file, dataset, maker.goal)


def test_a_press_before_anything_is_measured_leaves_a_whole_candidate(tmp_path: Path) -> None:
    found, maker = searched(tmp_path, Presses)
    said = Said()
    with first_press_noted() as pressed:
        chosen = choose_finalist(found, maker, tmp_path, said, pressed)
    record = chosen.fit.record
    assert record.stopped_by == "interrupt" and chosen.fit.learning is None
    assert [trial.number for trial in record.trials if trial.measured] == [record.best]
    assert Artefact.load(tmp_path / "artefact").manifest.parity.rows
    assert any("Stopped by Ctrl-C" in line for line in said.lines)
    assert not (tmp_path / FOLDER).exists()


def test_the_second_press_ends_at_once(tmp_path: Path) -> None:
    found, maker = searched(tmp_path, PressesTwice)
    said = Said()
    with first_press_noted() as pressed, pytest.raises(KeyboardInterrupt):
        choose_finalist(found, maker, tmp_path, said, pressed)
    assert not (tmp_path / "artefact").exists() and not (tmp_path / FOLDER).exists()
    assert said.lines == [f"The search is kept: {maker.spec_file.resuming} goes on with it."]


def test_a_press_while_the_chosen_one_is_proved_does_not_stop_it(tmp_path: Path) -> None:
    found, maker = searched(tmp_path, PressesAtTheEnd)
    with first_press_noted() as pressed:
        choose_finalist(found, maker, tmp_path, Silent(), pressed)
        assert pressed()
    assert Artefact.load(tmp_path / "artefact").manifest.parity.rows


def test_a_finalist_that_cannot_be_packed_is_left_out_and_told(tmp_path: Path) -> None:
    found, maker = searched(tmp_path, Cannot)
    first, said = found.finalists()[0], Said()
    chosen = choose_finalist(found, maker, tmp_path / "run", said)
    assert chosen.fit.record.best != first.number
    assert (tmp_path / "run/artefact/model.onnx").exists()
    assert said.lines[0].startswith(f"Candidate {first.number} ({first.name}) is left out: The mod")


def test_no_finalist_can_be_packed(tmp_path: Path) -> None:
    found, maker = searched(tmp_path, CannotAny)
    with pytest.raises(PackError, match="cannot be written as ONNX"):
        choose_finalist(found, maker, tmp_path / "run", Silent())
    assert not (tmp_path / "run" / FOLDER).exists()


class Boards(Silent):
    def __init__(self) -> None:
        self.seen: list[list[BoardLine]] = []

    def board(self, lines: Sequence[BoardLine]) -> None:
        self.seen.append(list(lines))


def test_the_leaderboard_says_while_it_runs_what_is_known_by_then(tmp_path: Path) -> None:
    mixed_table(400).write_csv(tmp_path / "t.csv")
    file = spec_for(tmp_path, "t.csv", "bought", MORE.replace("10 MB", "12 kB"))
    dataset, boards = load(file), Boards()
    maker = Maker(file, dataset, goal_of(file.spec, dataset.schema.target))
    prices = PriceList(maker, tmp_path, dataset.train.feeds, file.spec.parsed_limits())
    found = search(file.spec, dataset, boards, prices)
    searching = [line for board in boards.seen for line in board]
    priced = [line for line in searching if line.size]
    assert priced and all(line.size.startswith("~") and line.cost for line in priced)
    assert {line.feasible for line in searching} >= {"", "no"}
    assert all(line.seconds and "±" in line.score for line in searching)
    assert any(line.pareto for line in priced) and any("over size" in line.note for line in priced)
    boards.seen.clear()
    chosen = choose_finalist(found, maker, tmp_path, boards)
    [own] = [n for n in boards.seen[-1] if n.number == str(chosen.fit.record.best)]
    assert own.size and not own.size.startswith("~") and not own.cost.startswith("~")
