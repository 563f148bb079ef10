"""From a composed configuration to a task and what it needs of the command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from latentrun.command.jobs import composer
from latentrun.command.values import (
    choices_of,
    is_default_list,
    launcher_of,
    overrides_of,
    readable_errors,
    trust_of,
    user_folders,
    values_of,
)
from latentrun.tasks.base import Command, Task, check_settings, task_of, without_keys

if TYPE_CHECKING:
    from omegaconf import DictConfig


def command_of(settings: DictConfig, hydra: DictConfig, path: Path) -> tuple[Task, Command]:
    """The task that a configuration names, made, and the command that it is to carry out in ``path``;
    InputError where a setting at the top level is wrong."""
    values, choices = values_of(settings), choices_of(hydra)
    trust = trust_of(values, hydra)
    task = task_of(values, trust)
    values = without_keys(task, values, choices["task"])
    check_settings(values)
    with readable_errors():
        sweep_path = Path(hydra.sweep.dir)
    command = Command(
        values=values,
        path=path,
        trust=trust,
        overrides=tuple(overrides_of(hydra)),
        choices=choices,
        default_list=is_default_list(values),
        sweep_path=sweep_path,
        launcher=launcher_of(hydra),
        compose=composer(user_folders(hydra)),
    )
    return task, command
