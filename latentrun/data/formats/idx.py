"""Arrays of unsigned bytes in IDX files, plain or gzipped: the format of MNIST and of what replaces it."""

from __future__ import annotations

import gzip
import hashlib
import math
from io import BufferedReader
from pathlib import Path

import numpy as np

from latentrun.errors import InputError


def shape_of(path: Path, dims: int) -> tuple[int, ...]:
    """The shape that a file announces: bytes 0, 0, 8, ``dims``, then big-endian int32 sizes. InputError where
    it does not."""
    try:
        with _open(path) as file:
            head = file.read(4 + 4 * dims)
    except (OSError, EOFError) as error:
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
            content = file.read()
    except (OSError, EOFError) as error:
        raise InputError(f"data: {str(path)!r} cannot be read: {error}") from error
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


def _open(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")
