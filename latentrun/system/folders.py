"""Open folders. Names are looked up in the folder itself, so that nothing can take its place between two
steps; systems that cannot open a folder (Windows) go by its path, and look for links at each step."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def _flags(*names: str) -> int:
    """The flags of these names that the system has, together."""
    flags = 0
    for name in names:
        flags |= getattr(os, name, 0)
    return flags


FOLDER = _flags("O_RDONLY", "O_DIRECTORY", "O_CLOEXEC")
# For files: to open a pipe would wait for its other end, and Windows would change the ends of lines.
NOFOLLOW = _flags("O_NOFOLLOW")
FILE = NOFOLLOW | _flags("O_NONBLOCK", "O_CLOEXEC", "O_BINARY", "O_NOINHERIT")
HANDLES = {os.open, os.stat, os.unlink, os.mkdir, os.rename} <= os.supports_dir_fd


class Folder:
    """A folder by its ``place``: the number of its open handle, or its path where the system has none. What
    is done with names in it follows no link."""

    def __init__(self, place: int | Path):
        self.place = place

    @classmethod
    def at(cls, path: Path) -> Folder:
        """The folder at a path that the user named; by a link too."""
        if HANDLES:
            return cls(os.open(path, FOLDER))
        if not stat.S_ISDIR(os.stat(path).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        return cls(path)

    def enter(self, name: str) -> Folder:
        """A folder that lies in it; NotADirectoryError for anything else of that name."""
        if isinstance(self.place, int):
            return Folder(os.open(name, FOLDER | NOFOLLOW, dir_fd=self.place))
        path = self.place / name
        if not stat.S_ISDIR(self.stat(name).st_mode) or getattr(os.path, "isjunction", os.path.islink)(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        return Folder(path)

    def close(self) -> None:
        """Give the handle back."""
        if isinstance(self.place, int):
            os.close(self.place)

    def _at(self, name: str) -> tuple[Any, dict[str, Any]]:
        """A name as the system's functions take it."""
        return (name, {"dir_fd": self.place}) if isinstance(self.place, int) else (self.place / name, {})

    # ---------------------------------------------------------------- what is in it
    def stat(self, name: str) -> os.stat_result:
        path, where = self._at(name)
        return os.stat(path, follow_symlinks=False, **where)

    @contextmanager
    def entries(self) -> Iterator[Iterator[os.DirEntry]]:
        with os.scandir(self.place) as entries:
            yield entries

    def open(self, name: str, flags: int) -> int:
        """The number of an open file. Windows follows links: there the caller has looked before."""
        path, where = self._at(name)
        return os.open(path, flags | FILE, 0o666, **where)

    # ---------------------------------------------------------------- changes
    def make(self, name: str) -> None:
        path, where = self._at(name)
        os.mkdir(path, **where)

    def remove(self, name: str) -> None:
        path, where = self._at(name)
        os.unlink(path, **where)

    def remove_folder(self, name: str) -> None:
        path, where = self._at(name)
        os.rmdir(path, **where)

    def remove_tree(self, name: str) -> None:
        path, where = self._at(name)
        shutil.rmtree(path, **where)

    def move(self, name: str, other: Folder, new: str) -> None:
        """Into another folder, in the place of what has the name ``new`` there."""
        if isinstance(self.place, int) and isinstance(other.place, int):
            os.replace(name, new, src_dir_fd=self.place, dst_dir_fd=other.place)
        else:
            os.replace(self._at(name)[0], other._at(new)[0])

    def link(self, name: str, new: str) -> None:
        """Give a plain file a second name; OSError where the file system has no links."""
        if isinstance(self.place, int):
            os.link(name, new, src_dir_fd=self.place, dst_dir_fd=self.place, follow_symlinks=False)
        else:
            os.link(self.place / name, self.place / new)
