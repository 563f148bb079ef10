"""How files are written: whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import yaml

from latentrun.errors import InputError
from latentrun.store.cells import inert, original

if TYPE_CHECKING:
    import pandas as pd


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Plain(yaml.SafeDumper):
    """Writes every value out, also one that stands in two places."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@contextmanager
def atomic(path: Path, mode: str = "w") -> Iterator[IO]:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(
            partial,
            mode,
            encoding=None if "b" in mode else "utf-8",
            newline="" if path.suffix == ".csv" else None,
        ) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say which file
        raise
    finally:
        partial.unlink(missing_ok=True)


def claim(path: Path, kind: str) -> None:
    """Make a directory for a ``kind`` of thing, which no other process has; InputError where it cannot be
    made or holds one."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path / f"{kind}.lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        what = f"already holds a {kind}" if path.is_dir() else "is a file"
        raise InputError(f"output directory {str(path)!r} {what}; {kind}s are never overwritten") from None
    except OSError as error:
        raise InputError(f"output directory {str(path)!r} cannot be made: {error.strerror}") from None


def require_empty(path: Path) -> None:
    """InputError where a directory is there and holds anything but Hydra's own, of a job of a sweep."""
    if path.is_dir() and any(entry.name != ".hydra" for entry in path.iterdir()):
        raise InputError(f"output directory {str(path)!r} is not empty; nothing is overwritten")


def locks(file: IO) -> bool:
    """Take the exclusive lock of an open file; False where another process holds it for longer than a look
    takes."""
    for wait in (0.01, 0.05, 0.2, None):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if wait is not None:
                time.sleep(wait)
    return False


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only process that holds the lock file ``path``; others wait."""
    with open(path, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A table as CSV, without its index and without formulas (see :func:`~latentrun.store.cells.inert`)."""
    with atomic(path) as file:
        inert(table).to_csv(file, index=False)


def read_table(path: Path, **options: Any) -> pd.DataFrame:
    """A table of :func:`write_table`; ``options`` of ``pandas.read_csv``."""
    import pandas as pd

    return original(pd.read_csv(path, **options))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Plain values as JSON."""
    with atomic(path) as file:
        json.dump(values, file, indent=1)


def write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """Plain values as YAML, in their order, each written out."""
    with atomic(path) as file:
        yaml.dump(dict(values), file, Plain, sort_keys=False, allow_unicode=True)


def write_text(path: Path, text: str) -> None:
    """A text in UTF-8."""
    with atomic(path) as file:
        file.write(text)


def last_line(path: Path) -> str:
    """The last line of a text file that may be written to; empty where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 1000))
            lines = file.read().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")
