"""Comparisons of finished runs, each run measured by what the comparisons need of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentrun.comparisons.base import Comparison
from latentrun.config.build import build
from latentrun.config.fingerprint import data_key
from latentrun.config.options import option
from latentrun.diagnostics.base import Diagnostic, misfit
from latentrun.errors import InputError, few
from latentrun.functional.noise import Noise
from latentrun.report.page import comparison_page
from latentrun.run import Run
from latentrun.store import ComparisonDirectory, RunDirectory
from latentrun.system.disk import require_room
from latentrun.system.provenance import environment
from latentrun.tables.collect import runs_in
from latentrun.tasks.assembly import device_named
from latentrun.tasks.console import LOGGER, log_to
from latentrun.tasks.loading import load
from latentrun.tasks.pipeline import extend
from latentrun.tasks.steps import ask
from latentrun.tasks.use import require_only
from latentrun.types import Report, Status

ALLOWED = (
    "task",
    "runs",
    "comparison",
    "diagnostic",
    "output",
    "device",
    "threads",
    "trust",
    "seed",
    "figures",
    "skip_inapplicable",
)


def task(config: Mapping[str, Any], path: Path, overrides: Sequence[str], own: Sequence[str] = ()) -> int:
    """``task=compare``: compare the runs that ``config["runs"]`` names, into a directory of its own; the exit
    code."""
    require_only(overrides, ALLOWED)
    patterns = [config["runs"]] if isinstance(config["runs"], str) else config["runs"]
    found = [
        run for pattern in patterns for run in runs_in([pattern])
    ]  # in the order given: the first run is the reference
    return compare(found, config, path, own)


def compare(
    paths: Sequence[str | Path],
    config: Mapping[str, Any],
    path: Path,
    own: Sequence[str] = (),
    anew: bool = False,
) -> int:
    """Compare the finished runs in ``paths`` by all that ``config["comparison"]`` names, into the directory
    ``path``; the exit code. A comparison that fails does not take the others along.

    ``own``: packages trusted for comparisons and diagnostics, which come from the user's own files, but not
    for what the runs name. ``anew``: take the place of an earlier comparison in ``path``.
    """
    comparisons = built(config, own)
    directories = opened(paths)
    runs = loaded(directories, config)
    fitting, skipped = applicable(comparisons, runs, config["skip_inapplicable"])
    added = [lacking(fitting, run, config, own) for run in runs]
    require_room(path)
    failed = []
    for run, directory, chosen in zip(runs, directories, added, strict=True):
        if chosen:
            print(f"{run.name}: measuring {', '.join(chosen)}, which the comparison needs")
            failed += [run.name] if extend(run, directory, chosen) else []
    runs = loaded(directories, config) if any(added) else runs
    directory = ComparisonDirectory.create(
        path, {"runs": [about(run, path) for run in runs], **environment(runs[0].device)}, anew
    )
    handler = log_to(directory.path / "compare.log")
    try:
        for name, reason in skipped.items():
            LOGGER.info("%s: skipped, %s", name, reason)
            directory.write_report(name, Report(status=Status.SKIPPED, notes=(reason,)), {}, {})
        for name, comparison in fitting.items():
            noise = Noise(config["seed"]).at("comparison", name)
            report = ask(
                comparison, runs, noise, directory, name, config["comparison"][name], config["figures"]
            )
            failed += [name] if report.status is Status.FAILED else []
        directory.write_page(comparison_page(directory))
        LOGGER.info("report %s", directory.path / "report.html")
    finally:
        LOGGER.removeHandler(handler)
        handler.close()
    return 1 if failed else 0


def built(config: Mapping[str, Any], own: Sequence[str] = ()) -> dict[str, Comparison]:
    """The comparisons of a configuration; InputError where there is none, or one is wrong."""
    if not config["comparison"]:
        raise InputError("comparison: name at least one: 'comparison=[metrics,config_diff]'")
    trust = [*config["trust"], *own]
    return {
        name: build(spec, Comparison, f"comparison.{name}", trust)
        for name, spec in config["comparison"].items()
    }


# ---------------------------------------------------------------- the runs
def opened(paths: Sequence[str | Path]) -> list[RunDirectory]:
    """The directories, each once; InputError where one is not trained to its end, or where they are fewer
    than two."""
    directories = [RunDirectory(path) for path in {os.path.realpath(path): path for path in paths}.values()]
    if len(directories) < 2:
        raise InputError(
            "runs: a comparison needs at least two runs, got "
            f"{few([str(d.path) for d in directories]) or 'none'}"
        )
    for directory in directories:
        directory.require_trained()
    return directories


def loaded(directories: Sequence[RunDirectory], config: Mapping[str, Any]) -> list[Run]:
    """The runs, under names that tell them apart; those with the same settings of the data share them."""
    device = device_named(config["device"])
    names = [directory.path.resolve().name for directory in directories]
    if len(set(names)) < len(names):
        root = os.path.commonpath([directory.path.resolve() for directory in directories])
        names = [str(directory.path.resolve().relative_to(root)) for directory in directories]
    runs, shared = [], {}
    for directory, name in zip(directories, names, strict=True):
        run = load(directory.path, config["trust"], device)
        run.name = name
        run.data = shared.setdefault(data_key(run.config), run.data)
        runs.append(run)
    return runs


def applicable(
    comparisons: Mapping[str, Comparison], runs: Sequence[Run], skip: bool | None
) -> tuple[dict[str, Comparison], dict[str, str]]:
    """The comparisons that fit all runs, and why the others do not; InputError for those unless ``skip``."""
    fitting, skipped = {}, {}
    for name, comparison in comparisons.items():
        lacks = [
            (run, lack)
            for run in runs
            if (lack := misfit(comparison, run.model, run.data, run.config.get("training"))) is not None
        ]
        if not lacks:
            fitting[name] = comparison
            continue
        run, lack = lacks[0]
        skipped[name] = f"needs {lack.noun}; the {lack.side} of {run.name!r} has none"
        if not skip:
            raise InputError(f"comparison {name!r} {skipped[name]} (skip_inapplicable=true leaves it out)")
    return fitting, skipped


def lacking(
    comparisons: Mapping[str, Comparison], run: Run, config: Mapping[str, Any], own: Sequence[str]
) -> dict[str, Diagnostic]:
    """The diagnostics that the comparisons need and the run has not; InputError where one does not fit it.
    Settings are those of ``config`` where it has the diagnostic, else those of its option; the run's
    configuration takes them over."""
    names = dict.fromkeys(
        need for comparison in comparisons.values() for need in comparison.needs if need not in run.reports
    )
    specs = {name: config["diagnostic"].get(name) or option("diagnostic", name) for name in names}
    chosen = {
        name: build(spec, Diagnostic, f"diagnostic.{name}", [*config["trust"], *own])
        for name, spec in specs.items()
    }
    for name, diagnostic in chosen.items():
        lack = misfit(diagnostic, run.model, run.data, run.config.get("training"))
        if lack is not None:
            raise InputError(
                f"diagnostic {name!r}, which a comparison needs, needs {lack.noun}; the {lack.side} of "
                f"{run.name!r} has none"
            )
        diagnostic.check(run.model, run.data)
    if chosen:
        run.config = {**run.config, "diagnostic": specs, "figures": config["figures"]}
    return chosen


def about(run: Run, path: Path) -> dict[str, Any]:
    """What the comparison's meta.json says of a run; its directory relative to ``path``, where the two may be
    linked."""
    entries = {key: run.meta.get(key) for key in ("created", "fit_hash", "data_hash", "choices")}
    measured = {
        name: entry.get("hash")
        for name, entry in run.meta["diagnostics"].items()
        if entry["status"] == Status.OK
    }
    place = os.path.relpath(run.directory, path)
    return {"name": run.name, "path": place, "seed": run.seed, **entries, "measured": measured}
