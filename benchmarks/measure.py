"""Seconds and peak memory of a call, for the benchmarks beside this file."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path

import torch


def seconds(call: Callable[[], object], device: str = "cpu") -> float:
    start = time.perf_counter()
    call()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak(call: Callable[[], object], device: str = "cpu") -> float:
    """Return the growth of the peak during a call, MB; NaN where it cannot be had."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return float("nan")
    ctypes.CDLL(None).malloc_trim(0)  # memory freed earlier but kept would hide what is taken now
    reset.write_text("5")
    before = status("VmRSS")
    call()
    return (status("VmHWM") - before) / 1e3


def status(key: str) -> int:
    """Return a number of this process's /proc status, kB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])
