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
from latentrun.store.files import claim, last_line, now, write_json, write_table, write_yaml
from latentrun.store.intake import read_table
from latentrun.store.schema import read_job, read_sweep_meta, require_columns
from latentrun.system.disk import require_writable
from latentrun.system.door import Guarded
from latentrun.system.plain import plain

SCHEMA = 1  # of sweeps
PLAN = ("job", "directory", "overrides", "hash", "skipped")
DIGITS = 6  # of the number of a job at most
FOLDERS = ("jobs", "logs", "plots")  # beside those of its runs, which are looked at when they are opened


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
    return Path(path).is_dir() and (Guarded(path) / "plan.csv").exists()


class SweepDirectory:
    """The directory of a sweep: ``plan.csv`` names its jobs, ``jobs/<number>.yaml`` holds what each one
    needs, ``logs/`` what their processes print. Open it with ``SweepDirectory(path)``, make one with
    :meth:`create`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.folder = Guarded(self.path)
        if not is_sweep(self.path):
            raise InputError(f"{str(self.path)!r} is not a sweep of latentrun: it holds no plan.csv")
        self.folder.require_plain(depth=0)
        for name in FOLDERS:
            (self.folder / name).require_plain(depth=0)

    @classmethod
    def create(cls, path: str | Path, meta: Mapping[str, Any]) -> Self:
        """A new directory, with a plan without jobs; InputError where it cannot be made."""
        folder = claim(Path(path), "sweep")
        write_json(folder / "meta.json", {"schema": SCHEMA, "kind": "sweep", "created": now(), **meta})
        write_table(folder / "plan.csv", pd.DataFrame(columns=list(PLAN)))
        return cls(path)

    # ---------------------------------------------------------------- the plan
    @property
    def meta(self) -> dict[str, Any]:
        """Schema, when and how it was started, its launcher's settings, the keys that are swept."""
        return read_sweep_meta(self.folder / "meta.json")

    def table(self) -> pd.DataFrame:
        """``plan.csv``, as texts but for the number of the job; InputError where it is none."""
        file = self.folder / "plan.csv"
        plan, where = read_table(file, dtype=str, keep_default_na=False), repr(str(file.path))
        require_columns(plan, PLAN, (), where)
        numbers = [
            text for text in plan["job"] if not (text.isascii() and text.isdigit() and len(text) <= DIGITS)
        ]
        if numbers:
            raise InputError(f"{where}: {numbers[0]!r} is no number of a job")
        plan["job"] = plan["job"].astype(int)
        if plan["job"].duplicated().any():
            twice = plan.loc[plan["job"].duplicated(), "job"].iloc[0]
            raise InputError(f"{where}: job {twice} is named twice")
        return plan[list(PLAN)]

    @property
    def entries(self) -> list[Entry]:
        """All jobs of the plan; InputError where one names a directory elsewhere."""
        return [
            Entry(
                number=int(row.job),
                directory=plain(row.directory, repr(str(self.path))),
                overrides=self._split(row.overrides),
                hash=row.hash,
                skipped=row.skipped or None,
            )
            for row in self.table().itertuples()
        ]

    def _split(self, overrides: str) -> tuple[str, ...]:
        try:
            return tuple(shlex.split(overrides))
        except ValueError as error:
            where = str(self.path / "plan.csv")
            raise InputError(f"{where!r}: overrides {overrides!r}: {one_line(error)}") from None

    def write_settings(self, number: int, settings: Mapping[str, Any]) -> None:
        """What a job needs, as plain values."""
        write_yaml(self.folder / "jobs" / f"{number}.yaml", settings)

    def read_settings(self, number: int) -> dict[str, Any]:
        """What :meth:`write_settings` wrote."""
        return read_job(self.folder / "jobs" / f"{number}.yaml")

    def append(self, entries: Sequence[Entry]) -> None:
        """Write jobs into the plan, behind those that are there; several processes may do so at once."""
        rows = [
            (entry.number, entry.directory, shlex.join(entry.overrides), entry.hash, entry.skipped or "")
            for entry in entries
        ]
        with (self.folder / ".plan.lock").alone():
            table = pd.concat([self.table(), pd.DataFrame(rows, columns=list(PLAN))])
            write_table(self.folder / "plan.csv", table)

    # ---------------------------------------------------------------- logs, tables
    def log_of(self, number: int) -> Guarded:
        """What the process of a job prints."""
        return self.folder / "logs" / f"{number}.txt"

    def last_words(self, number: int) -> str:
        """The last line that the process of a job printed; empty where it printed none."""
        return last_line(self.log_of(number))

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """``<name>.csv``."""
        write_table(self.folder / f"{name}.csv", table)

    def read_table(self, name: str) -> pd.DataFrame:
        """What :meth:`write_table` wrote."""
        return read_table(self.folder / f"{name}.csv")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process that carries out the sweep; InputError where another one does, or where nothing
        can be written."""
        require_writable(self.path, ("sweep.lock", "jobs", "logs"))
        with (self.folder / "sweep.lock").locked() as mine:
            if not mine:
                raise InputError(f"{str(self.path)!r}: another process is carrying out this sweep")
            yield
