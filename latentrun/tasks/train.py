"""``task=train``: the default. A model is trained and measured; what was interrupted is gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from latentrun.config.bounds import Printable
from latentrun.errors import InputError
from latentrun.store.files import require_empty
from latentrun.store.sweep import is_sweep
from latentrun.sweep.engine import Launch
from latentrun.sweep.plan import Sweep
from latentrun.system.disk import require_room
from latentrun.tasks.assembly import assembled
from latentrun.tasks.base import Command, Task
from latentrun.tasks.estimate import estimate
from latentrun.tasks.fit import train
from latentrun.tasks.resume import require_only, resume
from latentrun.tasks.sweep import resume_sweep


class Train(Task):
    """Train a model on a data set, then ask the diagnostics.

    ``estimate``: only say what training would take; ``resume``: directory of a run, or of a sweep, to go on
    with.
    """

    planned = True

    def __init__(self, estimate: bool, resume: Annotated[str, Printable()] | None):
        self.estimate, self.resume = estimate, resume

    def require_single(self) -> None:
        if self.estimate:
            raise InputError(
                "estimate=true: what one run would take; leave -m out, and choose one value of each key"
            )
        if self.resume is not None:
            raise InputError("resume=DIR goes on with the run or the sweep that is there: leave -m out")

    def run(self, command: Command) -> int:
        if self.resume is not None:
            return go_on(self.resume, command)
        config = {**command.values, "trust": list(command.trust.fresh)}
        if not self.estimate:
            require_room(command.path)
            require_empty(command.path)
        assembly = assembled(config, command.choices, command.default_list)
        if self.estimate:
            return estimate(assembly, command.path)
        return train(assembly, command.path, command.about)


def go_on(path: str, command: Command) -> int:
    """Do what is left of the run, or of the sweep, in ``path``; the exit code."""
    require_only(command.overrides)
    if is_sweep(Path(path)):
        launch, trust = Launch.of(command.launcher), command.trust.for_directories()
        return resume_sweep(Sweep(path), launch, trust)
    device = command.values["device"] if "device" in command.given else None
    return resume(path, command.trust.directory, command.values["threads"], device)
