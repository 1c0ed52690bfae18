"""A spec file that was edited after the release, and the version that does not go by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import modelwright as mw
from modelwright.core.records import Finding
from modelwright.serve.from_spec import server_settings
from serve.running import started
from ways_in.test_cli import cli


def edited(project: Path, more: str, **changes: str) -> None:
    """The spec file with other words in it, and more below them."""
    path = project / "modelwright.yaml"
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(f"{text}{more}\n", encoding="utf-8")


def told(project: Path, **said: Any) -> dict[str, Finding]:
    return {one.subject: one for one in mw.as_released("shop", folder=project, **said)}


def test_a_file_that_was_not_edited_agrees(project: Path) -> None:
    assert told(project) == {}
    edited(project, "watch: {every: 2 min, store_env: WATCH_DSN}\nserve: {port: 8000}")
    assert told(project) == {}, "what only the watcher reads, and a default that is written out"


@pytest.mark.parametrize(
    ("serve", "subject", "before", "now", "advice"),
    [
        ("journal: {to: answers}", "serve.journal.to", "none", "answers",
         "serve with --journal answers, or release what the file says (modelwright run)"),
        ("port: 9000", "serve.port", "8000", "9000", "serve with --port 9000, or release"),
        ("metrics_port: 9090", "serve.metrics_port", "none", "9090", "--metrics-port 9090"),
        ("workers: 2", "serve.workers", "1", "2", "--workers 2"),
        ("access_log: true", "serve.access_log", "false", "true", "serve with --access-log, or"),
        ("key: colour", "serve.key", "none", "colour", "release what the file says"),
        ("breaker: {pause: 9 s}", "serve.breaker.pause", "5", "9", "released value back"),
        ("tls: {certificate: c.pem, key: k.pem}", "serve.tls", "none",
         '{"certificate": "c.pem", "key": "k.pem"}', "release what the file says"),
    ],
)  # fmt: skip
def test_each_key_is_named_with_both_values_and_what_to_do(
    project: Path, serve: str, subject: str, before: str, now: str, advice: str
) -> None:
    edited(project, f"serve: {{{serve}}}")
    [(found, one)] = told(project).items()
    assert (found, one.measured, one.wanted) == (subject, f"version 1: {before}", f"file: {now}")
    assert advice in one.advice and (one.verdict, one.severity) == ("fail", "warning")


def test_a_column_that_became_private_is_an_error(project: Path) -> None:
    edited(project, "", **{"positive: 'yes'": "positive: 'yes', private: [colour]"})
    one = told(project)["data.private colour"]
    assert (one.measured, one.wanted) == ("version 1: kept", "file: private")
    assert one.severity == "error" and "go into the journal" in one.why


def test_what_the_command_line_says_is_in_force(project: Path) -> None:
    edited(project, "serve: {port: 9000, journal: {to: answers, sample: 0.5}}")
    here = str(project / "answers")
    for same in ("answers", "./answers/", here):
        assert told(project, journal=same, port=7000) == {}
    assert told(project, journal=None, port=None).keys() == {"serve.journal.to", "serve.port"}
    other = told(project, journal="elsewhere", port=7000)["serve.journal.to"]
    assert (other.measured, other.wanted) == ("command line: elsewhere", "file: answers")
    assert "the watcher reads the file's journal" in other.why


def test_a_journal_that_only_the_command_line_has_is_missed_by_nobody(project: Path) -> None:
    edited(project, "serve: {port: 8000}")
    assert told(project, journal="elsewhere") == {}


def test_a_login_is_not_shown(project: Path) -> None:
    edited(project, "serve: {journal: {to: 's3://ada:pw@bucket/x'}}")
    assert told(project)["serve.journal.to"].wanted == "file: s3://***@bucket/x"


def test_a_file_about_something_else_says_nothing(project: Path) -> None:
    edited(project, "serve: {port: 9000}", **{"name: shop": "name: other"})
    assert told(project) == {}
    edited(project, "nonsense: [")
    assert told(project) == {}
    (project / "modelwright.yaml").unlink()
    assert told(project) == {}


def test_a_model_folder_is_held_against_the_file_too(project: Path) -> None:
    edited(project, "serve: {port: 9000}")
    folder, _ = mw.locate("shop", folder=project)
    [one] = mw.as_released(str(folder), folder=project)
    assert (one.subject, one.measured) == ("serve.port", "the model folder: 8000")
    assert mw.as_released("shop/1", folder=project)[0].measured == "version 1: 8000"


def test_the_command_line_tells_and_serves_as_released(project: Path) -> None:
    edited(project, "serve: {journal: {to: answers}, metrics_port: 9191}")
    words = ("-m", "modelwright", "serve", "shop", "--port", "0")
    with started(project, *words) as server:
        said = " ".join(server.errors.read_text(encoding="utf-8").split())
    assert "! serve.journal.to: version 1: none, file: answers;" in said
    assert "What to do: serve with --journal answers, or release what the file says" in said
    assert "! serve.metrics_port: version 1: none, file: 9191; the watcher looks for" in said
    assert "serve.port" not in said and server_settings(["shop"]).metrics_port is None


def test_doctor_tells_too(project: Path) -> None:
    edited(project, "serve: {port: 9000}")
    done = cli(project, "doctor", "--json")
    assert done.returncode == 0, done.stderr
    found = [one for one in json.loads(done.stdout)["findings"] if one["check"] == "as released"]
    assert [(one["subject"], one["severity"]) for one in found] == [("serve.port", "warning")]
