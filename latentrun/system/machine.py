"""What the machine has to give, and settings of the process that make a CPU train as fast as it can (none of
which changes a result but by rounding)."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc, malloc.h

UNKNOWN = 2**62  # bytes: where a system does not say, nothing is refused


def prepare() -> None:
    """To be called before torch is imported.

    A worker thread that waits gives its core away after a moment: with endless spinning, two threads beside
    another job on the same cores were 20 times slower than one. And glibc keeps large blocks instead of
    giving them back to the system at every step and faulting them in again: 1.3 times the training speed of
    the convolutional VAE on two cores.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    mallopt = of_libc("mallopt")
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def give_back() -> None:
    """Give the memory that is free, but kept (:func:`prepare`), back to the system: for a process that will
    only wait."""
    trim = of_libc("malloc_trim")
    if trim is not None:
        trim(0)


def of_libc(name: str) -> Callable[..., int] | None:
    """A function of the C library, where it has one of this name."""
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None


def settle(threads: int | None) -> None:
    """To be called before torch computes anything, for its worker threads take the setting over when they are
    started.

    Denormal numbers become 0: pictures that fade to nothing make them by the million, and on a CPU each costs
    a hundred normal ones (the heatmaps train four times faster without). ``threads``: None leaves torch's own
    choice.
    """
    import torch

    torch.set_flush_denormal(True)
    if threads:
        torch.set_num_threads(threads)


def free_memory() -> int:
    """Bytes that the process may still take: what Linux calls available, within the limit of its control
    group (version 2); on other systems all the memory of the machine, and UNKNOWN on Windows."""
    memory = Path("/proc/meminfo")
    if not memory.is_file() and not hasattr(os, "sysconf"):
        return UNKNOWN
    if not memory.is_file():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    (available,) = re.findall(r"MemAvailable:\s+(\d+)", memory.read_text())
    free = 1024 * int(available)
    limit, taken = (Path("/sys/fs/cgroup", f"memory.{name}") for name in ("max", "current"))
    if limit.is_file() and (most := limit.read_text().strip()) != "max":
        free = min(free, int(most) - int(taken.read_text()))
    return free
