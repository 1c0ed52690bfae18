"""What a look looks at, and what it is held against."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import modelwright as mw
from modelwright.core.errors import DataError, UsageError
from modelwright.core.spec_file import parse_spec
from modelwright.release.registry import Registry
from modelwright.watch.names import Names
from modelwright.watch.reference import FILE, fetch_reference
from modelwright.watch.subject import journal_place, subject
from modelwright.watch.summaries import PREDICTION, SCORE
from watch.live import BEGIN, Live, copied


@pytest.fixture
def live(released: mw.Released, tmp_path: Path) -> Iterator[Live]:
    found = copied(released, tmp_path / "project")
    yield found
    found.close()


def kept(live: Live) -> Path:
    [found] = live.folder.glob(f"runs/*/{FILE}")
    found.chmod(0o644)
    return found


def test_the_journal_is_of_the_project_or_elsewhere(tmp_path: Path) -> None:
    text = "name: shop\ndata: {source: a.csv, target: b}\n"
    place = tmp_path / "modelwright.yaml"
    here = parse_spec(text + "serve: {journal: {to: journal}}", place).spec
    assert journal_place(here, tmp_path) == str(tmp_path / "journal")
    far = parse_spec(text + "serve: {journal: {to: 's3://bucket/journal'}}", place).spec
    assert journal_place(far, tmp_path) == "s3://bucket/journal"
    with pytest.raises(UsageError, match="keeps no journal"):
        journal_place(parse_spec(text, place).spec, tmp_path)


def test_answers_are_settled_when_their_file_is_closed(live: Live) -> None:
    assert live.subject(BEGIN + 100).settled == BEGIN + 100 - 1 - 5  # every: 1 s


def test_without_a_champion_there_is_no_subject(live: Live) -> None:
    spec = live.subject(BEGIN).spec
    Registry(live.folder).remove_alias("shop", "champion")
    assert subject(spec, live.folder, live.library, live.store, BEGIN) is None


def test_who_is_not_in_the_registry_is_nobody(live: Live) -> None:
    known = live.library.get("1")
    assert live.library.manifest_of("shop", "1", known.digest) == known.manifest
    assert live.library.manifest_of("shop", "1", "f" * 64) is None
    assert live.library.manifest_of("shop", "9", known.digest) is None
    assert live.library.manifest_of("other", "1", known.digest) is None


def test_the_reference_is_what_folds_said_of_the_training_rows(live: Live) -> None:
    found = live.library.get("1").live
    assert found is not None and found.digest == live.library.get("1").digest
    assert 0 < found.loss.low < found.loss.value < found.loss.high < 0.5
    assert set(found.reference.first) == {PREDICTION, SCORE}
    assert found.calibrator is not None and found.curve is None
    held = found.reference.whole.columns["f_size, cm"]
    assert int(np.sum(held.bins)) <= found.rows


def test_a_reference_of_another_model_is_refused_and_a_missing_one_is_none(live: Live) -> None:
    version, path = live.library.get("1").version, kept(live)
    given = json.loads(path.read_text())
    path.write_text(json.dumps({**given, "digest": "f" * 64}))
    with pytest.raises(DataError, match="belongs to another model than version 1"):
        fetch_reference(live.library.registry, version)


def test_names_in_sentences() -> None:
    names = Names(("f_size, cm", "f_size", "score"))
    assert names.words("f_size, cm and f_size of f_sizes") == "size, cm and size of f_sizes"
    assert names.shown("f_unknown") == "f_unknown"
    assert Names(()).words("f_size") == "f_size"
