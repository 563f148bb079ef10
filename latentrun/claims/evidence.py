"""The runs that claims speak of: found where they are finished, completed where they lack something, trained
where they are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from latentrun.claims.claim import Claim, Size
from latentrun.config.build import build
from latentrun.config.fingerprint import fingerprint, fit_hash
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import InputError, unknown
from latentrun.store import RunDirectory, fits
from latentrun.store.activity import WORKING
from latentrun.sweep.plan import Job
from latentrun.tables.collect import collect
from latentrun.types import Status

Asked = Mapping[
    tuple[str, str], Sequence[int]
]  # (claim, name of a run in it) to the numbers of the jobs of its seeds


@dataclass(frozen=True)
class Request:
    """A training that claims ask for: its ``overrides``, one of the ``seeds`` among them; the ``diagnostics``
    that measure what they need; and who asks, ``(claim, name of the run in it)``."""

    name: str
    seed: int
    overrides: tuple[str, ...]
    diagnostics: tuple[str, ...]
    asked: tuple[tuple[str, str], ...]


def requests(claims: Sequence[Claim], size: Size) -> list[Request]:
    """What the claims ask for; what several of them ask for once, with the diagnostics of all."""
    needed: dict[tuple[str, ...], dict[str, dict]] = {}
    for claim in claims:
        for run, overrides in claim.runs.items():
            own = needed.setdefault(tuple(overrides), {"diagnostics": {}, "asked": {}})
            parts = [part for part in claim.expect if run in part.runs]
            own["diagnostics"] |= dict.fromkeys(
                metric.partition("/")[0] for part in parts for metric in part.metrics
            )
            own["asked"][claim.name, run] = None
    return [
        Request(
            next(iter(own["asked"]))[1],
            seed,
            (*overrides, *size.overrides, f"seed={seed}"),
            tuple(own["diagnostics"]),
            tuple(own["asked"]),
        )
        for overrides, own in needed.items()
        if own["diagnostics"]
        for seed in size.seeds
    ]


@dataclass
class Evidence:
    """``jobs`` that claims need and where the run of each is; what its process prints goes to ``logs``.

    ``places``: the directory of each job's run, by its number, where there is one."""

    jobs: list[Job]
    logs: Path
    data: Mapping[int, str]  # digest of the rows of each job
    places: dict[int, Path] = field(default_factory=dict)

    def directory(self, job: Job) -> Path:
        """Where the job's run is."""
        return self.places[job.number]

    def log(self, job: Job) -> Path:
        """What the job's process prints."""
        return self.logs / f"{job.number}.txt"

    def look(self, root: str | Path) -> None:
        """Find runs at most three folders under ``root`` with the fit that a job asks for and its rows: of
        several the one that has the most of its diagnostics; where none is trained to its end, one that
        nobody works on and that can be gone on with."""
        hashes = {job.number: fit_hash(job.config) for job in self.jobs}
        known = [(path, meta) for path, meta in fits(root, set(hashes.values())) if readable(path)]
        states = (
            dict(zip((path for path, _ in known), collect([path for path, _ in known])["state"], strict=True))
            if known
            else {}
        )
        for job in self.jobs:
            wanted = hashes[job.number], self.data[job.number]
            own = [
                (path, meta) for path, meta in known if (meta["fit_hash"], meta.get("data_hash")) == wanted
            ]
            ranked = [
                ((trained(meta), -len(lacking(meta, job)), str(meta.get("created"))), path)
                for path, meta in own
                # What somebody works on is there already where it lacks nothing.
                if states[path] not in WORKING or (trained(meta) and not lacking(meta, job))
            ]
            if ranked:
                self.places[job.number] = max(ranked)[1]

    def missing(self) -> list[Job]:
        """The jobs that no run stands for yet."""
        return [job for job in self.jobs if job.number not in self.places]

    def incomplete(self) -> list[Job]:
        """The jobs whose run was not trained to its end, and those that are to be measured still, marked
        so."""
        found = []
        for job in self.jobs:
            meta = self.meta(job)
            if meta is not None and not trained(meta):
                found.append(job)
            elif meta is not None and lacking(meta, job):
                found.append(replace(job, measure=True))
        return found

    def meta(self, job: Job) -> dict[str, Any] | None:
        """What meta.json says of the job's run; None where there is none, or it never got a beginning."""
        path = self.places.get(job.number)
        return RunDirectory(path).meta if path is not None and (path / "meta.json").is_file() else None

    def metrics(self, job: Job) -> dict[str, float]:
        """``diagnostic/metric`` of the job's run, of the diagnostics as the job has them; what is there of a
        run that failed counts."""
        meta = self.meta(job)
        if meta is None:
            return {}
        table, old = RunDirectory(self.places[job.number]).read_table("metrics"), set(lacking(meta, job))
        if not {"diagnostic", "metric", "value"} <= set(table.columns):
            return {}
        known = table[table["metric"].notna() & ~table["diagnostic"].isin(old)]
        values = pd.to_numeric(known["value"], errors="coerce").astype(float)
        return dict(
            zip(known["diagnostic"].astype(str) + "/" + known["metric"].astype(str), values, strict=True)
        )


def trained(meta: Mapping[str, Any]) -> bool:
    """Whether a run's training came to its end."""
    return "trained" in meta


def readable(path: Path) -> bool:
    """Whether what is in ``path`` can be used as a run: others write into the output root too."""
    try:
        directory = RunDirectory(path)
        directory.read_table("metrics")
        return bool(directory.config)
    except (InputError, OSError, ValueError, KeyError):
        return False


def lacking(meta: Mapping[str, Any], job: Job) -> list[str]:
    """The diagnostics of a job that a run was not measured by with the same settings and code."""
    known = {
        name: entry.get("hash") for name, entry in meta["diagnostics"].items() if entry["status"] == Status.OK
    }
    return [name for name, spec in job.config["diagnostic"].items() if known.get(name) != fingerprint(spec)]


def merged(asked: Iterable[tuple[Request, Job]]) -> tuple[list[Job], Asked]:
    """Jobs that are the same fit as one, with the diagnostics of all; and those that each run of each claim
    stands for.

    InputError where they want one diagnostic with different settings: a run keeps one report of each."""
    found: dict[str, Job] = {}
    numbers: dict[tuple[str, str], list[int]] = {}
    for request, job in asked:
        key = fit_hash(job.config)
        first = found.setdefault(key, job)
        for each in request.asked:
            numbers.setdefault(each, []).append(first.number)
        own = dict(first.config["diagnostic"])
        for name, spec in job.config["diagnostic"].items():
            if own.setdefault(name, spec) != spec:
                raise InputError(
                    f"diagnostic {name!r}: claims want different settings of it for the same run "
                    f"({', '.join(job.overrides)})"
                )
        found[key] = replace(first, config={**first.config, "diagnostic": own})
    return list(found.values()), numbers


def check_metrics(claims: Sequence[Claim], jobs: Sequence[Job], asked: Asked, trust: Sequence[str]) -> None:
    """InputError where a claim names a metric that its diagnostic does not declare."""
    specs = {job.number: job.config["diagnostic"] for job in jobs}
    classes: dict[str, Mapping[str, Any]] = {}
    for claim in claims:
        for i, part in enumerate(claim.expect):
            for metric in part.metrics:
                name, _, inner = metric.partition("/")
                spec = specs[asked[claim.name, part.of][0]][name]
                if name not in classes:
                    classes[name] = build(spec, Diagnostic, f"diagnostic.{name}", trust).metrics
                if inner.partition(".")[0] not in classes[name]:
                    raise unknown(
                        f"metric of {name} in claim.{claim.name}.expect[{i}]", inner, list(classes[name])
                    )
