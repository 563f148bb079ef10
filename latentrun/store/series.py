"""Growing series of arrays on disk, written at the end only: what a training records of its codes."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from latentrun.errors import InputError
from latentrun.training.recorder import Series


class FileSeries(Series):
    """Each series is one file of float32 numbers, ``folder/history_<name>.f32``, array after array. An
    array is on the disk before a checkpoint can count it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def _path(self, name: str) -> Path:
        return self.folder / f"history_{name}.f32"

    def append(self, name: str, record: np.ndarray) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self._path(name), "ab") as file:
            file.write(np.ascontiguousarray(record, np.float32).tobytes())
            file.flush()
            os.fsync(file.fileno())

    def keep(self, name: str, count: int, shape: tuple[int, ...]) -> None:
        path, size = self._path(name), 4 * count * math.prod(shape)
        there = path.stat().st_size if path.is_file() else 0
        if there < size:
            raise InputError(f"{self.where(name)} holds {there} bytes; the checkpoint counts {size}")
        if there > size:
            os.truncate(path, size)

    def read(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        path = self._path(name)
        numbers = np.fromfile(path, np.float32) if path.is_file() else np.empty(0, np.float32)
        return numbers.reshape(-1, *shape)

    def where(self, name: str) -> str:
        return repr(str(self._path(name)))

    def remove(self) -> None:
        """Take the files away, once what they hold is stored otherwise."""
        for path in self.folder.glob("history_*.f32"):
            path.unlink()
