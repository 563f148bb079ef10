"""What tasks share that use trained runs and write into a directory of their own. Runs are read, never
changed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from latentrun.errors import InputError
from latentrun.run import Run
from latentrun.store import RunDirectory, now
from latentrun.store.files import require_empty, write_json
from latentrun.system.door import Guarded
from latentrun.system.provenance import environment
from latentrun.system.terminal import show
from latentrun.tasks.assembly import device_named, measuring
from latentrun.tasks.loading import load


def trained(path: str, trust: Sequence[str], device: str) -> tuple[RunDirectory, Run]:
    """The run in a directory; InputError where its training is not finished."""
    directory = RunDirectory(path)
    directory.require_trained()
    return directory, load(directory.path, trust, measuring(device_named(device)))


@contextmanager
def fresh(path: Path) -> Iterator[Guarded]:
    """A folder to fill; its files appear in ``path`` together at the end, and not at all where something
    fails.

    InputError where ``path`` cannot be made or holds files: nothing is overwritten.
    """
    partial = Guarded(path.with_name(f".{path.name}.{os.getpid()}.part"))
    try:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        require_empty(path)
        partial.make_new()
    except OSError as error:
        raise InputError(f"output directory {str(path)!r} cannot be made: {error.strerror}") from None
    try:
        yield partial
        partial.move_into(Guarded(path))
    finally:
        with suppress(OSError):
            partial.remove_tree()


def describe(file: Guarded, directory: RunDirectory, run: Run, entries: Mapping[str, Any]) -> None:
    """Say beside the files what they are, of which run, and with what they were made."""
    source = {
        "created": now(),
        "run": str(directory.path.resolve()),
        "fit_hash": directory.meta.get("fit_hash"),
    }
    write_json(file, {**source, **entries, **environment(run.device)})


def show_written(path: Path, what: str, notes: Sequence[str]) -> None:
    """What was written, on the terminal."""
    show(f"{what} in {path}", *(f"note: {note}" for note in notes))
