"""A search for the best settings: what is optimised, and the trials of its study as a table.

The study itself is Optuna's, in a storage of its own; a trial is a job of the sweep.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd

from latentrun.config.bounds import Between, Count, Printable
from latentrun.config.build import fit, signature
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import InputError, one_line, unknown
from latentrun.functional.statistics.directions import DIRECTIONS
from latentrun.store.schema import read_summary
from latentrun.sweep.plan import Sweep
from latentrun.system.door import Guarded
from latentrun.types import Metric

SWEEP, JOB, METRICS = "latentrun.sweep", "latentrun.job", "latentrun.metrics"  # of trials and studies


@dataclass(frozen=True)
class Search:
    """How a study goes: the values of ``hydra/sweeper=optuna`` that latentrun must understand."""

    n_trials: Annotated[int, Count(1)]
    n_jobs: Annotated[int, Count(1, 1024)]
    direction: Literal["minimize", "maximize"] | list[Literal["minimize", "maximize"]] | None
    storage: Annotated[str, Printable()]
    study_name: Annotated[str, Printable()]
    max_failure_rate: Annotated[float, Between(0, 1)]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Search:
        """From plain values; InputError names the key that is wrong."""
        hints = {key: hint for key, hint in signature(cls)[1].items() if key in values}
        return cls(**{key: fit(values[key], hint, f"hydra.sweeper.{key}") for key, hint in hints.items()})


# ---------------------------------------------------------------- what is optimised
def metrics_named(optimized: str | Sequence[str] | None) -> list[str]:
    """``optimized_metric`` as a list."""
    return [optimized] if isinstance(optimized, str) else list(optimized or ())


def declared_metrics(names: Sequence[str], diagnostics: Mapping[str, Diagnostic]) -> dict[str, Metric]:
    """All metrics that the diagnostics declare, ``diagnostic/metric``; InputError where one of ``names`` is
    none of them."""
    declared = {
        f"{name}/{key}": metric
        for name, diagnostic in diagnostics.items()
        for key, metric in diagnostic.metrics.items()
    }
    for name in names:
        if name.partition(".")[0] not in declared:
            raise unknown("optimized_metric", name, declared)
    return declared


def directions(
    names: Sequence[str], diagnostics: Mapping[str, Diagnostic], given: str | Sequence[str] | None
) -> list[str]:
    """Minimize or maximize, for each metric: as ``given``, else what it declares to be better; InputError
    where one is not declared by the chosen diagnostics, or says neither."""
    declared = declared_metrics(names, diagnostics)
    if not names:
        raise InputError(
            f"hydra/sweeper=optuna needs optimized_metric=...; known: {', '.join(sorted(declared))}"
        )
    given = [given] if isinstance(given, str) else given
    if given is None:
        return [_better(name, declared[name.partition(".")[0]]) for name in names]
    if len(given) != len(names):
        raise InputError(f"hydra.sweeper.direction: {len(given)} for {len(names)} optimized_metric")
    return list(given)


def _better(name: str, metric: Metric) -> str:
    direction = DIRECTIONS.get(metric.better)
    if direction is None or direction.goal is None:
        raise InputError(
            f"optimized_metric={name}: neither lower nor higher is better; say "
            "hydra.sweeper.direction=minimize or maximize"
        )
    return direction.goal


def values(path: Path, names: Sequence[str]) -> list[float]:
    """What the run in ``path`` found for the optimised metrics; InputError where it found none."""
    summary = read_summary(Guarded(path) / "tables" / "summary.json")
    for name in names:
        if name not in summary:
            raise unknown("optimized_metric", name, [key for key in summary if "/" in key])
        if summary[name] is None or not math.isfinite(summary[name]):
            raise InputError(f"{name} is not a finite number in {str(path)!r}")
    return [float(summary[name]) for name in names]


# ---------------------------------------------------------------- trials
def open_study(about: Mapping[str, Any]) -> None:
    """Begin a study, or see that it can be gone on with; InputError where it cannot."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            study_name=about["name"],
            storage=about["storage"],
            directions=about["directions"],
            load_if_exists=True,
        )
    except Exception as error:
        raise InputError(f"hydra.sweeper.storage={about['storage']}: {one_line(error)}") from None
    stored = study.user_attrs.get(METRICS, about["metrics"])
    if list(stored) != list(about["metrics"]):
        raise InputError(
            f"hydra.sweeper.storage={about['storage']}: its study {about['name']!r} optimises "
            f"{', '.join(stored)}"
        )


def begin(config: Any, trial: Any) -> None:
    """Write down with a new trial which sweep it belongs to and which job it is; the table is brought up to
    date.

    Optuna's sweeper calls it before the job starts (it numbers its jobs from 0 in every call, a study goes on
    counting).
    """
    path = str(Path(config.hydra.sweep.dir).resolve())
    trials = trial.study.get_trials(deepcopy=False)
    trial.set_user_attr(JOB, sum(earlier.user_attrs.get(SWEEP) == path for earlier in trials))
    trial.set_user_attr(SWEEP, path)
    sweep = Sweep(path)
    trial.study.set_user_attr(METRICS, sweep.meta["study"]["metrics"])
    write_trials(sweep)


def write_trials(sweep: Sweep) -> None:
    """``trials.csv`` of a sweep that is a search: all trials of its study, also those of earlier sweeps.

    Columns: ``trial``, ``state`` (complete, failed, running), the optimised metrics, what was searched,
    ``directory`` relative to the sweep's.
    """
    import optuna

    study = sweep.meta["study"]
    try:
        stored = optuna.load_study(study_name=study["name"], storage=study["storage"])
    except KeyError:  # it was not even begun
        return
    trials = stored.get_trials(deepcopy=False)
    searched = list(dict.fromkeys(key for trial in trials for key in trial.params))
    columns = ["trial", "state", *study["metrics"], *searched, "directory"]
    table = pd.DataFrame([_row(trial, study["metrics"], sweep) for trial in trials], columns=columns)
    # whole numbers stay whole beside trials that have none yet
    table[searched] = table[searched].convert_dtypes()
    sweep.write_table("trials", table)


def _row(trial: Any, metrics: Sequence[str], sweep: Sweep) -> dict[str, Any]:
    """A row of trials.csv."""
    state = trial.state.name.lower()
    return {
        "trial": trial.number,
        "state": "failed" if state == "fail" else state,
        **dict(zip(metrics, trial.values or (), strict=False)),
        **trial.params,
        "directory": _directory(sweep, trial),
    }


def _directory(sweep: Sweep, trial: Any) -> str | None:
    """Where the run of a trial is; None where it has none."""
    path, number = trial.user_attrs.get(SWEEP), trial.user_attrs.get(JOB)
    folders = Guarded(path).folders() if path else []
    places = [folder.path for folder in folders if folder.name.startswith(f"{number}_")]
    return os.path.relpath(places[0], sweep.path.resolve()) if places else None
