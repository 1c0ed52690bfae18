"""Whatever is told, and however fast: the files say the last of it, and every line once."""

from __future__ import annotations

import math
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.progress import BoardLine
from modelwright.core.store import from_json
from modelwright.ways_in.job_files import LOG, PROGRESS, Line, Told
from modelwright.ways_in.job_progress import EVERY, JobProgress

WORDS = st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace").decode())
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("stage"), WORDS, WORDS),
        st.tuples(st.just("step"), NUMBERS, NUMBERS, WORDS),
        st.tuples(st.just("say"), WORDS),
        st.tuples(
            st.just("board"), st.lists(st.builds(BoardLine, WORDS, WORDS, WORDS, WORDS), max_size=3)
        ),
    ),
    max_size=30,
)


def lines(folder: Path) -> list[str]:
    path = folder / LOG
    text = path.read_bytes().splitlines() if path.exists() else []
    return [from_json(line, Line).text for line in text]


@settings(max_examples=25, deadline=None)
@given(CALLS)
def test_the_files_say_what_was_told_last(
    tmp_path_factory: object, calls: list[tuple[object, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("job")
    with JobProgress(folder) as progress:
        for name, *given_ in calls:
            getattr(progress, name)(*given_)
    told = from_json((folder / PROGRESS).read_bytes(), Told)
    wanted = Told()
    said = []
    for name, *words in calls:
        if name == "stage":
            wanted = Told(stage=words[0], detail=words[1])
            said.append(f"{words[0]}: {words[1]}" if words[1] else words[0])
        elif name == "say":
            said.append(words[0])
        elif name == "board":
            wanted = Told(
                wanted.stage, wanted.detail, wanted.done, wanted.total, wanted.note,
                tuple(line._asdict() for line in words[0]),
            )  # fmt: skip
        else:
            known = all(map(math.isfinite, words[:2])) and words[1] > 0
            done, total = words[:2] if known else (0.0, 0.0)
            wanted = Told(wanted.stage, wanted.detail, done, total, words[2], wanted.board)
    assert told == wanted
    assert lines(folder) == said


def test_many_steps_are_few_writes(tmp_path: Path) -> None:
    """Each write is a new file, with a time of its own."""
    path = tmp_path / PROGRESS
    written = set()
    began = time.monotonic()
    with JobProgress(tmp_path) as progress:
        progress.stage("fit")
        for number in range(50_000):
            progress.step(number + 1, 50_000)
            if path.exists():
                written.add(path.stat().st_mtime_ns)
    told = from_json(path.read_bytes(), Told)
    assert (told.done, told.total) == (50_000, 50_000)
    assert 1 <= len(written) <= (time.monotonic() - began) / EVERY + 2
    assert not list(tmp_path.glob(".*.part"))


def test_a_folder_that_is_gone_does_not_end_the_work(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    (tmp_path / "file").write_text("")
    folder.symlink_to(tmp_path / "file")  # nothing can be written below a file
    with JobProgress(folder) as progress:
        progress.stage("fit")
        progress.say("one")
    assert not (tmp_path / "file").read_text()
