"""What ``-m`` makes of a command line: the jobs of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from latentrun.command.compose import about_of, compose, compose_job, settings_of, told, values_of
from latentrun.command.overrides import read
from latentrun.config.build import fit, signature
from latentrun.errors import InputError
from latentrun.sweep.engine import Launch
from latentrun.sweep.plan import Job

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

    from latentrun.claims.evidence import Request

EXCLUDED = "hydra.job.config.override_dirname.exclude_keys"  # what the names of job directories leave out


def swept(overrides: Sequence[str]) -> list[str]:
    """The keys that are given several values."""
    return [override.get_key_element() for override in _read(overrides) if override.is_sweep_override()]


def only_swept(overrides: Sequence[str]) -> str:
    """The override that keeps what all jobs share out of the names of their directories."""
    others = [override.get_key_element() for override in _read(overrides) if not override.is_sweep_override()]
    return f"{EXCLUDED}=[{','.join(map(repr, others))}]"


def jobs_of(overrides: Sequence[str], folders: Sequence[Path]) -> list[Job]:
    """One job for each combination of the values, all composed; ``overrides`` with what the options they
    choose sweep (see :func:`latentrun.command.overrides.asked`)."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    keys, named = swept(overrides), only_swept(overrides)
    (combinations,) = BasicSweeper.split_arguments(_read(overrides), None)
    jobs = []
    for number, combination in enumerate(combinations):
        cfg = compose_job([*combination, named, f"hydra.job.num={number}"], folders)
        jobs.append(job_of(cfg, number, [text for text in combination if text.partition("=")[0] in keys]))
    return jobs


def _read(overrides: Sequence[str]) -> list[Override]:
    return [read(text, "") for text in overrides]


def job_of(cfg: DictConfig, number: int, overrides: Sequence[str]) -> Job:
    """A composed configuration as a job; ``overrides``: what tells it from the others."""
    with told():
        name = str(cfg.hydra.sweep.subdir)
    config = values_of(settings_of(cfg))
    for key in ("resume", "estimate"):  # a command's, not a run's
        config.pop(key, None)
    return Job(number, name, tuple(overrides), config, about_of(cfg.hydra, config))


def asked_for(
    requests: Sequence[Request], shared: Sequence[str], folders: Sequence[Path]
) -> list[tuple[Request, Job]]:
    """The trainings that claims ask for, each composed; ``shared``: overrides of all of them."""
    found = []
    for number, request in enumerate(requests):
        texts = [*request.overrides, *shared, f"diagnostic=[{','.join(request.diagnostics)}]"]
        try:
            job = job_of(compose(texts, folders), number, request.overrides)
        except InputError as error:
            claim, run = request.asked[0]
            raise InputError(f"claim.{claim}, run {run!r}: {error}") from None
        found.append((request, replace(job, name=f"{number}_{request.name},seed={request.seed}")))
    return found


def launch_of(hydra: DictConfig) -> Launch:
    """The settings of the launcher ``process``."""
    from omegaconf import OmegaConf

    values = {
        key: value for key, value in OmegaConf.to_container(hydra.launcher).items() if key != "_target_"
    }
    hints = signature(Launch)[1]
    return Launch(**{key: fit(value, hints[key], f"hydra.launcher.{key}") for key, value in values.items()})
