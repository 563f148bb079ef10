"""``task=compare``: finished runs are compared, each measured by what the comparisons need of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from latentrun.comparisons.base import Candidate, Comparison, measured_with
from latentrun.config.bounds import Printable
from latentrun.config.build import build
from latentrun.config.fingerprint import data_key
from latentrun.config.options import option
from latentrun.config.settings import settings
from latentrun.config.trust import Trust
from latentrun.diagnostics.base import Diagnostic, misfit
from latentrun.errors import InputError, few
from latentrun.functional.noise import Noise
from latentrun.report.page import comparison_page
from latentrun.run import Run
from latentrun.store import ComparisonDirectory, RunDirectory
from latentrun.store.files import require_empty
from latentrun.system.disk import require_room
from latentrun.system.provenance import environment
from latentrun.system.terminal import show
from latentrun.tables.collect import runs_in
from latentrun.tasks.assembly import device_named, measuring
from latentrun.tasks.base import MACHINE, Command, Task
from latentrun.tasks.console import LOGGER, RESULT, log_to
from latentrun.tasks.loading import load
from latentrun.tasks.measure import ask, extend, write_skipped
from latentrun.tasks.questions import Questions
from latentrun.types import Status

Pattern = Annotated[str, Printable()]


class Compare(Task):
    """Compare finished runs, into a directory of their own. ``runs``: directories or patterns; the first run
    is the reference."""

    beside = ("comparison", "diagnostic", *MACHINE, "seed", "figures", "skip_inapplicable")

    def __init__(self, runs: Pattern | list[Pattern]):
        self.patterns = [runs] if isinstance(runs, str) else runs

    def run(self, command: Command) -> int:
        # one pattern after the other: the order given decides which run is the first
        paths = [path for pattern in self.patterns for path in runs_in([pattern])]
        return compare(paths, command.values, command.path, command.trust)


def compare(
    paths: Sequence[str | Path], config: Mapping[str, Any], path: Path, trust: Trust, anew: bool = False
) -> int:
    """Compare the finished runs in ``paths`` by all that ``config["comparison"]`` names, into the directory
    ``path``; the exit code. A comparison that fails does not take the others along.

    ``anew``: take the place of an earlier comparison in ``path``.
    """
    comparisons = comparisons_of(config, trust)
    directories = opened(paths)
    runs = loaded(directories, trust, config["device"])
    fitting, skipped = applicable(comparisons, runs, config["skip_inapplicable"])
    added = [missing(fitting, run, config, trust) for run in runs]
    candidates = [candidate(run, questions) for run, questions in zip(runs, added, strict=True)]
    fitting, incomparable = comparable(fitting, candidates, config["skip_inapplicable"])
    require_room(path)
    for directory, questions in zip(directories, added, strict=True):
        if questions.diagnostics:
            directory.require_writable()  # before others are measured for long
    if not anew:
        require_empty(path)
    failed = []
    for run, directory, questions in zip(runs, directories, added, strict=True):
        if questions.diagnostics:
            show(f"{run.name}: measuring {', '.join(questions.diagnostics)}, which the comparison needs")
            failed += [run.name] if extend(run, directory, questions) else []
    if any(questions.diagnostics for questions in added):
        runs = loaded(directories, trust, config["device"])
    meta = {"runs": [about(run, path) for run in runs], **environment(runs[0].device)}
    directory = ComparisonDirectory.create(path, meta, anew)
    failed += carry_out(fitting, skipped | incomparable, runs, config, directory)
    return 1 if failed else 0


def carry_out(
    comparisons: Mapping[str, Comparison],
    skipped: Mapping[str, str],
    runs: Sequence[Run],
    config: Mapping[str, Any],
    directory: ComparisonDirectory,
) -> list[str]:
    """Carry the comparisons out and write the page; the names of those that failed."""
    failed = []
    handler = log_to(directory.folder / "compare.log")
    try:
        for run in runs:
            for note in run.notes:
                LOGGER.warning("%s: %s", run.name, note)
        for name, reason in skipped.items():
            write_skipped(directory, name, reason)
        for name, comparison in comparisons.items():
            noise, spec = Noise(config["seed"]).at("comparison", name), config["comparison"][name]
            answer = partial(comparison, runs, noise)
            report = ask(comparison, answer, directory, name, spec, config["figures"], runs[0].data.cmap)
            failed += [name] if report.status is Status.FAILED else []
        directory.write_page(comparison_page(directory))
        LOGGER.log(RESULT, "report %s", directory.path / "report.html")
    finally:
        LOGGER.removeHandler(handler)
        handler.close()
    return failed


def comparisons_of(config: Mapping[str, Any], trust: Trust) -> dict[str, Comparison]:
    """The comparisons of a configuration; InputError where there is none, or one is wrong."""
    if not config["comparison"]:
        raise InputError("comparison: name at least one: 'comparison=[metrics,config_diff]'")
    return {
        name: build(spec, Comparison, f"comparison.{name}", trust.fresh)
        for name, spec in config["comparison"].items()
    }


# ---------------------------------------------------------------- the runs
def opened(paths: Sequence[str | Path]) -> list[RunDirectory]:
    """The directories, each once; InputError where one is not trained to its end, or where they are fewer
    than two."""
    directories = [RunDirectory(path) for path in {os.path.realpath(path): path for path in paths}.values()]
    if len(directories) < 2:
        names = few([str(directory.path) for directory in directories]) or "none"
        raise InputError(f"runs: a comparison needs at least two runs, got {names}")
    for directory in directories:
        directory.require_trained()
    return directories


def loaded(directories: Sequence[RunDirectory], trust: Trust, device: str) -> list[Run]:
    """The runs, under names that tell them apart; those with the same settings of the data share them."""
    place = measuring(device_named(device))
    names = [directory.path.resolve().name for directory in directories]
    if len(set(names)) < len(names):
        root = os.path.commonpath([directory.path.resolve() for directory in directories])
        names = [str(directory.path.resolve().relative_to(root)) for directory in directories]
    runs, shared = [], {}
    for directory, name in zip(directories, names, strict=True):
        run = load(directory.path, trust.directory, place)
        runs.append(replace(run, name=name, data=shared.setdefault(data_key(run.config), run.data)))
    return runs


def applicable(
    comparisons: Mapping[str, Comparison], runs: Sequence[Run], skip: bool | None
) -> tuple[dict[str, Comparison], dict[str, str]]:
    """The comparisons that fit all runs, and why the others do not; InputError for those unless ``skip``."""
    fitting, skipped = {}, {}
    for name, comparison in comparisons.items():
        reason = next((why for run in runs if (why := unfit(comparison, run)) is not None), None)
        if reason is None:
            fitting[name] = comparison
        elif skip:
            skipped[name] = reason
        else:
            raise InputError(f"comparison {name!r} {reason} (skip_inapplicable=true leaves it out)")
    return fitting, skipped


def comparable(
    comparisons: Mapping[str, Comparison], candidates: Sequence[Candidate], skip: bool | None
) -> tuple[dict[str, Comparison], dict[str, str]]:
    """The comparisons that runs can be compared by, and why not by the others; InputError for those unless
    ``skip``. Nothing is measured for that."""
    fitting, skipped = {}, {}
    for name, comparison in comparisons.items():
        try:
            comparison.check(candidates)
            fitting[name] = comparison
        except InputError as error:
            if not skip:
                raise InputError(
                    f"comparison {name!r}: {error} (skip_inapplicable=true leaves it out)"
                ) from None
            skipped[name] = str(error)
    return fitting, skipped


def candidate(run: Run, questions: Questions) -> Candidate:
    """A finished run, and what it will be measured by."""
    specs = {**measured_with(run), **questions.specs}
    return Candidate(run.name, settings(run.config, run.meta.get("choices", {})), run.data, specs)


def unfit(question: Comparison | Diagnostic, run: Run) -> str | None:
    """What a run lacks of what a question needs, in words; None where it lacks nothing."""
    lack = misfit(question, run.model, run.data, run.config.get("training"))
    return None if lack is None else f"needs {lack.noun}; the {lack.side} of {run.name!r} has none"


def missing(
    comparisons: Mapping[str, Comparison], run: Run, config: Mapping[str, Any], trust: Trust
) -> Questions:
    """The diagnostics that the comparisons need and the run has not; InputError where one does not fit it.
    Settings are those of ``config`` where it has the diagnostic, else those of its option."""
    needs = dict.fromkeys(need for comparison in comparisons.values() for need in comparison.needs)
    specs = {
        name: config["diagnostic"].get(name) or option("diagnostic", name)
        for name in needs
        if name not in run.reports
    }
    diagnostics = {
        name: build(spec, Diagnostic, f"diagnostic.{name}", trust.fresh) for name, spec in specs.items()
    }
    for name, diagnostic in diagnostics.items():
        reason = unfit(diagnostic, run)
        if reason is not None:
            raise InputError(f"diagnostic {name!r}, which a comparison needs, {reason}")
        diagnostic.check(run.model, run.data)
    return Questions(diagnostics, specs, {}, config["figures"])


def about(run: Run, path: Path) -> dict[str, Any]:
    """What the comparison's meta.json says of a run; its directory relative to ``path``, where the two may be
    linked."""
    entries = {key: run.meta.get(key) for key in ("created", "fit_hash", "data_hash", "choices")}
    measured = {
        name: entry.get("hash")
        for name, entry in run.meta["diagnostics"].items()
        if entry["status"] == Status.OK
    }
    place = os.path.relpath(str(run.directory), path)
    return {"name": run.name, "path": place, "seed": run.seed, **entries, "measured": measured}
