"""What the watcher's file says that the champion does not go by."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import modelwright as mw
from modelwright.core.store import sha256
from modelwright.watch.subject import Known
from modelwright.watch.unlike import unlike_now
from projects import writable_copy
from watch.live import BEGIN, END, Live, usual


def released_with(found: Live, folder: Path, serve: dict[str, object]) -> Known:
    """The champion as if it had been released with another `serve:`."""
    known = found.library.get("1")
    place = writable_copy(known.artefact.folder, folder)
    spec = json.loads((place / "spec.json").read_bytes())
    data = json.dumps({**spec, "serve": {**spec["serve"], **serve}}).encode()
    (place / "spec.json").write_bytes(data)
    manifest = json.loads((place / "manifest.json").read_bytes())
    if "spec.json" in manifest["files"]:
        manifest["files"]["spec.json"] = sha256(data)
    (place / "manifest.json").write_text(json.dumps(manifest))
    return Known(known.version, mw.Artefact.load(place), known.live)


def test_a_version_without_a_journal_is_told_until_it_answers_into_the_files(project: Path) -> None:
    found = Live.of(project)
    look = found.look(END)
    assert [one.subject for one in look.unlike] == ["serve.journal.to"]
    assert (look.unlike[0].measured, look.unlike[0].wanted) == ("version 1: none", "file: journal")
    found.answer(usual(1), BEGIN)
    assert found.look(END + 60).unlike == ()
    (project / "journal").rename(project / "journal of before")
    (project / "journal").write_text("no folder")
    assert [one.subject for one in unlike_now(found.subject(END))] == ["serve.journal.to"]
    found.close()


def test_a_minute_is_waited_for_as_long_as_the_server_keeps_a_file_open(
    project: Path, tmp_path: Path
) -> None:
    found = Live.of(project)
    seen = found.subject(END)
    assert END - seen.settled == 6.0, "a second, as the file says, and what is allowed for lateness"
    champion = released_with(found, tmp_path / "slow", {"journal": {"to": "old", "every": 60}})
    slow = dataclasses.replace(seen, champion=champion)
    assert END - slow.settled == 65.0, "the server closes its files as the version says"
    told = {one.subject: (one.measured, one.wanted) for one in unlike_now(slow)}
    assert told == {
        "serve.journal.to": ("version 1: old", "file: journal"),
        "serve.journal.every": ("version 1: 60", "file: 1"),
    }
    champion = released_with(found, tmp_path / "quick", {"journal": {"to": "old", "every": 0.1}})
    assert END - dataclasses.replace(seen, champion=champion).settled == 6.0
    found.close()
