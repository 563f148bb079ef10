"""The launcher ``process`` for Hydra's sweepers (a search by Optuna comes in batches; the plan grows with
each)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

if TYPE_CHECKING:
    from latentrun.sweep.plan import Job, Sweep


class ProcessLauncher(Launcher):
    """Runs each job as a process of its own; its settings are those of
    :class:`latentrun.sweep.engine.Launch`."""

    def __init__(self, **settings: object):
        del settings  # read from the configuration, where wrong ones are told by their key

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        # not before it is used: Hydra imports every plugin
        from latentrun.command.values import launcher_of, trust_of
        from latentrun.sweep.engine import Launch
        from latentrun.sweep.plan import Sweep
        from latentrun.tasks.sweep import carry_out

        sweep = Sweep(Path(self.config.hydra.sweep.dir))
        jobs = [self._job(n, texts, sweep) for n, texts in enumerate(job_overrides, initial_job_idx)]
        sweep.add(jobs)
        launch = Launch.of(launcher_of(self.config.hydra))
        trust = trust_of(self.config, self.config.hydra).for_its_runs()
        outcomes = carry_out(sweep, jobs, launch, trust)
        codes = {outcome.job.number: outcome.code for outcome in outcomes}
        return [self._returned(job, codes.get(job.number, 1), sweep) for job in jobs]

    def _job(self, number: int, overrides: Sequence[str], sweep: Sweep) -> Job:
        """A job of a batch, composed."""
        from latentrun.command.jobs import job_of

        cfg = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(cfg):
            cfg.hydra.job.id, cfg.hydra.job.num = str(number), number
        HydraConfig.instance().set_config(cfg)
        keys = sweep.meta["swept"]
        return job_of(cfg, number, [text for text in overrides if text.partition("=")[0] in keys])

    def _returned(self, job: Job, code: int, sweep: Sweep) -> JobReturn:
        """What the sweeper gets from a job that ended with ``code``."""
        from latentrun.launchers.foreign import TrialFailed, returned

        try:
            value = returned(sweep.directory(job), code, sweep.meta["study"]["metrics"])
            status = JobStatus.COMPLETED
        except TrialFailed as error:
            value, status = error, JobStatus.FAILED
        return JobReturn(overrides=list(job.overrides), status=status, _return_value=value)
