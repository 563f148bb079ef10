"""Jobs under a launcher or a sweeper that is not ours: joblib, submitit (SLURM), Ray, Optuna.

A launcher may start a job in any process on any machine: it finds :func:`job` by its name, and importing this
module tells that process all that Hydra must know of us.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from latentrun.command.jobs import job_of
from latentrun.command.overrides import read
from latentrun.command.registration import register, search_path, version_base
from latentrun.command.typed import quoted
from latentrun.command.values import trust_of
from latentrun.config.options import shipped
from latentrun.config.trust import Trust
from latentrun.errors import InputError, one_line
from latentrun.report.sweep import write_page
from latentrun.store import RunDirectory
from latentrun.store.files import last_line
from latentrun.sweep.engine import Outcome, cores
from latentrun.sweep.plan import Job, Sweep
from latentrun.sweep.study import Search, begin, directions, metrics_named, open_study, values, write_trials
from latentrun.system.door import Guarded
from latentrun.system.interrupts import Interrupted, interruptible
from latentrun.system.terminal import show
from latentrun.tables.collect import write_tables
from latentrun.tasks.assembly import assembled
from latentrun.tasks.child import run
from latentrun.tasks.sweep import conclude

register()

BEGIN = f"{begin.__module__}.{begin.__qualname__}"
UNSAID = (None, 0.0, "minimize")  # what the sweeper takes for a key that nobody sets


class TrialFailed(Exception):
    """A job of a search has no value to give; the search goes on without it."""


# ---------------------------------------------------------------- in the process of a job
def job(cfg: DictConfig) -> int | float | list[float]:
    """One job of a sweep, begun or, where a preempted one was put into the queue again, gone on with.

    Returns its exit code, so that a launcher never takes the others down with it; in a search the values of
    the optimised metrics, and TrialFailed where there are none.
    """
    node = HydraConfig.get()
    with open_dict(cfg):
        cfg.hydra = node
    sweep = Sweep(node.sweep.dir)
    planned = _planned(sweep, cfg)
    path = sweep.directory(planned)
    if planned.skipped is not None:
        Guarded(path).remove_empty()  # Hydra has made it
        return 0
    try:
        with interruptible():
            trust = trust_of(planned.config, node).for_its_runs()
            code, reason = run(path, planned.config, planned.about, trust)
    except Interrupted as stopped:
        # It is saved; now what the launcher does about it: submitit puts the job into its queue again.
        signal.raise_signal(stopped.number)
        code, reason = stopped.code, str(stopped)
    if reason:
        show(f"latentrun: job {planned.number}: {reason}", error=True)
        with sweep.log(planned).appending() as file:
            file.write(f"{reason}\n".encode())
    with suppress(Exception):  # another process may be at it; the last one makes them whole
        write_tables(sweep.path)
    metrics = metrics_named(planned.config["optimized_metric"]) if "study" in sweep.meta else []
    return returned(path, code, metrics)


def returned(path: Path, code: int, metrics: Sequence[str]) -> int | float | list[float]:
    """What a sweeper gets from a job that ended with ``code``."""
    if not metrics:
        return code
    if code:
        raise TrialFailed(f"exit code {code}")
    try:
        numbers = values(path, metrics)
    except InputError as error:
        raise TrialFailed(str(error)) from None
    return numbers[0] if len(numbers) == 1 else numbers


def _planned(sweep: Sweep, cfg: DictConfig) -> Job:
    """The job as it was planned; one of a search is planned now."""
    number = int(cfg.hydra.job.num)
    if number not in sweep.hashes():
        swept = sweep.meta["swept"]
        overrides = [text for text in cfg.hydra.overrides.task if text.partition("=")[0] in swept]
        sweep.add([job_of(cfg, number, overrides)])
    return sweep.job(number)


# ---------------------------------------------------------------- in the process of the sweep
def study_of(cfg: DictConfig, overrides: Sequence[str], trust: Trust) -> tuple[dict[str, Any], list[str]]:
    """What a search by Optuna is about: ``metrics``, their ``directions``, the ``storage`` and ``name`` of
    its study, how many jobs go ``at_once``, the keys ``searched`` that the command line does not name; and
    the overrides that tell the sweeper. InputError where it cannot begin."""
    first = job_of(cfg, 0, ())
    sweeper = OmegaConf.to_container(cfg.hydra.sweeper, resolve=True, enum_to_str=True)
    defaults = {
        "storage": f"sqlite:///{cfg.hydra.sweep.dir}/study.db",
        "study_name": "latentrun",
        "custom_search_space": BEGIN,
        "max_failure_rate": 1.0,
        "direction": None,
    }
    given = {read(text, "").get_key_element() for text in overrides}
    ours: dict[str, Any] = {
        key: value
        for key, value in defaults.items()
        if sweeper[key] in UNSAID and f"hydra.sweeper.{key}" not in given
    }
    search = Search.of(sweeper | ours)
    metrics = metrics_named(first.config["optimized_metric"])
    config = {**first.config, "trust": list(trust.fresh)}
    questions = assembled(config, first.about["choices"], first.about["default_list"]).questions
    ours["direction"] = directions(metrics, questions.diagnostics, search.direction)
    about = {
        "metrics": metrics,
        "directions": ours["direction"],
        "storage": search.storage,
        "name": search.study_name,
        "at_once": search.n_jobs,
        "searched": list(sweeper["params"] or ()),
    }
    if search.storage != defaults["storage"]:
        open_study(about)
    return about, [f"hydra.sweeper.{key}={literal(value)}" for key, value in ours.items()]


def literal(value: Any) -> str:
    """A value for Hydra's grammar."""
    if isinstance(value, list):
        return f"[{','.join(map(literal, value))}]"
    return quoted(value) if isinstance(value, str) else str(value)


def at_once(cfg: DictConfig, jobs: int) -> int:
    """How many of ``jobs`` processes share the cores of this machine; 1 where the launcher sees to it, or
    they are elsewhere."""
    launcher = cfg.hydra.runtime.choices["hydra/launcher"]
    if launcher == "joblib":
        return min(jobs, cfg.hydra.launcher.n_jobs if cfg.hydra.launcher.n_jobs > 0 else cores())
    return jobs if launcher == "submitit_local" else 1


def carry_through(
    sweep: Sweep, overrides: Sequence[str], folders: Sequence[Path], trust: Trust, processes: int
) -> int:
    """Let Hydra carry out a sweep with the launcher and sweeper of the overrides; the exit code, by what the
    directories say.

    ``processes``: as :func:`at_once` says.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # its errors come here
    os.environ["SQLALCHEMY_SILENCE_UBER_WARNING"] = "1"  # of Optuna's storage
    if processes > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    ours = sweep.meta["launcher"] == "process"  # it looks after the sweep's lock itself, batch by batch
    broken = False
    sys.argv = [sys.argv[0], "--multirun", *overrides, *search_path(folders)]
    try:
        with nullcontext() if ours else sweep.locked():
            hydra.main(config_path=str(shipped()), config_name="config", **version_base())(job)()
    except Exception as error:
        # A process that died, a queue that refused: the directories know what came of each job.
        show(f"latentrun: {type(error).__name__}: {one_line(error)}", error=True)
        broken = True
    finally:
        if "study" in sweep.meta:
            write_trials(sweep)
        write_tables(sweep.path)
        write_page(sweep.path)
    outcomes = [_outcome(sweep, job) for job in sweep.jobs() if job.skipped is None]
    return conclude(sweep, outcomes, trust) or int(broken)


def _outcome(sweep: Sweep, job: Job) -> Outcome:
    """How a job ended, as its directory tells."""
    path = sweep.directory(job)
    if not (Guarded(path) / "meta.json").exists():
        return Outcome(job, 2, last_line(sweep.log(job)) or "it was never begun", 0.0)
    directory = RunDirectory(path)
    if directory.finished:
        return Outcome(job, 0, None, 0.0)
    status = directory.status
    return Outcome(job, 1, status.get("reason") or f"its state is {status['state']!r}", 0.0)
