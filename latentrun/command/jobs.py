"""What ``-m`` makes of a command line: the jobs of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latentrun.command.compose import compose, compose_job
from latentrun.command.overrides import latest, read
from latentrun.command.values import (
    choices_of,
    is_default_list,
    overrides_of,
    readable_errors,
    settings_of,
    user_folders,
    values_of,
)
from latentrun.config.options import shipped, task_keys
from latentrun.config.settings import key_of
from latentrun.sweep.plan import Job

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

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
    choose sweep (see :func:`latentrun.command.overrides.all_overrides`)."""
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
    with readable_errors():
        name = str(cfg.hydra.sweep.subdir)
    values, choices = values_of(settings_of(cfg)), choices_of(cfg.hydra)
    keys = task_keys(choices["task"], [shipped(), *user_folders(cfg.hydra)])  # a command's, not a run's
    config = {key: value for key, value in values.items() if key not in keys} | {"task": choices["task"]}
    about = {
        "choices": choices,
        "overrides": overrides_of(cfg.hydra),
        "default_list": is_default_list(values),
    }
    # Hydra's name of an option within another, likelihood@model.likelihood, is not the user's.
    telling = tuple(f"{key_of(text)}={text.partition('=')[2]}" for text in overrides)
    return Job(number, name, telling, config, about)


def composer(folders: Sequence[Path]) -> Callable[[int, Sequence[str], Sequence[str]], Job]:
    """``compose`` of :class:`latentrun.tasks.base.Command`, with the user's own folders of options."""

    def composed(number: int, overrides: Sequence[str], telling: Sequence[str]) -> Job:
        return job_of(compose(latest(overrides), folders), number, telling)

    return composed
