"""From a plan to finished runs: every job checked before the first starts, then all that are not finished
carried out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from latentrun.config.fingerprint import fit_hash
from latentrun.config.options import digests
from latentrun.data.base import Dataset
from latentrun.errors import InputError, Misfit
from latentrun.report.sweep import write_page
from latentrun.store import RunDirectory
from latentrun.sweep.engine import Engine, Launch, Outcome
from latentrun.sweep.live import View
from latentrun.sweep.plan import Job, Sweep
from latentrun.system.interrupts import Interrupted
from latentrun.tables.collect import write_tables
from latentrun.tasks.assembly import check_settings, plan
from latentrun.tasks.child import work
from latentrun.tasks.compare import built, compare


def checked(jobs: Sequence[Job], trust: Sequence[str], shared: dict[str, Dataset] | None = None) -> list[Job]:
    """The jobs, each built once and found to fit together; InputError names job and key. ``shared``: as in
    :func:`plan`.

    Jobs whose parts do not fit together are marked as skipped where their ``skip_inapplicable`` is true."""
    found, misfits, shared = [], [], {} if shared is None else shared
    if jobs and jobs[0].config["comparison"]:
        built({**jobs[0].config, "trust": list(trust)})
    for job in jobs:
        where = f"job {job.number} ({', '.join(job.overrides)})"
        try:
            check_settings(job.config)
            plan(
                {**job.config, "trust": [*job.config["trust"], *trust]},
                job.about["choices"],
                job.about["default_list"],
                shared,
            )
        except Misfit as error:
            misfits.append(f"{where}: {error}")
            job = replace(job, skipped=str(error))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        found.append(job)
    if misfits and not all(job.config["skip_inapplicable"] for job in found if job.skipped):
        raise InputError(
            f"{len(misfits)} of {len(jobs)} jobs do not fit together (skip_inapplicable=true leaves "
            f"them out): {'; '.join(misfits[:4])}"
        )
    return found


def unfinished(sweep: Sweep) -> list[Job]:
    """The jobs that are still to be done; InputError where a job's directory holds another run."""
    left = []
    hashes = sweep.hashes()
    for job in sweep.jobs():
        path = sweep.directory(job)
        if job.skipped is not None:
            continue
        if not (path / "meta.json").is_file():
            left.append(job)
            continue
        directory = RunDirectory(path)
        if directory.meta["fit_hash"] != hashes[job.number]:
            raise InputError(f"{str(path)!r} holds another run than job {job.number} of the plan")
        if not directory.finished:
            left.append(job)
    return left


def carry_out(sweep: Sweep, jobs: Sequence[Job], launch: Launch, trust: Sequence[str]) -> list[Outcome]:
    """Run the jobs, keep the tables up to date after each, and make the sweep's page at the end, however it
    ends."""
    print(f"sweep {sweep.path}: {len(jobs)} jobs", flush=True)
    with sweep.locked():
        try:
            with View(sweep, len(jobs)) as view:

                def ended(outcome: Outcome) -> None:
                    view.end(outcome)
                    write_tables(sweep.path)

                return Engine(sweep, launch, work, trust, ended, view.show).run(jobs)
        except Interrupted:
            print(f"to go on: latentrun resume={sweep.path}", flush=True)
            raise
        finally:
            write_tables(sweep.path)
            write_page(sweep.path)


def resume(sweep: Sweep, launch: Launch, trust: Sequence[str]) -> int:
    """Do what of a sweep is missing, failed or interrupted; the exit code."""
    jobs = unfinished(sweep)
    if not jobs:
        print(f"{sweep.path} is finished: nothing to resume")
        return 0
    known = sweep.hashes()
    if any(fit_hash(job.config) != known[job.number] for job in jobs):
        print("the code has changed since the sweep began: what runs now may differ from what is finished")
    for folder, digest in sweep.meta.get("options", {}).items():
        if digests([Path(folder)])[folder] != digest:
            print(
                f"the options in {folder} have changed since the sweep began; it goes on with those "
                "of its plan"
            )
    return conclude(sweep, carry_out(sweep, jobs, launch, trust), trust)


def conclude(sweep: Sweep, outcomes: Sequence[Outcome], trust: Sequence[str]) -> int:
    """Say how it went, and compare the finished runs where the sweep asks for that; the exit code."""
    failed = [outcome for outcome in outcomes if outcome.code]
    print(
        f"{len(outcomes) - len(failed)} done, {len(failed)} failed; tables and report in {sweep.path}",
        flush=True,
    )
    for outcome in failed:
        print(f"  job {outcome.job.number} ({', '.join(outcome.job.overrides)}): {outcome.reason}")
    if failed:
        print(f"to go on with them: latentrun resume={sweep.path}")
    return 1 if compared(sweep, trust) or failed else 0


def compared(sweep: Sweep, trust: Sequence[str]) -> int:
    """The comparisons that the sweep names, of its finished runs, into ``comparisons/``; the exit code."""
    jobs = [job for job in sweep.jobs() if job.skipped is None]
    if not jobs or not jobs[0].config["comparison"]:
        return 0
    finished = [
        path for job in jobs if (path := sweep.directory(job)).is_dir() and RunDirectory(path).finished
    ]
    if len(finished) < 2:
        print(f"nothing to compare: finished runs: {len(finished)}")
        return 1
    # What does not fit some of the runs is left out: nobody waits for days to read that.
    config = {
        **jobs[0].config,
        "trust": list(trust),
        "skip_inapplicable": jobs[0].config["skip_inapplicable"] is not False,
    }
    code = compare(finished, config, sweep.path / "comparisons", anew=True)
    write_tables(sweep.path)  # the comparisons may have added diagnostics
    write_page(sweep.path)
    return code
