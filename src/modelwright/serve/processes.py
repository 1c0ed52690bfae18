"""What the kernel and the driver know about workers: memory, time, GPUs. Never an error."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from modelwright.serve.metrics import Book

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def is_alive(pid: int, started: int) -> bool:
    """Whether that very process lives; one that waits to be reaped does not.

    Args:
        pid: its number.
        started: what `started_at` said of it.
    """
    fields = _stat(pid)
    if fields is not None:
        return fields[0] not in "ZX" and int(fields[19]) == started
    if _PROC.is_dir():
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def started_at(pid: int) -> int:
    """The start of a process in ticks since boot; 0 where there is no /proc."""
    fields = _stat(pid)
    return int(fields[19]) if fields is not None else 0


def measure(workers: Mapping[int, int]) -> Book:
    """CPU, memory, start and open files of live workers, and GPUs where there are any.

    Args:
        workers: worker -> pid.
    """
    book = Book()
    boot = _boot_time()
    for worker, pid in workers.items():
        fields, label = _stat(pid), (str(worker),)
        if fields is None:
            continue
        seconds = (int(fields[11]) + int(fields[12])) / _TICKS
        book.counters.setdefault("process_cpu_seconds_total", {})[label] = [seconds]
        figures = {
            "process_resident_memory_bytes": int(fields[21]) * _PAGE_BYTES,
            "process_start_time_seconds": boot + int(fields[19]) / _TICKS,
            "process_open_fds": _open_files(pid),
        }
        for name, value in figures.items():
            book.gauges.setdefault(name, {})[label] = [value]
    memory = _memory_of(workers.values())
    if memory:
        book.gauges["modelwright_memory_bytes"] = {(): [memory]}
    for name, values in _gpus().items():
        book.gauges[name] = {(gpu,): [value] for gpu, value in values.items()}
    return book


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/pid/stat from the third (state) on; the second may hold blanks."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return text.rpartition(")")[2].split()


def _memory_of(workers: Iterable[int]) -> int:
    """Proportional shares of the workers and of the process that forked them, as `pack` measures
    the limit on memory; 0 where the kernel does not tell."""
    parents = {int(fields[1]) for fields in map(_stat, workers) if fields is not None} - {0}
    return sum(map(_share, {*workers, *parents}))


def _share(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _open_files(pid: int) -> int:
    try:
        return sum(1 for _ in (_PROC / str(pid) / "fd").iterdir())
    except OSError:
        return 0


@functools.cache
def _boot_time() -> float:
    try:
        lines = (_PROC / "stat").read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) for line in lines if line.startswith("btime")), 0.0)


class _Use(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_ulonglong) for name in ("total", "free", "used"))


@functools.cache
def _driver() -> ctypes.CDLL | None:
    """NVIDIA's management library, part of the driver; None where there is none."""
    try:
        found = ctypes.CDLL("libnvidia-ml.so.1")
        return found if found.nvmlInit_v2() == 0 else None
    except (OSError, AttributeError):
        return None


def _gpus() -> dict[str, dict[str, float]]:
    """Metric -> uuid of the GPU -> value. NVML: docs.nvidia.com/deploy/nvml-api."""
    driver = _driver()
    found: dict[str, dict[str, float]] = {}
    if driver is None:
        return found
    count = ctypes.c_uint()
    if driver.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
        return found
    for index in range(count.value):
        device, memory, use = ctypes.c_void_p(), _Memory(), _Use()
        if driver.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) != 0:
            continue
        name = ctypes.create_string_buffer(96)
        known = driver.nvmlDeviceGetUUID(device, name, 96) == 0
        gpu = name.value.decode("ascii", "replace") if known else str(index)
        if driver.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == 0:
            found.setdefault("modelwright_gpu_memory_used_bytes", {})[gpu] = memory.used
            found.setdefault("modelwright_gpu_memory_total_bytes", {})[gpu] = memory.total
        if driver.nvmlDeviceGetUtilizationRates(device, ctypes.byref(use)) == 0:
            found.setdefault("modelwright_gpu_utilization", {})[gpu] = use.gpu / 100
    return found
