"""Growing series of arrays on disk, written at the end only: what a training records of its codes."""

from __future__ import annotations

import math
import os

import numpy as np

from latentrun.errors import Absent, InputError
from latentrun.system.door import Guarded
from latentrun.system.plain import ARRAYS
from latentrun.training.recorder import Series


class FileSeries(Series):
    """Each series is one file of float32 numbers, ``folder/history_<name>.f32``, array after array. An
    array is on the disk before a checkpoint can count it."""

    def __init__(self, folder: Guarded):
        self.folder = folder

    def _file(self, name: str) -> Guarded:
        return self.folder / f"history_{name}.f32"

    def append(self, name: str, record: np.ndarray) -> None:
        with self._file(name).appending() as file:
            file.write(np.ascontiguousarray(record, np.float32).tobytes())
            file.flush()
            os.fsync(file.fileno())

    def keep(self, name: str, count: int, shape: tuple[int, ...]) -> None:
        file, size = self._file(name), 4 * count * math.prod(shape)
        status = file.status()
        there = status.st_size if status is not None else 0
        if there < size:
            raise InputError(f"{self.where(name)} holds {there} bytes; the checkpoint counts {size}")
        if there > size:
            file.truncate(size)

    def read(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        try:
            numbers = np.frombuffer(self._file(name).content(ARRAYS), np.float32).copy()
        except Absent:
            numbers = np.empty(0, np.float32)
        return numbers.reshape(-1, *shape)

    def where(self, name: str) -> str:
        return repr(str(self._file(name).path))

    def remove(self) -> None:
        """Take the files away, once what they hold is stored otherwise."""
        for file in self.folder.files():
            if file.name.startswith("history_") and file.suffix == ".f32":
                file.remove()
