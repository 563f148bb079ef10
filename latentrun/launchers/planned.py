"""A sweep of trainings: its jobs planned and checked before the first one starts, then carried out by our own
processes, or by a launcher or sweeper of Hydra's that is not ours."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentrun.command.jobs import jobs_of, only_swept, swept
from latentrun.command.overrides import all_overrides, latest
from latentrun.command.typed import quoted
from latentrun.command.values import launcher_of
from latentrun.config.options import digests
from latentrun.config.trust import Trust
from latentrun.launchers import foreign
from latentrun.store.files import require_empty
from latentrun.sweep.engine import Launch
from latentrun.sweep.plan import Sweep
from latentrun.tasks.sweep import carry_out, checked, conclude

if TYPE_CHECKING:
    from omegaconf import DictConfig


def sweep(
    overrides: Sequence[str], cfg: DictConfig, path: Path, folders: Sequence[Path], trust: Trust
) -> int:
    """Plan a sweep into ``path``, ``cfg`` being its first job, and carry it out; the exit code."""
    choices = cfg.hydra.runtime.choices
    ours = choices["hydra/launcher"] == "process"
    launch = Launch.of(launcher_of(cfg.hydra)) if ours else None
    texts = all_overrides(overrides, cfg.hydra)  # Hydra's own launchers add what options sweep by themselves
    about = {
        "launcher": choices["hydra/launcher"],
        "sweeper": choices["hydra/sweeper"],
        "swept": swept(texts),
        "argv": sys.argv[1:],
        "options": digests(folders),
    }
    given = [*latest([*overrides, f"hydra.sweep.dir={quoted(str(path))}"]), only_swept(texts)]
    if about["sweeper"] == "optuna":
        return search(cfg, overrides, given, path, about, folders, trust)
    require_empty(path)
    jobs = checked(jobs_of(texts, folders), trust)
    plan = Sweep.create(path, about)
    plan.add(jobs)
    if launch is not None:
        fitting = [job for job in jobs if job.skipped is None]
        return conclude(plan, carry_out(plan, fitting, launch, trust), trust)
    return foreign.carry_through(plan, given, folders, trust, foreign.at_once(cfg, len(jobs)))


def search(
    cfg: DictConfig,
    overrides: Sequence[str],
    given: Sequence[str],
    path: Path,
    about: dict[str, Any],
    folders: Sequence[Path],
    trust: Trust,
) -> int:
    """A sweep whose jobs Optuna thinks of, one batch after the other; the exit code."""
    study, settings = foreign.study_of(cfg, overrides, trust)
    keys = [*about["swept"], *study["searched"]]
    plan = Sweep.create(path, {**about, "swept": keys, "study": study})
    processes = foreign.at_once(cfg, study["at_once"])
    return foreign.carry_through(plan, [*given, *settings], folders, trust, processes)
