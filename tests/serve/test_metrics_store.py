"""Several real processes, one set of numbers: killed ones included, and nothing goes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelwright.serve.metrics import Book, Counts, Timing
from modelwright.serve.metrics_store import Keeper, join, new_folder, read_all, remove_folder
from modelwright.serve.processes import is_alive, measure, started_at


@pytest.fixture
def folder() -> Iterator[Path]:
    found = new_folder()
    yield found
    remove_folder(found)
    assert not found.exists()


class Worker:
    """A forked process that counts what it is told to, and answers when that is on file."""

    def __init__(self, folder: Path, place: int) -> None:
        told, self._tell = os.pipe()
        self._hear, answer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:  # pragma: no cover
            try:
                counts = Counts()
                keeper = Keeper(folder, counts, place)
                os.write(answer, b"+")
                while word := os.read(told, 1):
                    counts.request("predict", 200, "shop", "1")
                    counts.in_flight[0] = word[0]
                    counts.histogram("modelwright_batch_rows", (1.0,), "shop", "1").observe(1)
                    keeper.save()
                    os.write(answer, b"+")
            finally:
                os._exit(0)
        os.close(told)
        os.close(answer)
        assert os.read(self._hear, 1) == b"+"

    def count(self, in_flight: int = 1) -> None:
        os.write(self._tell, bytes([in_flight]))
        assert os.read(self._hear, 1) == b"+"

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._tell)
        os.close(self._hear)


def requests(folder: Path) -> float:
    book, _ = read_all(folder)
    return book.counters["modelwright_requests_total"]["200", "predict", "shop", "1"][0]


def test_killed_workers_keep_their_counters_and_lose_their_gauges(folder: Path) -> None:
    workers = [Worker(folder, place) for place in (0, 1)]
    for worker in workers:
        for _ in range(3):
            worker.count(in_flight=5)
    book, alive = read_all(folder)
    assert requests(folder) == 6 and set(alive) == {0, 1}
    assert book.gauges["modelwright_in_flight"][()] == [10]
    assert book.gauges["modelwright_workers"][()] == [2]
    seen = 6.0
    for round_ in range(5):
        workers[0].kill()
        assert requests(folder) == seen
        book, alive = read_all(folder)
        assert set(alive) == {1} and book.gauges["modelwright_in_flight"][()] == [5]
        workers[0] = Worker(folder, 0)
        assert requests(folder) == seen
        workers[0].count()
        seen += 1
        assert requests(folder) == seen
        book, _ = read_all(folder)
        assert book.counters["modelwright_worker_restarts_total"][()] == [round_ + 1]
    assert book.histograms["modelwright_batch_rows"]["shop", "1"].counts == [seen, 0]
    assert len(list(folder.glob("*.counts"))) == 3  # two workers, and all that ended
    for worker in workers:
        worker.kill()
    assert requests(folder) == seen


def test_nothing_is_written_when_nothing_changed(folder: Path) -> None:
    counts = Counts()
    keeper = Keeper(folder, counts)
    assert not keeper.save()
    counts.request("predict", 200)
    assert keeper.save() and not keeper.save()


def test_a_folder_that_is_gone_loses_the_write_only(folder: Path) -> None:
    counts = Counts()
    keeper = Keeper(folder, counts)
    remove_folder(folder)
    counts.request("predict", 200)
    assert not keeper.save()
    folder.mkdir()


def test_the_folder_of_a_killed_supervisor_is_removed_by_the_next(folder: Path) -> None:
    hear, answer = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover
        os.write(answer, os.fsencode(new_folder()))
        os._exit(0)
    left = Path(os.fsdecode(os.read(hear, 4096)))
    os.waitpid(pid, 0)
    assert left.exists() and left.stat().st_mode & 0o777 == 0o700
    remove_folder(new_folder())
    assert not left.exists() and folder.exists()
    os.close(hear)
    os.close(answer)


def test_a_later_process_with_the_same_number_is_not_taken_for_the_worker() -> None:
    assert is_alive(os.getpid(), started_at(os.getpid()))
    assert not is_alive(os.getpid(), started_at(os.getpid()) + 1)
    assert not is_alive(2**22 + 1, 0)


def test_histograms_with_other_edges_are_joined_on_the_edges_of_both() -> None:
    name, labels = "modelwright_request_seconds", ("predict", "shop", "1")
    one = Timing((1.0, 2.0, 3.0), [1, 2, 3, 4], 10.0)
    two = Timing((1.0, 2.5, 3.0), [10, 20, 30, 40], 5.0)
    found = join(Book(histograms={name: {labels: timing}}) for timing in (one, two))
    timing = found.histograms[name][labels]
    assert timing.edges == (1.0, 3.0) and timing.counts == [11, 55, 44] and timing.total == 15.0
    assert one.counts == [1, 2, 3, 4]


def test_what_the_kernel_knows() -> None:
    book = measure({0: os.getpid(), 1: 2**22 + 1})
    assert book.gauges["process_resident_memory_bytes"]["0",][0] > 1e7
    [[whole]] = book.gauges["modelwright_memory_bytes"].values()
    assert 5e6 < whole < 1e11
    assert book.counters["process_cpu_seconds_total"]["0",][0] > 0
    assert 1.6e9 < book.gauges["process_start_time_seconds"]["0",][0] < 1e10
    assert ("1",) not in book.gauges["process_open_fds"]
