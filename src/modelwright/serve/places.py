"""Where a version's files are on this machine; what is not here is fetched by a child process.

A folder counts only below the project's `runs/` or `.modelwright/`, reached without a link, and
when its bytes have the digest that the registry gives (and a trusted signature, where keys are
set).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import msgspec

from modelwright.core.errors import ModelwrightError
from modelwright.release.cache import CACHE, checked
from modelwright.serve.aliases import Place

FETCH_SECONDS = 600.0
RETRY_SECONDS = 30.0
UNDER_WAY = "is being fetched."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Fetch:
    """A child process that brings a version's files into the project's cache."""

    def __init__(self, project: Path, model: str, version: str, what: str) -> None:
        command = [
            sys.executable, "-m", "modelwright.release.fetch", model, version,
            "--project", str(project), "--what", what,
        ]  # fmt: skip
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed when it has ended
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._said,
            env={**os.environ, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"},
        )  # fmt: skip

    def ended(self) -> str | None:
        """None while it goes on; then nothing, or why it failed."""
        if self._process.poll() is None:
            if time.monotonic() - self._began < FETCH_SECONDS:
                return None
            self.kill()
            return f"it took longer than {FETCH_SECONDS:g} s"
        said = b""
        if not self._said.closed:
            self._said.seek(0)
            said = self._said.read(2**20)
            self._said.close()
        if self._process.returncode == 0:
            return ""
        last = said.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        return last[0].removeprefix("modelwright: ")[:300]

    def kill(self) -> None:
        """End it, and wait until it has."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._said.close()


class Places:
    """Folders of one model's versions.

    Args:
        project: the project folder.
        model: the registered model's name, under which signatures must be.
    """

    def __init__(self, project: Path, model: str) -> None:
        self._project, self._model = project, model
        self._roots = (project / "runs", project / ".modelwright")
        self._found: dict[str, str] = {}
        self._fetch: tuple[str, Fetch] | None = None
        self._failed: dict[str, tuple[float, str]] = {}

    def find(self, version: str, digest: str, run: str, what: str) -> tuple[str, str]:
        """The folder of a version, or an empty text and why there is none yet.

        Args:
            what: `artefact`, the model, or `baseline`.
        """
        if not _DIGEST.fullmatch(digest):
            return "", f"Version {version} of {self._model} has no digest in the registry."
        known = self._found.get(digest)
        if known is not None and Path(known).is_dir():
            return known, ""
        folders = [self._project / ".modelwright" / CACHE / digest]
        if _NAME.fullmatch(run):
            folders.insert(0, self._project / "runs" / run / what)
        for folder in folders:
            if self._is_right(folder, digest):
                self._found[digest] = str(folder)
                return str(folder), ""
        return "", self._fetched(version, digest, what)

    def again(self, place: Place) -> Place:
        """A place that was noted earlier: without its folder when that is not right any more."""
        if place.folder and self._is_right(Path(place.folder), place.digest):
            return place
        return msgspec.structs.replace(place, folder="", problem="Its files are not here.")

    def changed(self) -> bool:
        """Whether a fetch has ended, or one that failed is to be tried again."""
        if self._fetch is not None:
            digest, fetch = self._fetch
            said = fetch.ended()
            if said is None:
                return False
            self._fetch = None
            if said:
                self._failed[digest] = (time.monotonic(), said)
            return True
        now = time.monotonic()
        return any(now - at > RETRY_SECONDS for at, _ in self._failed.values())

    def close(self) -> None:
        """End a fetch."""
        if self._fetch is not None:
            self._fetch[1].kill()
            self._fetch = None

    def _fetched(self, version: str, digest: str, what: str) -> str:
        """Begin a fetch, unless one is going on or has just failed; what to say meanwhile."""
        at, why = self._failed.get(digest, (0.0, ""))
        if why and time.monotonic() - at < RETRY_SECONDS:
            return f"Version {version} of {self._model} cannot be fetched: {why}"
        if self._fetch is None:
            self._failed.pop(digest, None)
            self._fetch = digest, Fetch(self._project, self._model, version, what)
        return f"Version {version} of {self._model} {UNDER_WAY}"

    def _is_right(self, folder: Path, digest: str) -> bool:
        if not self._is_inside(folder):
            return False
        try:
            checked(folder, digest, self._model)
        except (ModelwrightError, OSError):
            return False
        return True

    def _is_inside(self, folder: Path) -> bool:
        """Below an allowed root, and no link on the way from the root to each file."""
        for root in self._roots:
            if folder.is_relative_to(root):
                real = root.resolve() / folder.relative_to(root)
                return folder.is_dir() and folder.resolve() == real
        return False
