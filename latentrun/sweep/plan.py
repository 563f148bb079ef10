"""The plan of a sweep: its jobs with all their settings, written down before the first one starts.

``plan.csv`` names them (job, directory, overrides, hash); ``jobs/<number>.yaml`` holds what each one needs.
That is what ``resume=`` goes by, whatever has become of the options since.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import yaml

from latentrun.config.fingerprint import fit_hash
from latentrun.errors import InputError
from latentrun.store import Plain, atomic, now
from latentrun.store.files import alone, claim, locks
from latentrun.store.intake import plain, read_json, read_yaml
from latentrun.tables.collect import PLAN, is_sweep, read_plan

SCHEMA = 1


@dataclass(frozen=True)
class Job:
    """One run of a sweep. ``name``: of its directory within the sweep's; ``overrides``: the swept ones,
    ``key=value``; ``config``: its settings as plain values; ``about``: what goes to its meta.json;
    ``skipped``: why it is not run at all, or None; ``measure``: it is trained already, and what it lacks of
    its diagnostics is measured."""

    number: int
    name: str
    overrides: tuple[str, ...]
    config: Mapping[str, Any]
    about: Mapping[str, Any]
    skipped: str | None = None
    measure: bool = False


class Places(Protocol):
    """Where the run of a job is, and the file for what its process prints."""

    def directory(self, job: Job) -> Path: ...

    def log(self, job: Job) -> Path: ...


class Sweep:
    """The directory of a sweep."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not is_sweep(self.path):
            raise InputError(f"{str(self.path)!r} is not a sweep of latentrun: it holds no plan.csv")

    @classmethod
    def create(cls, path: str | Path, meta: Mapping[str, Any]) -> Sweep:
        """A new directory, with a plan without jobs; InputError where it cannot be made."""
        path = Path(path)
        claim(path, "sweep")
        with atomic(path / "meta.json") as file:
            json.dump({"schema": SCHEMA, "kind": "sweep", "created": now(), **meta}, file, indent=1)
        with atomic(path / "plan.csv") as file:
            pd.DataFrame(columns=list(PLAN)).to_csv(file, index=False)
        return cls(path)

    # ---------------------------------------------------------------- the plan
    @property
    def meta(self) -> dict[str, Any]:
        """Schema, when and how it was started, its launcher's settings, the keys that are swept."""
        return read_json(self.path / "meta.json")

    def table(self) -> pd.DataFrame:
        """``plan.csv``: the number of each job, and as text its directory, overrides, hash, and why it is
        skipped."""
        return read_plan(self.path)

    def add(self, jobs: Sequence[Job]) -> None:
        """Write jobs down, behind those that are there; several processes may do so at once."""
        for job in jobs:
            content = {"config": dict(job.config), "about": dict(job.about)}
            with atomic(self.path / "jobs" / f"{job.number}.yaml") as file:
                yaml.dump(content, file, Plain, sort_keys=False, allow_unicode=True)
        rows = pd.DataFrame([_row(job) for job in jobs], columns=list(PLAN))
        with alone(self.path / ".plan.lock"):
            table = pd.concat([self.table(), rows])
            with atomic(self.path / "plan.csv") as file:
                table.to_csv(file, index=False)

    def hashes(self) -> dict[int, str]:
        """The fit_hash of every job, when it was planned."""
        table = self.table()
        return dict(zip(table["job"].astype(int), table["hash"], strict=True))

    def jobs(self) -> list[Job]:
        """All jobs of the plan."""
        return [self._job(row) for row in self.table().itertuples()]

    def job(self, number: int) -> Job:
        """One job of the plan."""
        table = self.table()
        return self._job(next(table[table["job"] == number].itertuples()))

    def _job(self, row: Any) -> Job:
        stored = read_yaml(self.path / "jobs" / f"{int(row.job)}.yaml")
        return Job(
            number=int(row.job),
            name=plain(row.directory, self.path),
            overrides=tuple(shlex.split(row.overrides)),
            config=stored["config"],
            about=stored["about"],
            skipped=row.skipped or None,
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process that carries out the sweep; InputError where another one does."""
        with open(self.path / "sweep.lock", "a") as lock:
            if not locks(lock):
                raise InputError(f"{str(self.path)!r}: another process is carrying out this sweep")
            yield

    def directory(self, job: Job) -> Path:
        """Where the job's run is."""
        return self.path / job.name

    def log(self, job: Job) -> Path:
        """What the job's process printed."""
        return self.path / "logs" / f"{job.number}.txt"


def _row(job: Job) -> dict[str, Any]:
    """A row of plan.csv."""
    return {
        "job": job.number,
        "directory": job.name,
        "overrides": shlex.join(job.overrides),
        "hash": fit_hash(job.config),
        "skipped": job.skipped or "",
    }
