"""What every task is: a class that is built from the keys it owns and carries out a command."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from latentrun.config.bounds import Between, Ge, Printable
from latentrun.config.build import TARGET, build, fit, resolve, signature
from latentrun.config.options import GROUPS
from latentrun.config.settings import key_of
from latentrun.config.trust import Trust
from latentrun.errors import InputError, unknown
from latentrun.system.plain import plain

if TYPE_CHECKING:
    from latentrun.sweep.plan import Job

# The keys of conf/config.yaml, which every command has; a task has its own beside them.
SETTINGS = {
    "seed": Annotated[int, Ge(0)],
    "device": str,
    "threads": Annotated[int, Between(1, 1024)] | None,
    "rows": Annotated[int, Ge(2)] | None,
    "output": Annotated[str, Printable()],
    "skip_inapplicable": bool | None,
    "reuse": bool,
    "check": Literal["auto", True, False],
    "optimized_metric": Annotated[str, Printable()] | list[str] | None,
    "figures": list[Literal["png", "pdf", "svg"]],
    "trust": list[str],
}
# Groups of which an option means nothing but to the tasks that name the group in `beside`.
SPECIAL = {
    "comparison": "one run has nothing to compare it with: task=compare runs=[DIR,...], or a sweep (-m)",
    "claim": "belongs to task=claims",
}
NAMED = ("diagnostic", "comparison", "claim")  # groups whose options files are named after
EVERYTHING = (*SETTINGS, *(group for group in GROUPS if group not in SPECIAL))
MACHINE = ("output", "device", "threads", "trust")  # what a finished run leaves open


@dataclass(frozen=True)
class Command:
    """What the command line says, beside the keys of the task.

    ``values``: the configuration as plain values, ``task`` by its name; ``path``: the directory that is the
    command's own, which is not made yet; ``overrides``: ``key=value`` as given; ``choices``: the option
    chosen of each group; ``default_list``: the diagnostics are those of config.yaml, not ones the user named;
    ``sweep_path``: the directory of a sweep, for a task that trains runs itself; ``launcher``: settings of
    the processes of such a sweep; ``compose(number, overrides, telling)``: a training composed as that job of
    it, ``telling`` being the overrides that tell it from the others.
    """

    values: Mapping[str, Any]
    path: Path
    trust: Trust
    overrides: tuple[str, ...]
    choices: Mapping[str, Any]
    default_list: bool
    sweep_path: Path
    launcher: Mapping[str, Any]
    compose: Callable[[int, Sequence[str], Sequence[str]], Job]

    @property
    def about(self) -> dict[str, Any]:
        """What meta.json says of the command."""
        return {
            "choices": self.choices,
            "overrides": list(self.overrides),
            "default_list": self.default_list,
        }

    @property
    def given(self) -> set[str]:
        """The keys and groups at the top level that the command line names."""
        return {key_of(text).partition(".")[0] for text in self.overrides}


class Task(ABC):
    """Something that the command does. ``conf/task/<name>.yaml`` names the class, as ``task: {_target_:
    ...}``, and holds a value for each key.

    The arguments of the constructor are the keys that the task owns: ``run=DIR``, ``n=100``; their
    annotations hold types and bounds. ``beside``: the general keys and groups that may be given beside them;
    ``settled``: why no others may. ``planned``: it trains a run, so that the jobs of a sweep are checked
    before the first one starts, and carried out as processes; those of other tasks run one after the other.
    """

    beside: ClassVar[tuple[str, ...]] = EVERYTHING
    settled: ClassVar[str | None] = None
    planned: ClassVar[bool] = False

    @abstractmethod
    def run(self, command: Command) -> int:
        """Do it; the exit code: 0 done, 1 failed. InputError where something is wrong with the input."""

    def require_single(self) -> None:
        """InputError where the task, as it is set, is none for a sweep (``-m``); most are."""
        return

    def require_beside(self, command: Command) -> None:
        """InputError for a key that the task does not take."""
        for group, why in SPECIAL.items():
            if command.values.get(group) and group not in self.beside:
                raise InputError(f"{group}: {why}")
        keys = list(signature(type(self))[0])
        for key in map(key_of, command.overrides):
            if key.partition(".")[0] not in ("task", *keys, *self.beside):
                raise InputError(f"{key}: {self._settled(keys)}: {', '.join(self._listed(keys))}")

    def _settled(self, keys: Sequence[str]) -> str:
        if self.settled is not None:
            return self.settled
        if "run" in keys:
            return "the run is used with its own settings; beside run=DIR"
        if "runs" in keys:
            return "runs are used with their own settings; beside runs=[DIR,...]"
        return "is nothing to this task, which takes"

    def _listed(self, keys: Sequence[str]) -> list[str]:
        """What may be given, apart from what the task is about."""
        return [key for key in (*self.beside, *keys) if key not in ("run", "runs")]


# ---------------------------------------------------------------- from values to a task
def task_of(values: Mapping[str, Any], trust: Trust) -> Task:
    """The task that a configuration names, with its keys out of it; InputError."""
    node = values["task"]
    target = node.get(TARGET) if isinstance(node, Mapping) else None
    if target is None:
        raise InputError(f"task: must be a mapping with the key {TARGET}, got {node!r}")
    parameters, _ = signature(resolve(target, Task, "task", trust.fresh))
    spec = {TARGET: target, **{key: values[key] for key in parameters if key in values}}
    try:
        return build(spec, Task, "task", trust.fresh)
    except InputError as error:  # the keys of a task stand at the top level
        raise type(error)(str(error).removeprefix("task.")) from error


def without_keys(task: Task, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """``values`` without the keys of the task, which goes by its name: what a run is made of."""
    keys = signature(type(task))[0]
    return {key: value for key, value in values.items() if key not in keys} | {"task": name}


def check_settings(config: Mapping[str, Any]) -> None:
    """The top-level keys are known and their values in bounds."""
    for key, value in config.items():
        if key in SETTINGS:
            fit(value, SETTINGS[key], key)
        elif key not in GROUPS:
            raise unknown("key", key, [*SETTINGS, *GROUPS])
    for group in NAMED:
        for name in config.get(group) or ():
            plain(name, group)
