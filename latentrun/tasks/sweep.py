"""From a plan to finished runs: every job checked before the first starts, then all that are not finished
carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from latentrun.comparisons.base import Candidate, Comparison
from latentrun.config.build import targets
from latentrun.config.fingerprint import data_key, fit_hash
from latentrun.config.options import digests, option
from latentrun.config.settings import settings
from latentrun.config.trust import Trust
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import misfit
from latentrun.errors import InputError, Misfit, Several
from latentrun.report.sweep import write_page
from latentrun.store import RunDirectory
from latentrun.sweep.engine import Engine, Launch, Outcome
from latentrun.sweep.live import View
from latentrun.sweep.plan import Job, Sweep
from latentrun.system.door import Guarded
from latentrun.system.interrupts import Interrupted
from latentrun.system.terminal import show
from latentrun.tables.collect import collect_sweep, write_tables
from latentrun.tasks.assembly import assembled
from latentrun.tasks.base import check_settings
from latentrun.tasks.child import work
from latentrun.tasks.compare import comparable, compare, comparisons_of
from latentrun.tasks.findings import tell_sayings
from latentrun.tasks.trial import TRIED, require_working


def checked(jobs: Sequence[Job], trust: Trust, shared: dict[str, Dataset] | None = None) -> list[Job]:
    """The jobs, each built once and found to fit together; InputError names job and key. ``shared``: as in
    :func:`~latentrun.tasks.assembly.assembled`.

    Jobs whose parts do not fit together are marked as skipped where their ``skip_inapplicable`` is true."""
    shared = {} if shared is None else shared
    comparisons = comparisons_of(jobs[0].config, trust) if jobs and jobs[0].config["comparison"] else {}
    if comparisons and len(jobs) < 2:
        raise InputError("comparison: a sweep of one job has nothing to compare: give a key several values")
    marked, candidates, tried = [], [], set()
    for job in jobs:
        marked.append(fitting_or_skipped(job, comparisons, trust, shared, tried))
        if marked[-1].skipped is None:
            candidates.append(candidate(job, comparisons, shared[data_key(job.config)]))
    misfits = [job for job in marked if job.skipped is not None]
    if not all(job.config["skip_inapplicable"] for job in misfits):
        reasons = "; ".join(f"{titled(job)}: {job.skipped}" for job in misfits[:4])
        raise InputError(
            f"{len(misfits)} of {len(jobs)} jobs do not fit together "
            f"(skip_inapplicable=true leaves them out): {reasons}"
        )
    comparable(comparisons, candidates, bool(comparisons) and jobs[0].config["skip_inapplicable"])
    return marked


def candidate(job: Job, comparisons: Mapping[str, Comparison], data: Dataset) -> Candidate:
    """The run that a job will be, measured by its diagnostics and what the comparisons need beside them."""
    specs = dict(job.config["diagnostic"])
    for name in (name for comparison in comparisons.values() for name in comparison.needs):
        specs.setdefault(name, option("diagnostic", name))
    return Candidate(job.name, settings(job.config, job.about["choices"]), data, specs)


def fitting_or_skipped(
    job: Job,
    comparisons: Mapping[str, Comparison],
    trust: Trust,
    shared: dict[str, Dataset],
    tried: set[tuple[str, ...]],
) -> Job:
    """The job, built once; marked with the reason where its parts, or it and the ``comparisons``, do not fit
    together. InputError where something in it is wrong. ``tried``: classes that a job before has tried
    together, which this one tries only when it runs."""
    config = {**job.config, "trust": [*job.config["trust"], *trust.fresh]}
    try:
        check_settings(job.config)
        assembly = assembled(config, job.about["choices"], job.about["default_list"], shared)
        for name, comparison in comparisons.items():
            lack = misfit(comparison, assembly.model, assembly.data, job.config["training"])
            if lack is not None and not job.config["skip_inapplicable"]:
                raise Misfit(f"comparison {name!r} needs {lack.noun}; its {lack.side} has none")
        classes = tuple(targets([job.config[group] for group in TRIED]))
        if classes not in tried:
            require_working(assembly)
        tried.add(classes)
    except Misfit as error:
        return replace(job, skipped=str(error))
    except Several as error:
        raise Several(f"{titled(job)}: {line}" for line in error.lines) from None
    except InputError as error:
        raise InputError(f"{titled(job)}: {error}") from None
    return job


def titled(job: Job) -> str:
    """A job in messages: ``job 2 (seed=1)``."""
    return f"job {job.number} ({', '.join(job.overrides)})"


def unfinished(sweep: Sweep) -> list[Job]:
    """The jobs that are still to be done; InputError where a job's directory holds another run."""
    jobs, hashes = [], sweep.hashes()
    for job in sweep.jobs():
        path = sweep.directory(job)
        sweep.log(job).require_appendable()
        if job.skipped is not None:
            continue
        if not (Guarded(path) / "meta.json").exists():
            jobs.append(job)
            continue
        directory = RunDirectory(path)
        if directory.meta.get("fit_hash") != hashes[job.number]:
            raise InputError(f"{str(path)!r} holds another run than job {job.number} of the plan")
        if not directory.finished:
            jobs.append(job)
    return jobs


def carry_out(sweep: Sweep, jobs: Sequence[Job], launch: Launch, trust: Trust) -> list[Outcome]:
    """Run the jobs, keep the tables up to date after each, and make the sweep's page at the end, however it
    ends."""
    show(f"sweep {sweep.path}: {len(jobs)} jobs")
    with sweep.locked():
        try:
            with View(sweep, len(jobs)) as view:

                def ended(outcome: Outcome) -> None:
                    view.end(outcome)
                    write_tables(sweep.path)

                return Engine(sweep, launch, work, trust, ended, view.show).run(jobs)
        except Interrupted:
            show(f"to go on: latentrun resume={sweep.path}")
            raise
        finally:
            write_tables(sweep.path)
            write_page(sweep.path)


def resume_sweep(sweep: Sweep, launch: Launch, trust: Trust) -> int:
    """Do what of a sweep is missing, failed or interrupted; the exit code."""
    jobs = unfinished(sweep)
    if not jobs:
        show(f"{sweep.path} is finished: nothing to resume")
        return 0
    hashes = sweep.hashes()
    if any(fit_hash(job.config) != hashes[job.number] for job in jobs):
        show("the code has changed since the sweep began: what runs now may differ from what is finished")
    for folder, digest in sweep.meta.get("options", {}).items():
        if digests([Path(folder)])[folder] != digest:
            show(
                f"the options in {folder} have changed since the sweep began; "
                "it goes on with those of its plan"
            )
    return conclude(sweep, carry_out(sweep, jobs, launch, trust), trust)


def conclude(sweep: Sweep, outcomes: Sequence[Outcome], trust: Trust) -> int:
    """Say how it went, and compare the finished runs where the sweep asks for that; the exit code."""
    failed = [outcome for outcome in outcomes if outcome.code]
    done = len(outcomes) - len(failed)
    tell_sayings(collect_sweep(sweep.path)[0], sweep.path)
    show(f"{done} done, {len(failed)} failed; tables and report in {sweep.path}")
    for outcome in failed:
        show(f"  {titled(outcome.job)}: {outcome.reason}")
    if failed:
        show(f"to go on with them: latentrun resume={sweep.path}")
    return 1 if compared(sweep, trust) or failed else 0


def compared(sweep: Sweep, trust: Trust) -> int:
    """The comparisons that the sweep names, of its finished runs, into ``comparisons/``; the exit code."""
    jobs = [job for job in sweep.jobs() if job.skipped is None]
    if not jobs or not jobs[0].config["comparison"]:
        return 0
    finished = [
        path for job in jobs if (path := sweep.directory(job)).is_dir() and RunDirectory(path).finished
    ]
    if len(finished) < 2:
        show(f"nothing to compare: finished runs: {len(finished)}")
        return 1
    # What does not fit some of the runs is left out: nobody waits for days to read that.
    skip = jobs[0].config["skip_inapplicable"] is not False
    config = {**jobs[0].config, "skip_inapplicable": skip}
    code = compare(finished, config, (sweep.folder / "comparisons").checked(), trust, anew=True)
    write_tables(sweep.path)  # the comparisons may have added diagnostics
    write_page(sweep.path)
    return code
