"""The runs that claims speak of: found where they are finished, completed where they lack something, trained
where they are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from latentrun.claims.claim import Claim, Size
from latentrun.comparisons.base import Comparison
from latentrun.config.build import build
from latentrun.config.fingerprint import fingerprint, fit_hash
from latentrun.config.settings import key_of
from latentrun.diagnostics.base import Diagnostic, Question
from latentrun.errors import InputError, unknown
from latentrun.store import RunDirectory, fits
from latentrun.store.activity import WORKING
from latentrun.sweep.plan import Job
from latentrun.system.door import Guarded
from latentrun.tables.collect import collect
from latentrun.types import Metric, Status

# (claim, name of a run in it) to the numbers of the jobs of its seeds
Numbers = Mapping[tuple[str, str], Sequence[int]]


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
    diagnostics: dict[tuple[str, ...], dict[str, None]] = {}
    asking: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for claim in claims:
        for run, overrides in claim.runs.items():
            parts = [part for part in claim.expect if run in part.runs]
            if parts:
                asking.setdefault(tuple(overrides), []).append((claim.name, run))
            for part in parts:
                names = () if part.between else part.questions  # a comparison sees to what it needs itself
                diagnostics.setdefault(tuple(overrides), {}).update(dict.fromkeys(names))
    return [
        Request(
            name=asking[overrides][0][1],
            seed=seed,
            overrides=(*overrides, *cut(overrides, size.overrides), f"seed={seed}"),
            diagnostics=tuple(diagnostics[overrides]),
            asked=tuple(asking[overrides]),
        )
        for overrides in asking
        for seed in size.seeds
    ]


def cut(overrides: Sequence[str], limits: Sequence[str]) -> list[str]:
    """What the ``limits`` of a size say of a run with these overrides: a number that the run sets itself and
    that is no greater stays, so that a short training is not made longer.

    >>> cut(["training.epochs=5", "rows=20000"], ["training.epochs=10", "rows=12000"])
    ['rows=12000']
    """
    own = {key_of(text): text.partition("=")[2] for text in overrides}
    return [text for text in limits if not _is_at_most(own.get(key_of(text), ""), text.partition("=")[2])]


def _is_at_most(number: str, limit: str) -> bool:
    try:
        return float(number) <= float(limit)
    except ValueError:  # not a number, or none is set
        return False


@dataclass
class Evidence:
    """``jobs`` that claims need and where the run of each is; what its process prints goes to ``logs``.

    ``places``: the directory of each job's run, by its number, where there is one; ``hashes``: the fit that
    each asks for by the code as it was when runs were looked for."""

    jobs: list[Job]
    logs: Guarded
    data: Mapping[int, str]  # digest of the rows of each job
    places: dict[int, Path] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)

    def directory(self, job: Job) -> Path:
        """Where the job's run is."""
        return self.places[job.number]

    def log(self, job: Job) -> Guarded:
        """What the job's process prints."""
        return self.logs / f"{job.number}.txt"

    def look(self, root: str | Path) -> None:
        """Find runs at most three folders under ``root`` with the fit that a job asks for and its rows: of
        several the one that has the most of its diagnostics; where none is trained to its end, one that
        nobody works on and that can be gone on with."""
        self.hashes = {job.number: fit_hash(job.config) for job in self.jobs}
        runs = [(path, meta) for path, meta in fits(root, set(self.hashes.values())) if readable(path)]
        paths = [path for path, _ in runs]
        states = dict(zip(paths, collect(paths)["state"], strict=True))
        for job in self.jobs:
            wanted = self.hashes[job.number], self.data[job.number]
            ranked = [
                (rank(meta, job), path)
                for path, meta in runs
                if (meta["fit_hash"], meta.get("data_hash")) == wanted
                and meta.get("versions", {}).get("torch") == version("torch")
                # What somebody works on is there already where it lacks nothing.
                and (states[path] not in WORKING or (trained(meta) and not lacking(meta, job)))
            ]
            if ranked:
                self.places[job.number] = max(ranked)[1]

    def missing(self) -> list[Job]:
        """The jobs that no run stands for yet."""
        return [job for job in self.jobs if job.number not in self.places]

    def incomplete(self) -> list[Job]:
        """The jobs whose run was not trained to its end, and those that are to be measured still, marked
        so."""
        jobs = []
        for job in self.jobs:
            meta = self.meta(job)
            if meta is not None and not trained(meta):
                jobs.append(job)
            elif meta is not None and lacking(meta, job):
                jobs.append(replace(job, measure=True))
        return jobs

    def meta(self, job: Job) -> dict[str, Any] | None:
        """What meta.json says of the job's run; None where there is none, or it never got a beginning."""
        path = self.places.get(job.number)
        return (
            RunDirectory(path).meta if path is not None and (Guarded(path) / "meta.json").exists() else None
        )

    def is_of_one_code(self, job: Job, meta: Mapping[str, Any]) -> bool:
        """Whether a run has the fit that the job asked for, by code and settings as they were then and still
        are on disk: a table is made of runs of one code."""
        return meta["fit_hash"] == self.hashes[job.number] == fit_hash(job.config)

    def metrics(self, job: Job) -> dict[str, float]:
        """``diagnostic/metric`` of the job's run, of the diagnostics as the job has them; what is there of a
        run that failed counts, nothing of one that other code has trained."""
        meta = self.meta(job)
        if meta is None or not self.is_of_one_code(job, meta):
            return {}
        return values_of(RunDirectory(self.places[job.number]).read_table("metrics"), lacking(meta, job))


def values_of(table: pd.DataFrame, left_out: Sequence[str] = (), of: str = "diagnostic") -> dict[str, float]:
    """A table of metrics as ``diagnostic/metric`` to value (``of``: what its metrics are of); without those
    of the diagnostics ``left_out``."""
    if not {of, "metric", "value"} <= set(table.columns):
        return {}
    rows = table[table["metric"].notna() & ~table[of].isin(left_out)]
    names = rows[of].astype(str) + "/" + rows["metric"].astype(str)
    return dict(zip(names, pd.to_numeric(rows["value"], errors="coerce").astype(float), strict=True))


def trained(meta: Mapping[str, Any]) -> bool:
    """Whether a run's training came to its end."""
    return "trained" in meta


def commits(meta: Mapping[str, Any], job: Job) -> tuple[str, str]:
    """The commit that trained a run, and those that measured it for the job, where they are others; with
    ``+`` where that code was changed, ``unknown`` outside a checkout."""
    trained_by = str(meta.get("git") or "unknown")
    entries = (meta["diagnostics"].get(name, {}) for name in job.config["diagnostic"])
    measured = {str(entry.get("git") or "unknown") for entry in entries if entry.get("status") == Status.OK}
    return trained_by, ", ".join(sorted(measured - {trained_by}))


def readable(path: Path) -> bool:
    """Whether what is in ``path`` can be used as a run: others write into the output root too."""
    try:
        directory = RunDirectory(path)
        directory.read_table("metrics")
        return bool(directory.config)
    except (InputError, OSError):
        return False


def rank(meta: Mapping[str, Any], job: Job) -> tuple[bool, int, str]:
    """How much of a job a run is: trained to its end, lacking little, the newest."""
    return trained(meta), -len(lacking(meta, job)), str(meta.get("created"))


def lacking(meta: Mapping[str, Any], job: Job) -> list[str]:
    """The diagnostics of a job that a run was not measured by with the same settings and code."""
    hashes = measured_by(meta)
    specs = job.config["diagnostic"]
    return [name for name, spec in specs.items() if hashes.get(name) != fingerprint(spec)]


def measured_by(meta: Mapping[str, Any]) -> dict[str, str]:
    """The hash of every diagnostic that a run was measured by."""
    entries = meta["diagnostics"].items()
    return {name: entry.get("hash") for name, entry in entries if entry["status"] == Status.OK}


def merged(requested: Iterable[tuple[Request, Job]]) -> tuple[list[Job], Numbers]:
    """Jobs that are the same fit as one, with the diagnostics of all; and those that each run of each claim
    stands for.

    InputError where they want one diagnostic with different settings: a run keeps one report of each."""
    jobs: dict[str, Job] = {}
    numbers: dict[tuple[str, str], list[int]] = {}
    for request, job in requested:
        key = fit_hash(job.config)
        first = jobs.setdefault(key, job)
        for claim_and_run in request.asked:
            numbers.setdefault(claim_and_run, []).append(first.number)
        diagnostics = dict(first.config["diagnostic"])
        for name, spec in job.config["diagnostic"].items():
            if diagnostics.setdefault(name, spec) != spec:
                raise InputError(
                    f"diagnostic {name!r}: claims want different settings of it for the same run "
                    f"({', '.join(job.overrides)})"
                )
        jobs[key] = replace(first, config={**first.config, "diagnostic": diagnostics})
    return list(jobs.values()), numbers


# ---------------------------------------------------------------- what claims need of it
def declared_metrics(
    claims: Sequence[Claim],
    jobs: Sequence[Job],
    numbers: Numbers,
    trust: Sequence[str],
    comparisons: Mapping[str, Comparison] | None = None,
) -> dict[str, Metric]:
    """What the metrics that claims name are declared to be, by ``diagnostic/metric``; InputError where a
    diagnostic, or a comparison, does not declare one."""
    specs = {job.number: job.config["diagnostic"] for job in jobs}
    built: dict[str, Question] = {}
    declared: dict[str, Metric] = {}
    for claim in claims:
        for i, part in enumerate(claim.expect):
            for metric in part.metrics:
                name, _, inner = metric.partition("/")
                if part.between:
                    question = (comparisons or {})[name]
                else:
                    spec = specs[numbers[claim.name, part.runs[0]][0]][name]
                    if name not in built:
                        built[name] = build(spec, Diagnostic, f"diagnostic.{name}", trust)
                    question = built[name]
                if inner.partition(".")[0] not in question.metrics:
                    where = f"metric of {name} in claim.{claim.name}.expect[{i}]"
                    raise unknown(where, inner, list(question.metrics))
                declared[metric] = question.metrics[inner.partition(".")[0]]
    return declared
