"""``task=claims``: sentences in, a table of verdicts out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from latentrun.claims.claim import Claim, Subject, claims_of, size_of
from latentrun.claims.compared import (
    Answer,
    answers,
    answers_table,
    built,
    encounters,
    metrics_by_seed,
    specs_of,
)
from latentrun.claims.evidence import (
    Evidence,
    Numbers,
    Request,
    commits,
    declared_metrics,
    lacking,
    merged,
    requests,
    trained,
)
from latentrun.claims.fixed import history
from latentrun.claims.judge import Verdict, claims_table, judge, values_table
from latentrun.claims.page import markdown, write_claims
from latentrun.config.fingerprint import data_key, fingerprint
from latentrun.config.settings import key_of
from latentrun.config.trust import Trust
from latentrun.data.base import Dataset
from latentrun.errors import InputError, few, nearest
from latentrun.functional.statistics.verdicts import REPORTED
from latentrun.report.sweep import write_page
from latentrun.store import now
from latentrun.store.files import claim as claim_directory
from latentrun.store.files import require_empty, write_json, write_table, write_text
from latentrun.sweep.engine import Engine, Launch, Outcome, warm
from latentrun.sweep.live import View
from latentrun.sweep.plan import Job, Sweep
from latentrun.system.disk import require_room
from latentrun.system.door import Guarded
from latentrun.system.interrupts import Interrupted
from latentrun.system.provenance import environment
from latentrun.system.terminal import show
from latentrun.tables.collect import write_tables
from latentrun.tasks.assembly import device_named
from latentrun.tasks.base import Command, Task
from latentrun.tasks.child import work
from latentrun.tasks.compare import compare
from latentrun.tasks.sweep import checked

SCHEMA = 1
CHANGED = "the code was changed meanwhile: the same command trains it again"
SHARED = ("output", "device", "threads", "figures", "trust")  # what the runs take over
Metrics = Mapping[Subject, Mapping[int, Mapping[str, float]]]  # of runs, or of comparisons of some, by seed


class Claims(Task):
    """Judge sentences by the runs that they speak of, found or trained.

    ``sizes``: how much is run, by name: seeds, and overrides beside those of the claims; ``size``: which of
    them.
    """

    beside = ("claim", "comparison", *SHARED)
    settled = "the claims and sizes.<size>.overrides say what is trained; beside them"

    def __init__(self, size: str, sizes: dict[str, dict[str, Any]]):
        self.name, self.size = size, size_of(sizes, size)

    def require_single(self) -> None:
        raise InputError("task=claims has seeds of its own ('sizes.full.seeds=[0,1,2]'): leave -m out")

    def run(self, command: Command) -> int:
        claims = claims_of(command.values.get("claim"))
        launch, trust = Launch.of(command.launcher), command.trust.for_its_runs()
        warm(work.__module__)  # while the trainings are composed and checked
        shared = [text for text in command.overrides if key_of(text).partition(".")[0] in SHARED]
        jobs, numbers = merged(composed(requests(claims, self.size), shared, command.compose))
        jobs, digests = checked_with_data(jobs, trust)
        specs = specs_of(claims, command.values["comparison"])
        comparisons = built(specs, trust.fresh)
        declared = declared_metrics(claims, jobs, numbers, trust.fresh, comparisons)
        require_room(command.path)
        require_empty(command.path)
        claim_directory(command.path, "verdict")
        evidence = Evidence(jobs, Guarded(command.path) / "logs", digests)
        evidence.look(command.values["output"])
        try:
            outcomes = gathered(evidence, command.sweep_path, launch, trust)
        except Interrupted:
            show("what is finished is kept: the same command goes on from there")
            raise
        make = partial(compare_runs, config=command.values, folder=command.path / "comparisons", trust=trust)
        compared = answers(encounters(claims, evidence, numbers), specs, command.values["output"], make)
        metrics = metrics_of(claims, evidence, numbers, metrics_by_seed(compared, comparisons))
        shares = [name for name, metric in declared.items() if metric.is_share]
        verdicts = [judge(claim, metrics[claim.name], shares) for claim in claims]
        return self.conclude(verdicts, metrics, runs_table(evidence, outcomes), compared, command)

    def conclude(
        self,
        verdicts: Sequence[Verdict],
        metrics: Mapping[str, Metrics],
        runs: pd.DataFrame,
        compared: Sequence[Answer],
        command: Command,
    ) -> int:
        """Write and show what came of claims, and what is lacking in the ``metrics`` of each; the exit
        code."""
        size = {"size": self.name, "seeds": self.size.seeds, "overrides": self.size.overrides}
        write(command.path, verdicts, runs, size, command.values)
        if compared:
            write_table(Guarded(command.path) / "comparisons.csv", answers_table(compared))
        show_verdicts(verdicts, command.path)
        failed = runs[runs["state"] == "failed"]
        absent = [line for v in verdicts for line in unmeasured(v.claim, metrics[v.claim.name])]
        absent += failures(compared)
        for row in failed.itertuples():
            show(f"  {row.run} (seed {row.seed}): {row.reason}")
        for line in absent:
            show(line)
        return 1 if len(failed) or absent else 0


def composed(
    requests: Sequence[Request],
    shared: Sequence[str],
    compose: Callable[[int, Sequence[str], Sequence[str]], Job],
) -> list[tuple[Request, Job]]:
    """The trainings that claims ask for, each as a job; InputError names claim and run. ``shared``: overrides
    of all of them; ``compose``: as in :class:`~latentrun.tasks.base.Command`."""
    pairs = []
    for number, request in enumerate(requests):
        texts = [*request.overrides, *shared, f"diagnostic=[{','.join(request.diagnostics)}]"]
        try:
            job = compose(number, texts, request.overrides)
        except InputError as error:
            claim, run = request.asked[0]
            raise InputError(f"claim.{claim}, run {run!r}: {error}") from None
        pairs.append((request, replace(job, name=f"{number}_{request.name}_seed={request.seed}")))
    return pairs


def checked_with_data(jobs: Sequence[Job], trust: Trust) -> tuple[list[Job], dict[int, str]]:
    """The jobs, found to fit together, and the digest of the data of each. The data themselves are let go:
    the process that waits for hundreds of trainings holds none."""
    data: dict[str, Dataset] = {}
    jobs = checked(jobs, trust, data)
    return jobs, {job.number: data[data_key(job.config)].digest for job in jobs}


def compare_runs(
    paths: Sequence[Path],
    seed: int,
    specs: Mapping[str, Any],
    config: Mapping[str, Any],
    folder: Path,
    trust: Trust,
) -> Path:
    """Compare runs for claims, into a new directory in ``folder``, which is returned."""
    path = folder / f"{len(Guarded(folder).items())}_seed={seed}"
    settings = {"comparison": dict(specs), "diagnostic": {}, "seed": seed, "skip_inapplicable": False}
    compare(paths, {**config, **settings}, path, trust)
    return path


# ---------------------------------------------------------------- what was measured, and what was not
def metrics_of(
    claims: Sequence[Claim], evidence: Evidence, numbers: Numbers, between: Mapping[str, Metrics]
) -> dict[str, Metrics]:
    """By claim what its runs were measured by and, ``between`` them, the comparisons that it names.
    ``numbers``: the jobs that each run of each claim stands for."""
    measured = {job.number: (job.config["seed"], evidence.metrics(job)) for job in evidence.jobs}
    metrics: dict[str, Metrics] = {}
    for claim in claims:
        runs = {run: numbers.get((claim.name, run), ()) for run in claim.runs}
        by_seed = {run: dict(measured[number] for number in jobs) for run, jobs in runs.items()}
        metrics[claim.name] = {**by_seed, **between.get(claim.name, {})}
    return metrics


def unmeasured(claim: Claim, metrics: Metrics) -> list[str]:
    """A line for each metric of a claim that none of its measured runs, or comparisons, has: which parts a
    metric has is not known before."""
    pairs = [(subject, name) for part in claim.expect for subject in part.subjects for name in part.metrics]
    lines = []
    for subject, metric in dict.fromkeys(pairs):
        names = sorted({name for values in metrics[subject].values() for name in values})
        if names and metric not in names:
            whose = f"run {subject!r}" if isinstance(subject, str) else f"comparison of {few(subject)}"
            lines.append(f"{claim.name}: no {whose} has {metric!r}{nearest(metric, names)}")
    return lines


def failures(compared: Sequence[Answer]) -> list[str]:
    """A line for each comparison that failed."""
    return [
        f"{answer.encounter.claim}: comparison {answer.name!r} of {few(answer.encounter.between)} "
        f"(seed {answer.encounter.seed}) failed: {answer.reason or 'see its compare.log'}"
        for answer in compared
        if answer.state == "failed"
    ]


# ---------------------------------------------------------------- the runs
def gathered(evidence: Evidence, runs: Path, launch: Launch, trust: Trust) -> dict[int, Outcome]:
    """Train what is missing, go on with what was interrupted, measure what is lacking; how each process
    ended, by its job."""
    new, sweep = evidence.missing(), None
    present = len(evidence.jobs) - len(new)
    show(
        f"{len(evidence.jobs)} runs: {present} found, {len(evidence.incomplete())} of them incomplete; "
        f"{len(new)} to train",
    )
    if new:
        new = [replace(job, about={**job.about, "fit_hash": evidence.hashes[job.number]}) for job in new]
        sweep = Sweep.create(
            runs, {"launcher": "process", "sweeper": "claims", "swept": [], "argv": sys.argv[1:]}
        )
        sweep.add(new)
        evidence.places |= {job.number: sweep.directory(job) for job in new}
    with sweep.locked() if sweep else nullcontext():
        try:
            return carried_out([*evidence.incomplete(), *new], evidence, launch, trust)
        finally:
            if sweep is not None:
                write_tables(sweep.path)
                write_page(sweep.path)


def carried_out(jobs: Sequence[Job], evidence: Evidence, launch: Launch, trust: Trust) -> dict[int, Outcome]:
    """Run the jobs until nothing is left that can be done; how each process ended, by its job."""
    outcomes: dict[int, Outcome] = {}
    while jobs:
        with View(evidence, len(jobs)) as view:
            ended = Engine(evidence, launch, work, trust, view.end, view.show).run(jobs)
        outcomes |= {outcome.job.number: outcome for outcome in ended}
        # One that was interrupted knows the diagnostics of its own time; those of the claims come after.
        whole = {
            number for number, outcome in outcomes.items() if outcome.code == 0 and not outcome.job.measure
        }
        jobs = [job for job in evidence.incomplete() if job.measure and job.number in whole]
    return outcomes


# ---------------------------------------------------------------- what is written
def runs_table(evidence: Evidence, outcomes: Mapping[int, Outcome]) -> pd.DataFrame:
    """A row for each run: its seed, directory, fit and data, the commits that trained and measured it,
    whether it was there, completed, trained or failed, and why."""
    rows = []
    for job in evidence.jobs:
        meta, outcome = evidence.meta(job), outcomes.get(job.number)
        left = lacking(meta, job) if meta is not None and trained(meta) else ["its training"]
        reason = ", ".join(left)
        if left and outcome:
            reason = outcome.reason or f"{reason} failed: {evidence.log(job).path}"
        if meta is not None and trained(meta) and not evidence.is_of_one_code(job, meta):
            left, reason = ["its training"], CHANGED
        commit, measured = commits(meta, job) if meta is not None else ("", "")
        rows.append(
            {
                "run": job.name,
                "seed": job.config["seed"],
                "state": state_of(left, outcome),
                "reason": reason,
                "directory": str(evidence.places[job.number]),
                "commit": commit,
                "measured_by": measured,
                "fit_hash": (meta or {}).get("fit_hash"),
                "data_hash": evidence.data[job.number],
            }
        )
    return pd.DataFrame(rows)


def state_of(left: Sequence[str], outcome: Outcome | None) -> str:
    """What became of a run: what is ``left`` to do of it, and how its process ended, if it had one."""
    if left:
        return "failed"
    if outcome is None:
        return "found"
    return "measured" if outcome.job.measure else "trained"


def write(
    path: Path,
    verdicts: Sequence[Verdict],
    runs: pd.DataFrame,
    size: Mapping[str, Any],
    config: Mapping[str, Any],
) -> None:
    """Tables, the page and its pictures, what it was made with. ``size``: its name, seeds and overrides."""
    tables = {"claims": claims_table(verdicts), "values": values_table(verdicts), "runs": runs}
    folder = Guarded(path)
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table)
    meta = {
        "schema": SCHEMA,
        "kind": "claims",
        "created": now(),
        **size,
        "claims": {
            verdict.claim.name: {"hash": fingerprint(asdict(verdict.claim)), "verdict": verdict.verdict}
            for verdict in verdicts
        },
        **environment(device_named(config["device"])),
    }
    write_json(folder / "meta.json", meta)
    write_text(folder / "claims.md", markdown(verdicts, runs, meta))
    write_claims(path, verdicts, runs, meta, config["figures"])


def show_verdicts(verdicts: Sequence[Verdict], path: Path) -> None:
    """The verdicts, a line each, on the terminal."""
    for verdict in verdicts:
        decided = [part.finding.verdict for part in verdict.parts if part.finding.verdict != REPORTED]
        counts = ", ".join(f"{decided.count(kind)} {kind}" for kind in dict.fromkeys(decided))
        changes = history(verdict.claim.amended)
        amended = f"amended {changes}" if changes else ""
        beside = "; ".join(text for text in (verdict.claim.kind, counts, amended) if text)
        show(f"{verdict.claim.name:<4} {verdict.verdict:<12} ({beside}) {verdict.claim.sentence}")
    show(f"claims.csv and report in {path}")
