"""How files are written: whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from latentrun.errors import Absent, InputError
from latentrun.store.cells import inert
from latentrun.system.door import Guarded
from latentrun.system.plain import CHECKPOINT

if TYPE_CHECKING:
    import pandas as pd


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Plain(yaml.SafeDumper):
    """Writes every value out, also one that stands in two places."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def claim(path: Path, kind: str) -> Guarded:
    """Make a directory for a ``kind`` of thing, which no other process has; InputError where it cannot be
    made or holds one."""
    folder = Guarded(path)
    try:
        folder.make()
        (folder / f"{kind}.lock").create()
    except FileExistsError:
        what = f"already holds a {kind}" if path.is_dir() else "is a file"
        raise InputError(f"output directory {str(path)!r} {what}; {kind}s are never overwritten") from None
    except OSError as error:
        raise InputError(f"output directory {str(path)!r} cannot be made: {error.strerror}") from None
    return folder


def require_empty(path: Path) -> None:
    """InputError where a directory is there and holds anything but Hydra's own, of a job of a sweep."""
    if path.is_dir() and any(item.name != ".hydra" for item in Guarded(path).items()):
        raise InputError(f"output directory {str(path)!r} is not empty; nothing is overwritten")


def write_table(file: Guarded, table: pd.DataFrame) -> None:
    """A table as CSV, without its index and without formulas (see :func:`~latentrun.store.cells.inert`)."""
    with file.writing() as lines:
        inert(table).to_csv(lines, index=False)


def write_json(file: Guarded, values: Mapping[str, Any]) -> None:
    """Plain values as JSON."""
    with file.writing() as text:
        json.dump(values, text, indent=1)


def write_yaml(file: Guarded, values: Mapping[str, Any]) -> None:
    """Plain values as YAML, in their order, each written out."""
    with file.writing() as text:
        yaml.dump(dict(values), text, Plain, sort_keys=False, allow_unicode=True)


def write_text(file: Guarded, text: str) -> None:
    """A text in UTF-8."""
    with file.writing() as lines:
        lines.write(text)


def last_line(file: Guarded) -> str:
    """The last line of a text file that may be written to; empty where there is none."""
    try:
        with file.opened(CHECKPOINT) as text:  # only its end is read
            text.seek(max(0, os.fstat(text.fileno()).st_size - 1000))
            lines = text.read(2000).decode(errors="replace").split("\n")
    except Absent:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")
