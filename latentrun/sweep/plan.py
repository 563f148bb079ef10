"""The plan of a sweep: its jobs with all their settings, written down before the first one starts.

That is what ``resume=`` goes by, whatever has become of the options since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from latentrun.config.fingerprint import fit_hash
from latentrun.store.sweep import Entry, SweepDirectory
from latentrun.system.door import Guarded


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

    def log(self, job: Job) -> Guarded: ...


class Sweep(SweepDirectory):
    """The directory of a sweep, by its jobs."""

    def add(self, jobs: Sequence[Job]) -> None:
        """Write jobs down, behind those that are there; several processes may do so at once."""
        for job in jobs:
            self.write_settings(job.number, {"config": dict(job.config), "about": dict(job.about)})
        self.append(
            [Entry(job.number, job.name, job.overrides, fit_hash(job.config), job.skipped) for job in jobs]
        )

    def hashes(self) -> dict[int, str]:
        """The fit_hash of every job, when it was planned."""
        return {entry.number: entry.hash for entry in self.entries}

    def jobs(self) -> list[Job]:
        """All jobs of the plan."""
        return [self._job(entry) for entry in self.entries]

    def job(self, number: int) -> Job:
        """One job of the plan."""
        return self._job(next(entry for entry in self.entries if entry.number == number))

    def _job(self, entry: Entry) -> Job:
        stored = self.read_settings(entry.number)
        return Job(
            number=entry.number,
            name=entry.directory,
            overrides=entry.overrides,
            config=stored["config"],
            about=stored["about"],
            skipped=entry.skipped,
        )

    def directory(self, job: Job) -> Path:
        """Where the job's run is; InputError where only a link leads there."""
        return (self.folder / job.name).checked()

    def log(self, job: Job) -> Guarded:
        """What the job's process printed."""
        return self.log_of(job.number)
