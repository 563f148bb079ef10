"""``task=diagnose``: diagnostics are added to a finished run, without training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from latentrun.config.bounds import Printable
from latentrun.config.trust import Trust
from latentrun.store import RunDirectory
from latentrun.tasks.assembly import device_named, measuring
from latentrun.tasks.base import Command, Task
from latentrun.tasks.loading import load
from latentrun.tasks.measure import extend
from latentrun.tasks.questions import questions_of


class Diagnose(Task):
    """Measure a finished run by what it lacks of the diagnostics; ``force``: by all of them again."""

    beside = ("diagnostic", "device", "threads", "trust", "figures", "skip_inapplicable")

    def __init__(self, run: Annotated[str, Printable()], force: bool):
        self.source, self.force = run, force

    def run(self, command: Command) -> int:
        return diagnose(self.source, command.values, command.trust, command.default_list, self.force)


def diagnose(
    path: str, config: Mapping[str, Any], trust: Trust, default_list: bool, force: bool = False
) -> int:
    """Measure the run in ``path`` by the diagnostics of ``config``; the exit code."""
    directory = RunDirectory(path)
    directory.require("choices")
    directory.require_writable()
    run = load(directory.path, trust.directory, measuring(device_named(config["device"])))
    directory.require_trained()
    requested = {**config, "trust": trust.fresh, "training": run.config["training"]}
    questions = questions_of(requested, run.model, run.data, directory.meta["choices"], default_list)
    questions.require_rows(run.data)
    return extend(run, directory, questions, force)
