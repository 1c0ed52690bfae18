"""A look in a few lines, and how a terminal shows them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import msgspec
from rich.console import Console

import modelwright as mw
from modelwright.core.records import Finding
from modelwright.watch.episodes import Episode
from modelwright.watch.lines import as_plain, watch_lines
from modelwright.watch.look import Advice
from modelwright.watch.loop import Look, Status
from modelwright.ways_in.render_watch import show_watch
from watch.live import BEGIN, copied, drifted


def test_a_look_in_a_few_lines(released: mw.Released, tmp_path: Path) -> None:
    other = copied(released, tmp_path / "project")
    for number in range(2):
        other.answer(drifted(number), BEGIN + 600 * number)
    look = other.look(BEGIN + 1230)
    lines = watch_lines(look)
    assert [(line.kind, line.name, line.new) for line in lines] == [
        ("part", "drift", False), ("episode", "data quality", True), ("episode", "drift", True),
        ("episode", "score drift", True),
    ]  # fmt: skip
    assert lines[0].state == "warning" and "size, cm" in lines[2].says
    advised = msgspec.structs.replace(look, advice=(Advice("retrain", "", "score drift [x]"),))
    out = io.StringIO()
    show_watch(json.loads(json.dumps(as_plain(advised))), Console(file=out, width=110))
    shown = out.getvalue()
    assert "shop 1: 3 open episode(s). 2 new file(s) of the journal." in shown
    assert "data quality (new)" in shown and "→ advised: retrain: score drift [x]" in shown
    again = other.look(BEGIN + 1240)
    assert not any(line.new for line in watch_lines(again)) and len(again.open) == 3
    other.close()


def test_a_part_with_an_open_episode_is_not_called_well() -> None:
    worst = Finding("quality alarm", "loss", "fail", "a mean loss of .5", severity="error")
    going = {"quality alarm": Episode("shop/quality alarm/1", "2026-11-20T10:00", 1, worst)}
    look = Look("shop", "1", 0.0, 0, (Status("quality", open=going), Status("canary")))
    states = [(line.name, line.state) for line in watch_lines(look)]
    assert states == [("quality", "warning"), ("quality alarm", "error"), ("canary", "well")]
