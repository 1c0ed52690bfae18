"""What a spec file says that is not in force: a version is served as it was released.

`serve:` and the private columns are packed with a version; `watch:`, and where the watcher looks
for journal and server, is read from the file at hand. Whoever edits the file changes what the
watcher expects, and not what the server does, until the next release.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelwright.core.records import Finding, Manifest, Severity
from modelwright.core.redaction import redacted_text
from modelwright.core.spec import Spec
from modelwright.core.spec_serve import ServeSpec
from modelwright.core.store import from_json
from modelwright.pack.artefact import MANIFEST

CHECK = "as released"
OPTIONS = {
    "journal.to": "--journal", "host": "--host", "port": "--port", "grpc_port": "--grpc-port",
    "metrics_port": "--metrics-port", "workers": "--workers", "access_log": "--access-log",
}  # fmt: skip
"""Key of `serve:` -> option of `modelwright serve` that goes first."""
_FOUND_BY = ("host", "port", "metrics_port", "tls")
_TOLD_APART = ("breaker", "cache", "journal")
_READS = "the watcher reads the file's journal, the server writes its own"
_WHY = {
    "journal": _READS,
    "journal.to": _READS,
    "journal.every": "the server closes its files by the version; the watcher waits for the longer",
    "journal.keep": "the server removes answers by the version, the watcher labels by the file",
}
_NOTHING: Mapping[str, Any] = {}
_ELSEWHERE = "the watcher looks for the server where the file says"
_ANEW = "release what the file says (modelwright run)"


def released_serve(folder: Path) -> ServeSpec:
    """The `serve` part that a version was released with.

    Args:
        folder: of the model; its files were verified.
    """
    return ServeSpec.model_validate((_released(folder) or {}).get("serve", {}))


def unlike(
    place: Path, version: str, spec: Spec, project: Path, said: Mapping[str, Any] = _NOTHING
) -> tuple[Finding, ...]:
    """Where the file at hand and a released version disagree; empty where they agree.

    Args:
        place: the version's model folder.
        version: as it is called in words, such as "version 3".
        spec: of the file at hand.
        project: that a journal's path is relative to.
        said: for a server that begins: what its command line gave, by the names that
            `server_settings` takes. That is in force in place of the released value.

    Example:
        for finding in unlike(folder, "version 3", spec, project):
            print(finding.subject, finding.measured, finding.wanted, finding.advice)
    """
    saved = _released(place)
    if saved is None:
        return ()
    one, two = (_keys(part, project) for part in (released_serve(place), spec.serve))
    given = {
        "journal.to" if key == "journal" else key: value
        for key, value in said.items()
        if value is not None
    }
    if "journal.to" in given:
        one.pop("journal", None)
        one["journal.to"] = _place(given["journal.to"], project)
    if "journal.to" in given and spec.serve.journal is None:  # no watcher expects one elsewhere
        one.pop("journal.to")
        two.pop("journal", None)
    pairs = {key: (one[key], two[key]) for key in two if key in one}
    if "journal" not in pairs and "journal.to" not in pairs:
        pairs["journal.to"] = one.get("journal.to"), two.get("journal.to")
    found = [
        _serve(key, then, now, version, spec, key in given)
        for key, (then, now) in pairs.items()
        if then != now and (key not in given or key == "journal.to")
    ]
    found += _private(place, saved, version, spec)
    return tuple(found)


def _serve(
    key: str, then: Any, now: Any, version: str, spec: Spec, on_command_line: bool
) -> Finding:
    who = "command line" if on_command_line else version
    moved = key in _FOUND_BY and spec.serve.journal is not None and not spec.watch.server
    why = _ELSEWHERE if moved else _WHY.get(key, "the server goes by the version")
    return _finding(f"serve.{key}", (who, then), now, why, _advice(key, then, now, on_command_line))


def _advice(key: str, then: Any, now: Any, on_command_line: bool) -> str:
    if on_command_line:
        return "name the same place in both"
    option, said = OPTIONS.get(key), "" if now is True else f" {_shown(now)}"
    can = option and now is not None and now is not False  # a flag is there or not
    first = f"serve with {option}{said}, or " if can else ""
    back = ", or put the released value back into the file" if then is not None else ""
    return f"{first}{_ANEW}{back}"


def _private(place: Path, saved: Mapping[str, Any], version: str, spec: Spec) -> Iterator[Finding]:
    """Columns that the file keeps out of the journal and the version does not, and the reverse."""
    schema = from_json((place / MANIFEST).read_bytes(), Manifest, where=MANIFEST).schema
    kept = {column.name for column in schema.features if not column.private}
    for name in spec.data.private:
        if name in kept:
            yield _finding(
                f"data.private {name}", (version, "kept"), "private",
                "its values go into the journal",
                f"{_ANEW}, and promote that; remove what the journal holds already", "error",
            )  # fmt: skip
    for name in (saved.get("data") or {}).get("private", ()):
        if name not in spec.data.private:
            yield _finding(
                f"data.private {name}", (version, "private"), "kept",
                "it stays out of the journal and is not watched", _ANEW,
            )  # fmt: skip


def _finding(
    subject: str, then: tuple[str, Any], now: Any, why: str, advice: str,
    severity: Severity = "warning",
) -> Finding:  # fmt: skip
    measured, wanted = f"{then[0]}: {_shown(then[1])}", f"file: {_shown(now)}"
    return Finding(CHECK, subject, "fail", measured, wanted, why, advice, severity)


def _released(folder: Path) -> dict[str, Any] | None:
    path = folder / "spec.json"
    return from_json(path.read_bytes(), dict, where="spec.json") if path.exists() else None


def _keys(serve: ServeSpec, project: Path) -> dict[str, Any]:
    """Key as it is written in the file, below `serve:` -> value."""
    found: dict[str, Any] = {}
    for key, value in serve.model_dump(mode="json").items():
        if key in _TOLD_APART and isinstance(value, dict):
            found |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            found[key] = value
    if "journal.to" in found:
        found["journal.to"] = _place(found["journal.to"], project)
    return found


def _place(to: str, project: Path) -> str:
    """One name for one folder, however it was written."""
    if "://" in to:
        return to
    found = os.path.relpath(project.absolute() / to, project.absolute())
    return os.path.normpath(to) if found.startswith("..") else found


def _shown(value: Any) -> str:
    """A value as a person wrote it; logins of URLs are left out."""
    if value is None:
        return "none"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return redacted_text(value if isinstance(value, str) else json.dumps(value))
