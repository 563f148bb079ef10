"""Room on the disk, asked before anything is written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from latentrun.errors import InputError


def free_room(path: Path) -> int:
    """Bytes that are free where ``path`` is or will be made."""
    return shutil.disk_usage(_existing(path)).free


def require_room(path: Path, size: int = 0) -> None:
    """InputError where nothing can be written at ``path``, or less than ``size`` bytes. Leaves nothing
    behind."""
    place = _existing(path)
    try:
        str(path).encode()
    except UnicodeEncodeError:  # found by TensorBoard's writer otherwise, in words of its own
        raise InputError(f"output directory {str(path)!r} cannot be made: its name is not UTF-8") from None
    try:
        tempfile.TemporaryDirectory(dir=place).cleanup()
        free = free_room(place)
    except OSError as error:
        raise InputError(
            f"output directory {str(path)!r} cannot be made in {str(place)!r}: {error.strerror}"
        ) from None
    if free < size:
        raise InputError(
            f"output directory {str(path)!r}: {free / 2**20:,.0f} MiB are free, the run needs about "
            f"{size / 2**20:,.0f} MiB"
        )


def require_writable(path: Path, names: Iterable[str] = ()) -> None:
    """InputError where a directory, or one of the files and folders ``names`` that it holds, is there and
    must not be written to."""
    for place in (path, *(path / name for name in names)):
        if place.exists() and not os.access(place, os.W_OK):
            inside = "" if place == path else f" ({place.name})"
            raise InputError(f"{str(path)!r} cannot be changed: it is read-only{inside}")


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    places = path.absolute(), *path.absolute().parents
    return next(place for place in places if os.path.exists(place))
