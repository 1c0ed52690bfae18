"""The blocks of docs/journal.md hold."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import modelwright as mw
from modelwright.core.intake import feeds_from_rows
from modelwright.core.schema import Target
from modelwright.core.spec_file import parse_spec
from modelwright.core.spec_serve import ServeSpec
from modelwright.serve import journal_files
from modelwright.serve.from_spec import settings_from
from modelwright.serve.journal import Recorder
from modelwright.serve.journal_store import place_of
from modelwright.serve.label_bodies import AHEAD, read_labels
from modelwright.serve.labels import Sender
from modelwright.serve.live import LiveModel
from modelwright.serve.messages import Answered, Question
from modelwright.serve.metrics import Counts
from modelwright.serve.settings import Journaling, Settings
from modelwright.watch import labels as watched
from test_docs import blocks
from watch.answers import NOW, answered

PAGE = "docs/journal.md"
TEXT = (Path(__file__).resolve().parents[1] / PAGE).read_text(encoding="utf-8")


def settings(tmp_path: Path, text: str) -> Journaling:
    head = "name: shop\ndata: {source: shop.csv, target: bought}\n"
    spec = parse_spec(head + text, tmp_path / "modelwright.yaml").spec
    return settings_from(spec.serve, (), {}, folder=tmp_path).journal


def test_the_spec_is_right_and_shows_the_defaults(tmp_path: Path) -> None:
    [text] = blocks(PAGE, 'yaml title="modelwright.yaml"')
    found = settings(tmp_path, text)
    assert found == Journaling(to=str(tmp_path / "journal"))
    short = settings(tmp_path, "serve: {journal: {to: 's3://bucket/j', keep: 2 d}}")
    assert (short.to, short.keep) == ("s3://bucket/j", 2 * 86_400.0)
    assert settings(tmp_path, "") == Journaling()


def test_a_place_on_the_command_line_switches_it_on_or_moves_it(tmp_path: Path) -> None:
    found = settings_from(ServeSpec(), (), {}, folder=tmp_path, journal="kept")
    assert found.journal == Journaling(to=str(tmp_path / "kept"))
    spec = ServeSpec.model_validate({"journal": {"to": "journal", "rows": 7}})
    moved = settings_from(spec, (), {}, folder=tmp_path, journal="memory://j").journal
    assert (moved.to, moved.rows) == ("memory://j", 7)
    assert settings_from(spec, (), {}, journal=None).journal.to.endswith("/journal")
    with pytest.raises(mw.ModelwrightError, match="journal has no place"):
        settings_from(spec, (), {}, journal=" ")


def test_the_table_of_columns_is_whole_and_the_code_runs(
    released: mw.Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = released.run / "artefact"
    live = LiveModel.load(folder, Settings(models=()), name="shop", version="3", tried=True)
    feeds = feeds_from_rows(live.schema, [live.manifest.example])
    recorder = Recorder(Journaling(to="journal"), Counts())
    found = Answered(Question(feeds, 1), live.run(feeds), live)
    recorder.answered("r-1", time.perf_counter(), 0.001, found)
    recorder.close()
    names = set(journal_files.rows("journal").column_names)
    documented = set(re.findall(r"`([\w<>]+)`", "".join(re.findall(r"^\| `.*?\|", TEXT, re.M))))
    plain = {name for name in documented if "<" not in name}
    assert plain - names == {"low", "high"}
    assert all(re.match(r"[fp]_", name) for name in names - plain)
    [code] = blocks(PAGE, "python")
    space: dict[str, object] = {}
    exec(code, space)  # the page's own
    table = space["table"]
    assert isinstance(table, pa.Table) and table.to_pydict()["request_id"] == ["r-1"]


def test_the_labels_of_the_page_are_taken_and_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [shell] = blocks(PAGE, "bash")
    body = shell[shell.index("{") : shell.rindex("}") + 1].encode()
    target = Target("bought", "binary", "string", ("no", "yes"))
    found = read_labels(target, "application/json", body, 10, 1_900_000_000_000_000)
    assert (found.ids, found.rows, found.labels) == (["r-1", "r-2"], [0, 3], ["yes", "no"])
    answered("journal", ["r-1"], at=NOW)
    Sender(place_of("journal")).send("shop", found)
    [code] = blocks(PAGE, 'python title="labels.py"')
    space: dict[str, Any] = {}
    exec(code, space)  # the page's own
    assert space["table"]["label"].to_pylist() == ["yes"] and space["waiting"] == 1
    assert len(space["news"]) == 1 and len(space["cursor"].pending) == 1


def test_the_page_says_the_limits_of_labels() -> None:
    assert AHEAD == watched.PATIENCE * 1e6 == 86_400e6
    assert f"at most {watched.MOST_PENDING:,} at a time" in TEXT
