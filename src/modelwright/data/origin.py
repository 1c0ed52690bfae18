"""Where a table comes from: the version that DVC or git knows it by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from modelwright.core.git import state_of


def origin_of(source: str, folder: Path) -> dict[str, str]:
    """The DVC hash and the git commit of a source that is a file or folder; empty for others.

    Args:
        source: as in the spec.
        folder: of the spec.
    """
    path = folder / source
    if "://" in source or not path.exists():
        return {}
    found = dvc_hash(path)
    origin = {"dvc": found} if found else {}
    return origin | (state_of(path) if path.is_file() else {})


def dvc_hash(path: Path) -> str:
    """The hash in `<file>.dvc`, or in the nearest `dvc.lock` above; empty when there is none."""
    pointer = path.with_name(f"{path.name}.dvc")
    for out in _documents(pointer).get("outs", []) or []:
        if isinstance(out, dict) and out.get("path") == path.name:
            return _hash(out)
    for folder in path.resolve().parents:
        stages = _documents(folder / "dvc.lock").get("stages", {})
        for stage in stages.values() if isinstance(stages, dict) else ():
            entries = [*(stage.get("outs") or []), *(stage.get("deps") or [])]
            for entry in entries:
                if (folder / str(entry.get("path"))).resolve() == path.resolve():
                    return _hash(entry)
        if (folder / ".dvc").is_dir() or (folder / ".git").exists():
            break
    return ""


def _documents(path: Path) -> dict[str, Any]:
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, YAMLError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _hash(entry: dict[str, Any]) -> str:
    for kind in ("md5", "etag", "checksum"):
        if entry.get(kind):
            return f"{kind} {entry[kind]}"
    return ""
