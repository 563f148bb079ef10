"""The one door to files that others may have written.

A directory may come from anybody: what lies in it may be a link to any file of the user's, a pipe on which
reading waits for ever, a file of terabytes. So nothing below it is opened by its path: folders are opened one
after the other from the root, no link is followed on the way, and only plain files of bounded size come out.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Literal

from latentrun.errors import Absent, InputError
from latentrun.system.folders import Folder
from latentrun.system.locks import acquire, acquired
from latentrun.system.plain import CHECKPOINT, TEXT, kind_of, plain, require_size, unexpected

ENTRIES = 100_000  # of one folder that are listed at most
DEPTH = 12  # folders within each other that are looked into at most
LACKING = (
    errno.ENOSPC,
    getattr(errno, "EDQUOT", errno.ENOSPC),
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
)


@dataclass(frozen=True)
class Item:
    """What a folder holds under a name: its ``kind`` (a file, a folder, a link, a FIFO, ...)."""

    name: str
    kind: str


class Guarded:
    """A path below a directory that anybody may have written: ``Guarded(root) / "tables" / "train.csv"``.

    ``root`` is a path that the user named, and may be a link itself; every name below it is a plain one.
    Every method raises InputError, in one line, where on the way to the file or folder there is a link or
    anything else that was not expected, and Absent where something is missing.
    """

    def __init__(self, root: str | Path, names: tuple[str, ...] = ()):
        self.root, self.names = Path(root), names

    def __truediv__(self, name: str) -> Guarded:
        return Guarded(self.root, (*self.names, plain(name, repr(str(self.path)))))

    def __repr__(self) -> str:
        return f"Guarded({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The path as text, for messages; not to be opened."""
        return self.root.joinpath(*self.names)

    @property
    def name(self) -> str:
        return self.names[-1] if self.names else self.root.name

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    @property
    def parent(self) -> Guarded:
        return Guarded(self.root, self.names[:-1]) if self.names else Guarded(self.root.parent)

    # ---------------------------------------------------------------- what is there
    def status(self) -> os.stat_result | None:
        """What the system says of it, of a link itself; None where there is nothing."""
        try:
            if not self.names:
                return os.stat(self.root)
            with self._parent() as folder:
                return folder.stat(self.name)
        except (Absent, FileNotFoundError):
            return None
        except OSError as error:
            raise self._wrong("read", error) from None

    def exists(self) -> bool:
        """Whether there is anything, of whatever kind."""
        return self.status() is not None

    def is_file(self) -> bool:
        """Whether it is a plain file, and no link leads to it."""
        try:
            status = self.status()
        except InputError:
            return False
        return status is not None and stat.S_ISREG(status.st_mode)

    def items(self, most: int = ENTRIES) -> list[Item]:
        """What a folder holds, sorted by name; nothing where there is no such folder. InputError where that
        is more than ``most``."""
        return [Item(name, kind_of(mode)) for name, mode in self._modes(most)]

    def _modes(self, most: int = ENTRIES) -> list[tuple[str, int]]:
        """The names in a folder, sorted, and the mode of each."""
        modes: list[tuple[str, int]] = []
        try:
            with self._folder() as folder, folder.entries() as entries:
                for entry in entries:
                    if len(modes) >= most:
                        raise InputError(f"{str(self.path)!r} holds more than {most:,} files")
                    with suppress(FileNotFoundError):  # it was only there for a moment
                        modes.append((entry.name, entry.stat(follow_symlinks=False).st_mode))
        except Absent:
            return []
        except OSError as error:
            raise self._wrong("read", error) from None
        return sorted(modes)

    def folders(self) -> list[Guarded]:
        """The folders in a folder, sorted; links to folders are none."""
        return [self / item.name for item in self.items() if item.kind == "a folder"]

    def files(self) -> list[Guarded]:
        """The plain files in a folder, sorted."""
        return [self / item.name for item in self.items() if item.kind == "a file"]

    def checked(self) -> Path:
        """The path of a folder, there already or not, to which no link leads: for what opens it as a root of
        its own, or takes nothing but paths."""
        self.require_kind("a folder")
        return self.path

    def require_kind(self, kind: Literal["a file", "a folder"]) -> None:
        """InputError where there is anything else of that name."""
        status = self.status()
        if status is not None and kind_of(status.st_mode) != kind:
            raise unexpected(self.path, status.st_mode, kind.replace("a file", "a plain file"))

    def require_plain(self, depth: int = DEPTH) -> None:
        """InputError where a folder, or one of those in it to that ``depth``, holds anything but plain files
        and folders."""
        inner = []
        for name, mode in self._modes():
            if stat.S_ISDIR(mode):
                inner.append(self / name)
            elif not stat.S_ISREG(mode):
                raise unexpected((self / name).path, mode, "a plain file or folder")
        for folder in inner if depth else ():
            folder.require_plain(depth - 1)

    # ---------------------------------------------------------------- reading
    def opened(self, limit: int) -> BinaryIO:
        """A plain file of at most ``limit`` bytes, to be read."""
        with self._parent() as folder:
            return self._opened(folder, os.O_RDONLY, limit)

    def content(self, limit: int) -> bytes:
        """What a file of at most ``limit`` bytes holds."""
        with self.opened(limit) as file:
            return file.read(limit)

    def text(self, limit: int) -> str:
        """A text in UTF-8."""
        try:
            return self.content(limit).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{str(self.path)!r} is no text in UTF-8 (byte {error.start})") from None

    # ---------------------------------------------------------------- writing
    def make(self) -> Path:
        """Make the folder, and those it lies in, where they are not there; its path."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self._folder(make=True):
            return self.path

    def make_new(self) -> None:
        """Make the folder, a root; OSError where there is anything of that name."""
        self.root.mkdir(parents=True)

    def move_into(self, other: Guarded) -> None:
        """Move all that the folder holds into another, which is made where it is not there."""
        with self._folder() as here, other._folder(make=True) as there:
            with here.entries() as entries:
                names = [entry.name for entry in entries]
            for name in names:
                here.move(name, there, name)

    @contextmanager
    def writing(self, mode: Literal["w", "wb"] = "w") -> Iterator[IO]:
        """Write a file whole or not at all: under a temporary name beside it, flushed to the disk, moved into
        its place. The folder is made where it is not there."""
        partial = f".{self.name}.{os.getpid()}.part"
        newline = "" if mode == "w" and self.suffix == ".csv" else None
        with self._parent(make=True) as folder:
            try:
                with self._new(folder, partial, mode, newline) as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                self._move(folder, partial)
            except OSError as error:
                if error.filename in (None, partial):  # a full disk does not say which file
                    error.filename = str(self.path)
                raise
            finally:
                with suppress(OSError):
                    folder.remove(partial)

    def _new(self, folder: Folder, name: str, mode: Literal["w", "wb"], newline: str | None = None) -> IO:
        """A file that was not there before."""
        try:
            with suppress(FileNotFoundError):
                folder.remove(name)  # of a killed process that had the same number
            file = folder.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except OSError as error:
            raise self._wrong("written", error) from None
        return os.fdopen(file, mode, encoding=None if "b" in mode else "utf-8", newline=newline)

    def _move(self, folder: Folder, name: str) -> None:
        """Put the file ``name`` in the place of this one."""
        try:
            folder.move(name, folder, self.name)
        except IsADirectoryError:
            raise unexpected(self.path, stat.S_IFDIR, "a plain file") from None

    def create(self) -> None:
        """An empty file; FileExistsError where there is anything of that name."""
        with self._parent() as folder:
            os.close(folder.open(self.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))

    def appending(self) -> BinaryIO:
        """A file to whose end something is written; made, with its folder, where it is not there."""
        with self._parent(make=True) as folder:
            return self._opened(folder, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def require_appendable(self) -> None:
        """InputError where the file is there and :meth:`appending` would refuse it; nothing is made."""
        if self.exists():
            with self._parent() as folder:
                self._opened(folder, os.O_WRONLY | os.O_APPEND).close()

    def truncate(self, size: int) -> None:
        """Keep only the first ``size`` bytes."""
        with self._parent() as folder, self._opened(folder, os.O_WRONLY) as file:
            file.truncate(size)

    def remove(self) -> None:
        """Take a file away, of a link the link itself; nothing where there is none."""
        with suppress(Absent, FileNotFoundError), self._parent() as folder:
            folder.remove(self.name)

    def remove_tree(self) -> None:
        """Take a folder away with all that it holds, nothing that a link in it leads to."""
        if not self.names:
            shutil.rmtree(self.root)
            return
        with self._parent() as folder:
            folder.remove_tree(self.name)

    def remove_empty(self) -> None:
        """Take an empty folder away; OSError where it is none."""
        with self._parent() as folder:
            folder.remove_folder(self.name)

    def keep_copy(self, name: str) -> None:
        """Give the file a second name beside the first, in the place of what had it; a copy where the file
        system has no links."""
        copy = f".{self.name}.{os.getpid()}.copy.part"
        with self._parent() as folder:
            with self._opened(folder, os.O_RDONLY, CHECKPOINT) as source:
                try:
                    folder.link(self.name, copy)
                except OSError:
                    with self._new(folder, copy, "wb") as file:
                        shutil.copyfileobj(source, file)
            folder.move(copy, folder, plain(name, repr(str(self.path))))
            with suppress(FileNotFoundError):  # it stays where the two were links to one file already
                folder.remove(copy)

    # ---------------------------------------------------------------- locks
    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the exclusive lock of the file, which is made where it is not there; False where another
        process holds it for longer than a look takes."""
        with self.appending() as file:
            yield acquired(file)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only process that holds the lock; others wait."""
        with self.appending() as file:
            acquire(file, wait=True)
            yield

    def is_held(self) -> bool:
        """Whether some process holds the lock."""
        try:
            with self.opened(TEXT) as file:
                acquire(file, shared=True)
        except BlockingIOError:
            return True
        except Absent:
            pass
        return False

    # ---------------------------------------------------------------- on the way
    @contextmanager
    def _parent(self, make: bool = False) -> Iterator[Folder]:
        """The open folder that holds it."""
        with self.parent._folder(make) as folder:
            yield folder

    @contextmanager
    def _folder(self, make: bool = False) -> Iterator[Folder]:
        """It itself as an open folder, reached from the root without a link; ``make``: what is missing."""
        folder, at = self._root(make), Guarded(self.root)
        try:
            for name in self.names:
                at = at / name
                folder, outer = at._enter(folder, make), folder
                outer.close()
            yield folder
        finally:
            folder.close()

    def _root(self, make: bool) -> Folder:
        try:
            if make:
                self.root.mkdir(parents=True, exist_ok=True)
            return Folder.at(self.root)
        except FileNotFoundError:
            raise Absent(f"there is no directory {str(self.root)!r}") from None
        except (NotADirectoryError, FileExistsError):
            raise InputError(f"{str(self.root)!r} is no folder") from None
        except OSError as error:
            raise Guarded(self.root)._wrong("read", error) from None

    def _enter(self, folder: Folder, make: bool) -> Folder:
        """Open this folder, from the one that holds it."""
        try:
            if make:
                with suppress(FileExistsError):
                    folder.make(self.name)
            return folder.enter(self.name)
        except FileNotFoundError:
            raise Absent(f"there is no {str(self.path)!r}") from None
        except NotADirectoryError:
            mode = folder.stat(self.name).st_mode
            raise unexpected(self.path, mode, "a folder") from None
        except OSError as error:
            raise self._wrong("read", error) from None

    def _opened(self, folder: Folder, flags: int, limit: int | None = None) -> BinaryIO:
        """The plain file, of at most ``limit`` bytes; what is written in place has no second name, by which
        it would be somebody else's too."""
        reads = flags == os.O_RDONLY
        try:
            # Looked at first: to open a device may do something.
            with suppress(FileNotFoundError):
                self._require_plain(folder.stat(self.name))
            number = folder.open(self.name, flags)
        except FileNotFoundError:
            raise Absent(f"there is no {str(self.path)!r}") from None
        except OSError as error:
            raise self._wrong("read" if reads else "written", error) from None
        file: BinaryIO = os.fdopen(number, "rb" if reads else "ab" if flags & os.O_APPEND else "wb")
        status = os.fstat(number)
        try:
            self._require_plain(status)
            require_size(self.path, status.st_size, limit)
            if not reads and status.st_nlink != 1:
                raise InputError(f"{str(self.path)!r} is a link (a hard one); a plain file was expected")
        except InputError:
            file.close()
            raise
        return file

    def _require_plain(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise unexpected(self.path, status.st_mode, "a plain file")

    def _wrong(self, verb: str, error: OSError) -> InputError | OSError:
        """What is raised where the system refuses; what the machine lacks is no wrong input."""
        if error.errno in LACKING:
            return OSError(error.errno, error.strerror, str(self.path))
        return InputError(f"{str(self.path)!r} cannot be {verb}: {error.strerror}")
