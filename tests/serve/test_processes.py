"""What the kernel says of this process, and a C library with the calls of NVIDIA's of its GPUs."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from away import away
from modelwright.serve import processes

LIBRARY = r"""
#include <stdio.h>
#include <stdint.h>
#include <string.h>
typedef struct { unsigned int gpu, memory; } use_t;
typedef struct { unsigned long long total, free, used; } memory_t;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned int *n) { *n = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int i, void **device) {
  if (i == 1) return 15;                    /* the GPU is lost */
  *device = (void *)(uintptr_t)(i + 0x7f0000000000ULL);   /* a handle is as wide as a pointer */
  return 0;
}
static unsigned int place(void *device) { return (unsigned int)((uintptr_t)device & 0xff); }
int nvmlDeviceGetUUID(void *device, char *name, unsigned int room) {
  if ((uintptr_t)device >> 40 != 0x7f) return 2;
  snprintf(name, room, "GPU-%u", place(device));
  return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, memory_t *m) {
  if ((uintptr_t)device >> 40 != 0x7f) return 2;
  m->total = 80ULL << 30; m->used = (place(device) + 1ULL) << 30; m->free = m->total - m->used;
  return 0;
}
int nvmlDeviceGetUtilizationRates(void *device, use_t *u) {
  if (place(device) == 2) return 3;         /* not supported, as with MIG */
  u->gpu = 37; u->memory = 5;
  return 0;
}
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library under the name that is looked for; where there is a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        away("no C compiler (apt-get install gcc)")
    source, built = tmp_path / "nvml.c", tmp_path / "libnvidia-ml.so.1"
    source.write_text(LIBRARY)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", built, source], check=True)
    library = ctypes.CDLL(str(built))
    monkeypatch.setattr(processes, "_driver", lambda: library)
    yield


@pytest.mark.usefixtures("driver")
def test_gpus_are_named_by_their_own_ids_and_a_lost_one_is_left_out() -> None:
    book = processes.measure({0: os.getpid()})
    used, total = (
        book.gauges[f"modelwright_gpu_memory_{what}_bytes"] for what in ("used", "total")
    )
    assert used == {("GPU-0",): [1 << 30], ("GPU-2",): [3 << 30]}
    assert total == {("GPU-0",): [80 << 30], ("GPU-2",): [80 << 30]}
    assert book.gauges["modelwright_gpu_utilization"] == {("GPU-0",): [0.37]}


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_driver", lambda: None)
    book = processes.measure({0: os.getpid()})
    assert not any("gpu" in name for name in book.gauges)
    assert book.gauges["process_resident_memory_bytes"]["0",][0] > 2**20
    assert book.counters["process_cpu_seconds_total"]["0",][0] > 0


def test_a_process_is_alive_only_if_it_began_then() -> None:
    began = processes.started_at(os.getpid())
    assert processes.is_alive(os.getpid(), began) and not processes.is_alive(os.getpid(), began + 1)
    child = subprocess.Popen(["true"])
    child_began = processes.started_at(child.pid)
    child.wait()
    assert not processes.is_alive(child.pid, child_began)
