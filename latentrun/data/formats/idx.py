"""Arrays of unsigned bytes in IDX files, plain or gzipped: the format of MNIST and of what replaces it."""

from __future__ import annotations

import gzip
import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from latentrun.errors import InputError
from latentrun.system.plain import DATA, open_plain, require_size


def shape_of(path: Path, dims: int) -> tuple[int, ...]:
    """The shape that a file announces: bytes 0, 0, 8, ``dims``, then big-endian int32 sizes. InputError where
    it does not."""
    try:
        with _open(path) as file:
            head = file.read(4 + 4 * dims)
    except (InputError, OSError, EOFError) as error:
        raise InputError(f"data: {str(path)!r} cannot be read: {error}") from error
    if len(head) < 4 + 4 * dims or head[:4] != bytes([0, 0, 8, dims]):
        raise InputError(f"data: {str(path)!r} is not an IDX file of unsigned bytes with {dims} dimension(s)")
    return tuple(int(size) for size in np.frombuffer(head, ">i4", offset=4))


def read(path: Path, dims: int, checksum: str) -> np.ndarray:
    """The array in a file, uint8 with ``dims`` axes.

    ``checksum``: md5 or sha256 of the decompressed bytes. InputError where the file cannot be read, has
    another checksum, or is no such array.
    """
    try:
        with _open(path) as file:
            content = file.read(DATA + 1)
    except (InputError, OSError, EOFError) as error:
        raise InputError(f"data: {str(path)!r} cannot be read: {error}") from error
    require_size(path, len(content), DATA)  # a gzipped file unfolds into more than it holds
    kind = algorithm(checksum)
    actual = hashlib.new(kind, content).hexdigest()
    if actual != checksum.lower():
        raise InputError(
            f"data: {str(path)!r} has {kind} {actual}, expected {checksum} (of the decompressed bytes)"
        )
    shape, start = shape_of(path, dims), 4 + 4 * dims
    if len(content) != start + math.prod(shape):
        raise InputError(
            f"data: {str(path)!r} announces {math.prod(shape)} values but holds {len(content) - start}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def algorithm(checksum: str) -> str:
    """``md5`` or ``sha256``, by the length of the checksum; InputError for any other."""
    kinds = {32: "md5", 64: "sha256"}
    if len(checksum) not in kinds:
        raise InputError(
            f"data.checksums: {checksum!r} is neither an md5 (32 digits) nor a sha256 (64 digits)"
        )
    return kinds[len(checksum)]


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    """The decompressed bytes of a file."""
    with open_plain(path) as file:
        yield gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
