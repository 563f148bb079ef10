"""From a composed configuration to a task and what it needs of the command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latentrun.command.jobs import composer
from latentrun.command.overrides import params_of
from latentrun.command.values import (
    choices_of,
    is_default_list,
    launcher_of,
    overrides_of,
    place_of,
    trust_of,
    user_folders,
    values_of,
)
from latentrun.config.settings import key_of
from latentrun.errors import InputError
from latentrun.tasks.base import Command, Task, check_settings, task_of, without_keys

if TYPE_CHECKING:
    from omegaconf import DictConfig


def require_nothing_swept(hydra: DictConfig, overrides: Sequence[str]) -> None:
    """InputError where an option sweeps keys of which the command line does not choose one value."""
    given = {key_of(text) for text in overrides}
    swept = {key: values for key, values in params_of(hydra).items() if key not in given}
    if swept:
        shown = " ".join(f"{key}={values}" for key, values in swept.items())
        (key, values), *_ = swept.items()
        raise InputError(
            f"hydra.sweeper.params ({shown}): an option chosen sweeps this: add -m, or choose one value: "
            f"{key}={values.partition(',')[0]}"
        )


def command_of(settings: DictConfig, hydra: DictConfig, path: Path) -> tuple[Task, Command]:
    """The task that a configuration names, made, and the command that it is to carry out in ``path``;
    InputError where a setting at the top level is wrong."""
    values, choices = values_of(settings), choices_of(hydra)
    trust = trust_of(values, hydra)
    task = task_of(values, trust)
    values = without_keys(task, values, choices["task"])
    check_settings(values)
    if task.planned:
        require_nothing_swept(hydra, overrides_of(hydra))
    command = Command(
        values=values,
        path=path,
        trust=trust,
        overrides=tuple(overrides_of(hydra)),
        choices=choices,
        default_list=is_default_list(values),
        sweep_path=place_of(hydra, "sweep"),
        launcher=launcher_of(hydra),
        compose=composer(user_folders(hydra)),
    )
    return task, command
