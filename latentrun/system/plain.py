"""What a plain file is: its name, its kind, its size; those that the user names are opened here."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from latentrun.errors import InputError
from latentrun.system.folders import FILE, NOFOLLOW

# The largest files that are read, in bytes, by what they hold.
MIB = 2**20
YAML = 2 * MIB
JSON = 32 * MIB
TABLE = 256 * MIB
TEXT = 64 * MIB
PICTURE = 256 * MIB
ARRAYS = 16 * 2**10 * MIB
MAPPED = 4 * 2**20 * MIB  # of which only what is used comes into the memory
DATA = 2 * 2**10 * MIB  # of those that are read into the memory whole
CHECKPOINT = 64 * 2**10 * MIB

KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def plain(name: str, where: str) -> str:
    """``name``, if it names a file and no path; InputError otherwise, ``where``: the place or key, for
    messages."""
    if not isinstance(name, str) or name in ("", ".", "..") or any(c in name for c in "/\\\0"):
        raise InputError(f"{where} names a file {name!r}: a plain name was expected")
    return name


def kind_of(mode: int) -> str:
    """What a file is, in words: ``a link``."""
    return KINDS.get(stat.S_IFMT(mode), "no file")


def unexpected(path: Path, mode: int, expected: str) -> InputError:
    """``'a/b' is a FIFO; a plain file was expected``."""
    return InputError(f"{str(path)!r} is {kind_of(mode)}; {expected} was expected")


def require_size(path: Path, size: int, limit: int | None) -> None:
    """InputError for a file that is larger than any that is meant."""
    if limit is not None and size > limit:
        raise InputError(
            f"{str(path)!r} has {size / MIB:,.0f} MiB; at most {limit // MIB:,} MiB were expected"
        )


def open_plain(path: Path, limit: int = DATA) -> BinaryIO:
    """A file that the user names, to be read: a plain one of at most ``limit`` bytes, also by a link;
    InputError for a device, a pipe or a folder. OSError where it cannot be opened."""
    mode = os.stat(path).st_mode  # looked at first: to open a device may do something
    if not stat.S_ISREG(mode):
        raise unexpected(path, mode, "a plain file")
    file: BinaryIO = os.fdopen(os.open(path, os.O_RDONLY | (FILE & ~NOFOLLOW)), "rb")
    status = os.fstat(file.fileno())
    try:
        if not stat.S_ISREG(status.st_mode):
            raise unexpected(path, status.st_mode, "a plain file")
        require_size(path, status.st_size, limit)
    except InputError:
        file.close()
        raise
    return file
