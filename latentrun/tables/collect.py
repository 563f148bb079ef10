"""Run directories to one tidy table; the tables of a sweep.

Everything is found by looking at the directories, whoever made them and however they ended: there is nothing
that only the end of a sweep would write.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from latentrun.config import settings
from latentrun.config.fingerprint import FIT_KEYS
from latentrun.errors import InputError, one_line
from latentrun.store.activity import WORKING
from latentrun.store.files import write_table
from latentrun.store.intake import yaml_value
from latentrun.store.overview import inside, matching, state_of, summary_of
from latentrun.store.sweep import Entry, SweepDirectory, is_sweep
from latentrun.system.door import Guarded
from latentrun.system.terminal import printable
from latentrun.tables.findings import findings
from latentrun.tables.groups import summarise
from latentrun.tables.settings import ABOUT, SIZES, but_seed, meanings, varied

FAILURE = ("job", "directory", "overrides", "state", "reason", "log")


# ---------------------------------------------------------------- which runs
def runs_in(patterns: Sequence[str]) -> list[Path]:
    """The run directories that paths and patterns (``*``, ``**``) name, themselves or somewhere inside, each
    once, sorted by path; InputError for one that names none."""
    if not patterns:
        raise InputError("runs: names no directory; write runs=DIR or runs=[DIR,...]")
    paths: dict[str, Path] = {}
    for pattern in patterns:
        matches = matching(pattern)
        if not matches:
            raise InputError(f"runs: nothing is called {pattern!r}")
        runs = [run for match in _outermost(matches) for run in inside(match)]
        if not runs:
            raise InputError(f"runs: there is no run in {pattern!r}")
        paths |= {os.path.realpath(run): run for run in runs}
    return [paths[key] for key in sorted(paths)]


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """The paths, sorted, that lie in no other of them."""
    kept: list[Path] = []
    for path in paths:
        if {path, *path.parents}.isdisjoint(kept):
            kept.append(path)
    return kept


# ---------------------------------------------------------------- one row a run
def collect(paths: Iterable[str | Path], root: str | Path | None = None) -> pd.DataFrame:
    """One row for each run directory.

    ``run`` (its path, relative to ``root`` where one is given); ``state`` (done, failed, interrupted,
    training, ..., ``killed`` where it says that it works and nobody does, ``unreadable``) and ``reason``; the
    options chosen (``model``, ``data``, ...); settings with points in their names; ``parameters``,
    ``epochs``; metrics as ``diagnostic/metric``. What a run has not is missing. A directory that cannot be
    read is a row that says why.
    """
    return table([_row(Path(path), root) for path in paths])


def table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows with different columns as one table: settings, then sizes, then metrics, else in order of
    appearance."""
    names = list(dict.fromkeys([*ABOUT, *(name for row in rows for name in row)]))
    names.sort(key=lambda name: 2 if "/" in name else 1 if name in SIZES else 0)
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        columns[name] = pd.Series(values, dtype=_kind(name, values))
    return pd.DataFrame(columns, columns=names)


def _kind(name: str, values: Sequence[Any]) -> type | None:
    """The type of a column; None: what pandas makes of it."""
    if "/" in name and all(isinstance(value, float | None) for value in values):
        return float
    # A setting that some run has not stays a column of objects: whole numbers must stay whole.
    return object if None in values else None


def _row(path: Path, root: str | Path | None = None) -> dict[str, Any]:
    name = printable(os.path.relpath(path, root) if root is not None else str(path))
    try:
        state, reason = state_of(path)
        values, config = summary_of(path)
        cells = {key: _cell(key, value) for key, value in (values or _settings(config)).items()}
    except InputError as error:
        return {"run": name, "state": "unreadable", "reason": printable(one_line(error))}
    about = {"run": name, "state": printable(state), "reason": printable(reason)}
    return about | {printable(key): value for key, value in cells.items() if key not in ABOUT}


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Options and settings of a run that has no summary yet."""
    choices = {key: value for key, value in config.get("choices", {}).items() if isinstance(value, str)}
    return {**choices, **settings.flatten({key: config[key] for key in FIT_KEYS if key in config})}


def _cell(key: str, value: Any) -> Any:
    """Numbers of metrics as float, whatever is no plain value as text that can be printed; InputError for a
    number that no computer reckons with."""
    if "/" in key and (value is None or isinstance(value, int | float)):
        return math.nan if value is None or abs(value) > 1e300 else float(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        raise InputError(f"{key} is a number of more than 18 digits")
    return value if isinstance(value, bool | int | float | type(None)) else printable(str(value))


# ---------------------------------------------------------------- a sweep
def collect_sweep(path: str | Path) -> tuple[pd.DataFrame, list[str]]:
    """One row for each job of a sweep, run or not, and the keys that are swept.

    Beside the columns of :func:`collect` there are ``job`` and ``overrides``; a job without a run is
    ``missing``, or ``skipped`` with the reason. Where no ``plan.csv`` names jobs, they are the runs that are
    there, the keys those that vary.
    """
    path = Path(path)
    sweep = SweepDirectory(path) if is_sweep(path) else None
    entries = sweep.entries if sweep else []
    if sweep is None or not entries:
        runs = sorted(inside(path), key=lambda run: _natural(run.relative_to(path)))
        frame = collect(runs, path)
        frame.insert(0, "job", range(len(frame)))
        return frame, varied(frame)
    frame = table([_job(sweep, entry) for entry in entries])
    keys = list(dict.fromkeys(key for entry in entries for key in _assignments(entry.overrides)))
    first = [name for name in dict.fromkeys(["job", *ABOUT, "overrides", *keys]) if name in frame]
    return frame[[*first, *frame.columns.difference(first, sort=False)]], keys


def _job(sweep: SweepDirectory, entry: Entry) -> dict[str, Any]:
    """What a run says of itself counts; what it does not say, or could not, is in its overrides."""
    directory = sweep.folder / entry.directory
    if entry.skipped:
        row = {"run": entry.directory, "state": "skipped", "reason": entry.skipped}
    elif not (directory / "meta.json").exists():
        reason = sweep.last_words(entry.number) or "not started"
        row = {"run": entry.directory, "state": "missing", "reason": reason}
    else:
        row = _row(directory.path, sweep.path)
    swept = _assignments(entry.overrides)
    unsaid = {key: value for key, value in swept.items() if row.get(key) is None}
    return {"job": entry.number, **row, "overrides": shlex.join(entry.overrides), **unsaid}


def _assignments(overrides: Iterable[str]) -> dict[str, Any]:
    """``model.latent_dim=2``, ``seed=0`` as values, as they stand in a run's summary."""
    values: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.lstrip("+").partition("=")
        if equals and not key.startswith("hydra"):
            values |= settings.flatten({key: yaml_value(value)})
    return values


def _natural(path: Path) -> tuple[int, str]:
    """Sorts ``10_seed=1`` behind ``9_seed=0``."""
    start = path.name.partition("_")[0]
    return int(start) if start.isdecimal() else -1, str(path)


def write_tables(path: str | Path) -> None:
    """``sweep.csv`` (a row per job), ``sweep_by_seed.csv`` (:func:`summarise` over the swept keys but the
    seed), ``failures.csv`` and ``findings.csv`` of the sweep in a directory, as it is now. Several processes
    may call it at once."""
    path, folder = Path(path), Guarded(path)
    with (folder / ".tables.lock").alone():
        frame, keys = collect_sweep(path)
        write_table(folder / "sweep.csv", frame)
        write_table(folder / "sweep_by_seed.csv", summarise(frame, but_seed(keys), meanings(frame, path)))
        write_table(folder / "failures.csv", failures(frame, path))
        write_table(folder / "findings.csv", findings(frame, path))


def failures(frame: pd.DataFrame, root: str | Path) -> pd.DataFrame:
    """The jobs that have not come to a good end, also those whose diagnostics failed: job, directory,
    overrides, state, reason, log (what the process printed, where that is kept)."""
    ended_badly = ~frame["state"].isin(["done", "skipped", *WORKING])
    partly_failed = (frame["state"] == "done") & (frame["reason"] != "")
    bad = frame[ended_badly | partly_failed]
    bad = bad.rename(columns={"run": "directory"}).reindex(columns=list(FAILURE))
    logs, folder = [f"{job}.txt" for job in bad["job"]], Guarded(root) / "logs"
    return bad.assign(log=[f"logs/{log}" if (folder / log).is_file() else "" for log in logs])
