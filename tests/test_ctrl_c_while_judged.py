"""Ctrl-C while the chosen model is judged: every gate is judged, the rest is left out and named; a
second one ends it at once, and --resume comes to the end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import modelwright as mw
from modelwright.core.progress import Silent
from modelwright.core.records import NOT_LOOKED_AT
from modelwright.core.runs import past_runs
from projects import QUICK, make_shop

pytestmark = pytest.mark.usefixtures("at_a_terminal")


class Presses(Silent):
    """Ctrl-C so many times as soon as the release begins."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.said: list[str] = []

    def stage(self, name: str, detail: str = "") -> None:
        for _ in range(self.times if name == "release" else 0):
            signal.raise_signal(signal.SIGINT)

    def say(self, line: str) -> None:
        self.said.append(line)


def gates(released: mw.Released) -> dict[tuple[str, str], str]:
    return {(f.check, f.subject): f.verdict for f in released.record.evidence
            if f.severity != "info"}  # fmt: skip


def begun(folder: Path, progress: Presses, **more: bool) -> mw.Released:
    spec = folder / "modelwright.yaml"
    return mw.run(spec, overrides=(*QUICK, "limits={roc_auc: 0.6}"), progress=progress, **more)


@pytest.mark.slow
def test_the_first_press_leaves_a_whole_release_with_every_gate(tmp_path: Path) -> None:
    one, again = tmp_path / "one", tmp_path / "again"
    for folder in (one, again):
        folder.mkdir()
        make_shop(folder)
    whole = begun(one, Presses(0))
    progress = Presses(1)
    cut = begun(again, progress)
    assert gates(cut) == gates(whole) and cut.record.version == whole.record.version == "1"
    assert mw.load("shop", folder=again).digest == cut.record.artefact
    left_out = {f.subject: f for f in cut.record.evidence if f.check == NOT_LOOKED_AT}
    assert set(left_out) == {"importance", "groups of columns"}
    assert all(f.verdict == "undecided" and not f.blocks for f in left_out.values())
    assert not [f for f in whole.record.evidence if f.check == NOT_LOOKED_AT]
    records = mw.records_of(cut.run.name, folder=again)
    assert not records.evaluation.importance and records.evaluation.curves
    assert progress.said[-1] == (
        "Ctrl-C: judged by every gate, without importance, groups of columns."
    )
    assert NOT_LOOKED_AT in cut.report.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_second_press_ends_it_and_resume_comes_to_the_end(tmp_path: Path) -> None:
    make_shop(tmp_path)
    progress = Presses(2)
    with pytest.raises(KeyboardInterrupt):
        begun(tmp_path, progress)
    said = progress.said[-1]
    assert (
        said.startswith(f"The search is kept: modelwright run {tmp_path}")
        and "--set 'fit.budget=4 trials'" in said
    )
    assert said.endswith("--resume goes on with it.")
    [past] = past_runs(tmp_path)
    assert not past.ended and "shop" not in mw.Registry(tmp_path).models()
    released = begun(tmp_path, Presses(0), resume=True)
    assert released.run == past.folder and released.record.version == "1"
    assert not [f for f in released.record.evidence if f.check == NOT_LOOKED_AT]
