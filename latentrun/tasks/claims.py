"""``task=claims``: sentences in, a table of verdicts out."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from latentrun.claims.claim import Claim, Size
from latentrun.claims.compared import (
    answers,
    answers_table,
    built,
    encounters,
    metrics_by_seed,
    specs_of,
)
from latentrun.claims.evidence import Evidence, Request, check_metrics, lacking, merged, trained
from latentrun.claims.judge import Verdict, claims_table, judge, values_table
from latentrun.claims.page import markdown, write_claims
from latentrun.config.fingerprint import data_key, fingerprint
from latentrun.config.settings import key_of
from latentrun.data.base import Dataset
from latentrun.errors import InputError, few, nearest
from latentrun.functional.statistics.verdicts import REPORTED
from latentrun.report.sweep import write_page
from latentrun.store import atomic, now
from latentrun.store.files import claim, require_empty, write_table
from latentrun.sweep.engine import Engine, Launch, Outcome
from latentrun.sweep.live import View
from latentrun.sweep.plan import Job, Sweep
from latentrun.system.disk import require_room
from latentrun.system.interrupts import Interrupted
from latentrun.system.provenance import environment
from latentrun.tables.collect import write_tables
from latentrun.tasks.assembly import device_named
from latentrun.tasks.child import work
from latentrun.tasks.compare import compare
from latentrun.tasks.sweep import checked

SCHEMA = 1
OWN = ("task", "claim", "comparison", "size", "sizes", "hydra")  # settings that belong to the judging
SHARED = (
    "output",
    "device",
    "threads",
    "figures",
    "trust",
)  # those that the runs take over; all else is the claims' to say


def require_own(overrides: Sequence[str]) -> None:
    """InputError where a setting is given that is the claims' to say."""
    for key in map(key_of, overrides):
        if key.partition(".")[0] not in (*OWN, *SHARED):
            beside = ", ".join((*OWN[1:], *SHARED))
            raise InputError(
                f"{key}: the claims and sizes.<size>.overrides say what is trained; beside them: {beside}"
            )


def task(
    claims: Sequence[Claim],
    size: Size,
    asked: Sequence[tuple[Request, Job]],
    config: Mapping[str, Any],
    path: Path,
    runs: Path,
    launch: Launch,
    trust: Sequence[str] = (),
) -> int:
    """Judge the claims by the runs that they ask for, into the directory ``path``; the exit code.

    ``asked``: each request with its composed job. Runs that are there, anywhere under ``config["output"]``,
    are used; what they lack is measured, and those that are missing are trained as the sweep ``runs``, all in
    processes as ``launch`` says. What a run that fails would have said is missing in the numbers of seeds.
    ``trust``: what the user trusts, in command or own files."""
    jobs, numbers = merged(asked)
    data: dict[str, Dataset] = {}
    jobs = checked(jobs, trust, data)
    specs = specs_of(claims, config["comparison"] or {})
    questions = built(specs, trust)
    check_metrics(claims, jobs, numbers, trust, questions)
    require_room(path)
    require_empty(path)
    claim(path, "verdict")
    evidence = Evidence(jobs, path / "logs", {job.number: data[data_key(job.config)].digest for job in jobs})
    evidence.look(config["output"])
    try:
        outcomes = gathered(evidence, runs, launch, trust)
    except Interrupted:
        print("what is finished is kept: the same command goes on from there", flush=True)
        raise
    known = {job.number: (job.config["seed"], evidence.metrics(job)) for job in jobs}
    make = partial(compare_runs, config=config, folder=path / "comparisons", trust=trust)
    compared = answers(encounters(claims, evidence, numbers), specs, config["output"], make)
    between = metrics_by_seed(compared, questions)
    found = {
        claim.name: {run: dict(known[n] for n in numbers.get((claim.name, run), ())) for run in claim.runs}
        | between.get(claim.name, {})
        for claim in claims
    }
    verdicts = [judge(claim, found[claim.name]) for claim in claims]
    table = runs_table(evidence, outcomes)
    write(path, verdicts, table, size, config)
    if compared:
        write_table(path / "comparisons.csv", answers_table(compared))
    say(verdicts, path)
    failed = table[table["state"] == "failed"]
    for row in failed.itertuples():
        print(f"  {row.run} (seed {row.seed}): {row.reason}")
    absent = [line for claim in claims for line in unmeasured(claim, found[claim.name])]
    for answer in compared:
        if answer.state == "failed":
            absent.append(
                f"{answer.encounter.claim}: comparison {answer.name!r} of {few(answer.encounter.between)} "
                f"(seed {answer.encounter.seed}) failed: {answer.reason or 'see its compare.log'}"
            )
    print(*absent, sep="\n", end="\n" if absent else "")
    return 1 if len(failed) or absent else 0


def unmeasured(claim: Claim, found: Mapping[str, Mapping[int, Mapping[str, float]]]) -> list[str]:
    """A line for each metric of a claim that none of its measured runs has: which parts a metric has is not
    known before."""
    lines = []
    pairs = [(subject, name) for part in claim.expect for subject in part.subjects for name in part.metrics]
    for subject, metric in dict.fromkeys(pairs):
        known = sorted({name for values in found[subject].values() for name in values})
        if known and metric not in known:
            whose = f"run {subject!r}" if isinstance(subject, str) else f"comparison of {few(subject)}"
            lines.append(f"{claim.name}: no {whose} has {metric!r}{nearest(metric, known)}")
    return lines


def compare_runs(
    paths: Sequence[Path],
    seed: int,
    specs: Mapping[str, Any],
    config: Mapping[str, Any],
    folder: Path,
    trust: Sequence[str],
) -> Path:
    """Compare runs for claims, into a new directory in ``folder``, which is returned."""
    path = folder / f"{len(list(folder.glob('*')))}_seed={seed}"
    settings = {"comparison": dict(specs), "diagnostic": {}, "seed": seed, "skip_inapplicable": False}
    compare(paths, {**config, **settings, "trust": list(trust)}, path)
    return path


def gathered(evidence: Evidence, runs: Path, launch: Launch, trust: Sequence[str]) -> dict[int, Outcome]:
    """Train what is missing, go on with what was interrupted, measure what is lacking; how each process
    ended, by its job."""
    new, sweep = evidence.missing(), None
    found = len(evidence.jobs) - len(new)
    print(
        f"{len(evidence.jobs)} runs: {found} found, {len(evidence.incomplete())} of them incomplete; "
        f"{len(new)} to train",
        flush=True,
    )
    if new:
        about = {"launcher": "process", "sweeper": "claims", "swept": [], "argv": sys.argv[1:]}
        sweep = Sweep.create(runs, about)
        sweep.add(new)
        evidence.places |= {job.number: sweep.directory(job) for job in new}
    outcomes: dict[int, Outcome] = {}
    with sweep.locked() if sweep else nullcontext():
        try:
            todo = [*evidence.incomplete(), *new]
            while todo:
                with View(evidence, len(todo)) as view:
                    ended = Engine(evidence, launch, work, trust, view.end, view.show).run(todo)
                outcomes |= {outcome.job.number: outcome for outcome in ended}
                # One that was interrupted knows the diagnostics of its own time; those of the claims come
                # after.
                whole = {
                    number
                    for number, outcome in outcomes.items()
                    if outcome.code == 0 and not outcome.job.measure
                }
                todo = [job for job in evidence.incomplete() if job.measure and job.number in whole]
        finally:
            if sweep is not None:
                write_tables(sweep.path)
                write_page(sweep.path)
    return outcomes


# ---------------------------------------------------------------- what is written
def runs_table(evidence: Evidence, outcomes: Mapping[int, Outcome]) -> pd.DataFrame:
    """A row for each run: its seed, directory, fit and data, whether it was there, completed, trained or
    failed, and why."""
    rows = []
    for job in evidence.jobs:
        meta, outcome = evidence.meta(job), outcomes.get(job.number)
        left = lacking(meta, job) if meta is not None and trained(meta) else ["its training"]
        state = (
            "failed"
            if left
            else "found"
            if outcome is None
            else "measured"
            if outcome.job.measure
            else "trained"
        )
        reason = (
            (outcome.reason or f"{', '.join(left)} failed: {evidence.log(job)}")
            if left and outcome
            else ", ".join(left)
        )
        where = {
            "directory": str(evidence.places[job.number]),
            "fit_hash": (meta or {}).get("fit_hash"),
            "data_hash": evidence.data[job.number],
        }
        rows.append(
            {"run": job.name, "seed": job.config["seed"], "state": state, "reason": reason or "", **where}
        )
    return pd.DataFrame(rows)


def write(
    path: Path, verdicts: Sequence[Verdict], runs: pd.DataFrame, size: Size, config: Mapping[str, Any]
) -> None:
    """Tables, the page and its pictures, what it was made with."""
    table = claims_table(verdicts)
    for name, frame in {"claims": table, "values": values_table(verdicts), "runs": runs}.items():
        write_table(path / f"{name}.csv", frame)
    about = {
        **{
            "schema": SCHEMA,
            "kind": "claims",
            "created": now(),
            "size": config["size"],
            "seeds": size.seeds,
            "overrides": size.overrides,
        },
        "claims": {
            each.claim.name: {"hash": fingerprint(asdict(each.claim)), "verdict": each.verdict}
            for each in verdicts
        },
        **environment(device_named(config["device"])),
    }
    with atomic(path / "meta.json") as file:
        json.dump(about, file, indent=1)
    with atomic(path / "claims.md") as file:
        file.write(markdown(verdicts, about))
    write_claims(path, verdicts, runs, about, config["figures"])


def say(verdicts: Sequence[Verdict], path: Path) -> None:
    """The verdicts, a line each, on the terminal."""
    for each in verdicts:
        decided = [part.finding.verdict for part in each.parts if part.finding.verdict != REPORTED]
        counts = ", ".join(f"{decided.count(kind)} {kind}" for kind in dict.fromkeys(decided))
        print(f"{each.claim.name:<4} {each.verdict:<12} ({counts}) {each.claim.sentence}")
    print(f"claims.csv and report in {path}")
