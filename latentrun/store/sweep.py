"""One sweep on disk: the plan of its jobs, their settings, its tables."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from latentrun.errors import InputError, one_line
from latentrun.store.files import (
    alone,
    claim,
    last_line,
    locks,
    now,
    read_table,
    write_json,
    write_table,
    write_yaml,
)
from latentrun.store.intake import plain, read_json, read_yaml
from latentrun.system.disk import require_writable

SCHEMA = 1  # of sweeps
PLAN = ("job", "directory", "overrides", "hash", "skipped")


@dataclass(frozen=True)
class Entry:
    """One job as the plan has it: its number, the name of its directory, the swept ``overrides``, its
    fit_hash when it was planned, why it is skipped, if it is."""

    number: int
    directory: str
    overrides: tuple[str, ...]
    hash: str
    skipped: str | None


def is_sweep(path: str | Path) -> bool:
    """Whether a directory holds the plan of a sweep."""
    return Path(path, "plan.csv").is_file()


class SweepDirectory:
    """The directory of a sweep: ``plan.csv`` names its jobs, ``jobs/<number>.yaml`` holds what each one
    needs, ``logs/`` what their processes print. Open it with ``SweepDirectory(path)``, make one with
    :meth:`create`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not is_sweep(self.path):
            raise InputError(f"{str(self.path)!r} is not a sweep of latentrun: it holds no plan.csv")

    @classmethod
    def create(cls, path: str | Path, meta: Mapping[str, Any]) -> Self:
        """A new directory, with a plan without jobs; InputError where it cannot be made."""
        path = Path(path)
        claim(path, "sweep")
        write_json(path / "meta.json", {"schema": SCHEMA, "kind": "sweep", "created": now(), **meta})
        write_table(path / "plan.csv", pd.DataFrame(columns=list(PLAN)))
        return cls(path)

    # ---------------------------------------------------------------- the plan
    @property
    def meta(self) -> dict[str, Any]:
        """Schema, when and how it was started, its launcher's settings, the keys that are swept."""
        return read_json(self.path / "meta.json")

    def table(self) -> pd.DataFrame:
        """``plan.csv``, as texts but for the number of the job; InputError where it is none."""
        file = self.path / "plan.csv"
        try:
            plan = read_table(file, dtype=dict.fromkeys(PLAN[1:], str), keep_default_na=False)
            return plan[list(PLAN)]
        except (ValueError, KeyError) as error:
            raise InputError(f"{str(file)!r} cannot be read: {one_line(error)}") from None

    @property
    def entries(self) -> list[Entry]:
        """All jobs of the plan; InputError where one names a directory elsewhere."""
        return [
            Entry(
                number=int(row.job),
                directory=plain(row.directory, self.path),
                overrides=tuple(shlex.split(row.overrides)),
                hash=row.hash,
                skipped=row.skipped or None,
            )
            for row in self.table().itertuples()
        ]

    def write_settings(self, number: int, settings: Mapping[str, Any]) -> None:
        """What a job needs, as plain values."""
        write_yaml(self.path / "jobs" / f"{number}.yaml", settings)

    def read_settings(self, number: int) -> dict[str, Any]:
        """What :meth:`write_settings` wrote."""
        return read_yaml(self.path / "jobs" / f"{number}.yaml")

    def append(self, entries: Sequence[Entry]) -> None:
        """Write jobs into the plan, behind those that are there; several processes may do so at once."""
        rows = [
            (entry.number, entry.directory, shlex.join(entry.overrides), entry.hash, entry.skipped or "")
            for entry in entries
        ]
        with alone(self.path / ".plan.lock"):
            table = pd.concat([self.table(), pd.DataFrame(rows, columns=list(PLAN))])
            write_table(self.path / "plan.csv", table)

    # ---------------------------------------------------------------- logs, tables
    def log_of(self, number: int) -> Path:
        """What the process of a job prints."""
        return self.path / "logs" / f"{number}.txt"

    def last_words(self, number: int) -> str:
        """The last line that the process of a job printed; empty where it printed none."""
        return last_line(self.log_of(number))

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """``<name>.csv``."""
        write_table(self.path / f"{name}.csv", table)

    def read_table(self, name: str) -> pd.DataFrame:
        """What :meth:`write_table` wrote."""
        return read_table(self.path / f"{name}.csv")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process that carries out the sweep; InputError where another one does, or where nothing
        can be written."""
        require_writable(self.path, ("sweep.lock", "jobs", "logs"))
        with open(self.path / "sweep.lock", "a") as lock:
            if not locks(lock):
                raise InputError(f"{str(self.path)!r}: another process is carrying out this sweep")
            yield
