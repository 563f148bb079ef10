"""The launcher ``process`` for Hydra's sweepers (a search by Optuna comes in batches; the plan grows with
each)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class ProcessLauncher(Launcher):
    """Runs each job as a process of its own; its settings are those of
    :class:`latentrun.sweep.engine.Launch`."""

    def __init__(self, **settings: object):
        del settings  # read from the configuration, where wrong ones are told by their key

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from latentrun.command.compose import (
            own_packages,  # not before it is used: Hydra imports every plugin
        )
        from latentrun.command.jobs import job_of, launch_of
        from latentrun.launchers.foreign import TrialFailed, returned
        from latentrun.sweep.plan import Sweep
        from latentrun.tasks.sweep import carry_out

        sweep = Sweep(Path(self.config.hydra.sweep.dir))
        study, keys = sweep.meta["study"], sweep.meta["swept"]
        jobs, returns = [], []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            cfg = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(cfg):
                cfg.hydra.job.id, cfg.hydra.job.num = str(number), number
            HydraConfig.instance().set_config(cfg)
            jobs.append(job_of(cfg, number, [text for text in overrides if text.partition("=")[0] in keys]))
        sweep.add(jobs)
        trust = [*self.config.trust, *own_packages(self.config.hydra)]
        codes = {
            outcome.job.number: outcome.code
            for outcome in carry_out(sweep, jobs, launch_of(self.config.hydra), trust)
        }
        for job in jobs:
            try:
                value, status = (
                    returned(sweep.directory(job), codes.get(job.number, 1), study["metrics"]),
                    JobStatus.COMPLETED,
                )
            except TrialFailed as error:
                value, status = error, JobStatus.FAILED
            returns.append(JobReturn(overrides=list(job.overrides), status=status, _return_value=value))
        return returns
