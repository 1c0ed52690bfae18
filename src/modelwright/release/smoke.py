"""A model's first answers, given in a child process that may die.

A few hundred bytes of ONNX can ask for any amount of memory or time, which no look at the file
tells. So before a model is registered or promoted, a child with bounded memory and a deadline
loads it and answers the example of its manifest, alone and as a full batch.

    python -m modelwright.release.smoke FOLDER --digest SHA256 --memory BYTES
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

from modelwright.core.errors import ArtefactError, ModelwrightError
from modelwright.core.intake import Feeds, feeds_from_rows
from modelwright.pack.artefact import MODEL, ROWS_A_RUN, Artefact

SECONDS = 60.0
MEMORY = 2 * 2**30
"""Bytes of address space beyond Python and its libraries; a large model gets more."""
TIMES_MODEL = 8
"""A loaded graph takes a few times its file: weights are copied and laid out anew."""


def try_out(
    folder: Path, digest: str, *, seconds: float = SECONDS, memory: int | None = None
) -> None:
    """Let a child load a model folder and answer with it.

    Args:
        folder: the model folder.
        digest: sha256 that its manifest.json must have.
        seconds: the child is killed after that.
        memory: bytes that the model may take; default 2 GiB and eight times its file.

    Raises:
        ArtefactError: it was refused, answered nonsense, crashed, took too much memory or time.
    """
    if memory is None:
        model = folder / MODEL
        memory = MEMORY + TIMES_MODEL * (model.stat().st_size if model.is_file() else 0)
    command = [
        sys.executable, "-m", "modelwright.release.smoke", str(folder), "--digest", digest,
        "--memory", str(memory),
    ]  # fmt: skip
    bounds = f"{memory / 2**30:.1f} GiB and {seconds:g} s"
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise ArtefactError(
            f"{folder} was refused: it did not answer its own example within {seconds:g} s.",
            hint="Nothing was changed. It was tried in a process of its own, which was killed.",
        ) from error
    if done.returncode == 0:
        return
    said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
    how = f"was killed by signal {-done.returncode}" if done.returncode < 0 else "failed"
    raise ArtefactError(
        f"{folder} was refused: a process that answered its example {how} (allowed: {bounds}): "
        f"{said[0].removeprefix('modelwright: ')[:300]}",
        hint="Nothing was changed.",
    )


def answer(folder: Path, digest: str) -> None:
    """Load a folder and answer its example: one row, then a full batch of it.

    Raises:
        ArtefactError: it cannot be loaded, or an answer is not finite or not always the same.
    """
    model = Artefact.load(folder, digest=digest)
    one = np.asarray(model.answer(_feeds(model, 1)).raw)
    many = np.asarray(model.answer(_feeds(model, ROWS_A_RUN)).raw)
    if not (np.isfinite(one).all() and np.isfinite(many).all()):
        raise ArtefactError(f"{folder} answers its own example with {one.ravel()[:5].tolist()}.")
    if len(one) != 1 or len(many) != ROWS_A_RUN or not np.allclose(many, one[0], atol=1e-6):
        raise ArtefactError(f"{folder} answers the same row differently in a batch.")


def main() -> int:
    """The child: bound this process, then answer; 0 when all is well."""
    parser = argparse.ArgumentParser(prog="modelwright.release.smoke")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--digest", required=True)
    parser.add_argument("--memory", type=int, required=True)
    given = parser.parse_args()
    _bound(given.memory)
    try:
        answer(given.folder, given.digest)
    except MemoryError:
        print("modelwright: out of memory.", file=sys.stderr)
        return 3
    except ModelwrightError as error:
        print(f"modelwright: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _feeds(model: Artefact, rows: int) -> Feeds:
    return feeds_from_rows(model.schema, [model.manifest.example] * rows)


def _bound(memory: int) -> None:
    """Let this process take so many bytes more than it has, and leave no core file."""
    import resource  # not there on Windows, where only this call fails

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    most = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main())
