"""Run directories -> one tidy table; the tables of a sweep.

Everything is found by looking at the directories, whoever made them and however they ended: there is nothing
that only the end of a sweep would write.
"""

from __future__ import annotations

import fcntl
import glob
import math
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from latentrun.config import settings
from latentrun.config.fingerprint import FIT_KEYS
from latentrun.config.settings import REPLICATE
from latentrun.errors import InputError, one_line
from latentrun.functional.statistics.ranking import over_seeds
from latentrun.store import atomic
from latentrun.store.activity import SILENCE, WORKING
from latentrun.store.files import alone, last_line
from latentrun.store.intake import Tree, plain, read_json, read_meta, read_yaml

ABOUT = ("run", "state", "reason")  # columns of every row
SIZES = ("parameters", "epochs")
ABSENT = ("unreadable", "missing", "skipped")  # states of jobs and directories that are no runs
PLAN = ("job", "directory", "overrides", "hash", "skipped")
FAILURE = ("job", "directory", "overrides", "state", "reason", "log")


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
    columns = {name: [row.get(name) for row in rows] for name in names}
    measured = {
        name
        for name in names
        if "/" in name and all(isinstance(value, float | None) for value in columns[name])
    }
    # A setting that some run has not stays a column of objects: whole numbers must stay whole.
    kinds = {
        name: float if name in measured else object if None in values else None
        for name, values in columns.items()
    }
    return pd.DataFrame(
        {name: pd.Series(values, dtype=kinds[name]) for name, values in columns.items()}, columns=names
    )


def runs_in(patterns: Sequence[str]) -> list[Path]:
    """The run directories that paths and patterns (``*``, ``**``) name, themselves or somewhere inside, each
    once, sorted by path; InputError for one that names none."""
    if not patterns:
        raise InputError("runs: names no directory; write runs=DIR or runs=[DIR,...]")
    found: dict[str, Path] = {}
    for pattern in patterns:
        matches = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
        if not matches:
            raise InputError(f"runs: nothing is called {pattern!r}")
        looked, inside = set(), []
        for match in map(Path, matches):
            if looked.isdisjoint({match, *match.parents}):
                looked.add(match)
                inside += _inside(match)
        if not inside:
            raise InputError(f"runs: there is no run in {pattern!r}")
        found |= {os.path.realpath(path): path for path in inside}
    return [found[key] for key in sorted(found)]


def _inside(folder: Path) -> Iterator[Path]:
    """Run directories in a folder or below; none lies in another."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        kind = _kind(Path(place)) if "meta.json" in files else "folder"
        if kind not in ("folder", "sweep"):
            folders.clear()
        if kind == "run":
            yield Path(place)


def is_sweep(path: Path) -> bool:
    """Whether a directory holds the plan of a sweep."""
    return (path / "plan.csv").is_file()


def _kind(path: Path) -> str:
    """What a directory with meta.json holds; one that cannot be read counts as a run, and is told of as
    such."""
    try:
        return str((_json(path, "meta.json") or {}).get("kind", "run"))
    except (InputError, OSError):
        return "run"


def _row(path: Path, root: str | Path | None = None) -> dict[str, Any]:
    name = os.path.relpath(path, root) if root is not None else str(path)
    try:
        status = _json(path, "status.json") or {"state": "unknown"}
        state, reason = str(status.get("state")), str(status.get("reason") or "")
        if state in WORKING and not _worked_on(path, status):
            state, reason = (
                "killed",
                f"its process is gone, without a word; last sign of life {status.get('heartbeat')}",
            )
        values = _json(path, "tables/summary.json")
        if values is None:
            choices = read_meta(_contained(path, "meta.json")).get("choices", {})
            config = read_yaml(_contained(path, ".hydra/config.yaml"))
            values = {
                **{key: value for key, value in choices.items() if isinstance(value, str)},
                **settings.flatten({key: config[key] for key in FIT_KEYS if key in config}),
            }
        kept = {key: _value(key, value) for key, value in values.items() if key not in ABOUT}
        return {"run": name, "state": state, "reason": reason, **kept}
    except (InputError, OSError) as error:
        return {"run": name, "state": "unreadable", "reason": one_line(error)}


def _value(key: str, value: Any) -> Any:
    """A cell: numbers of metrics as float, whatever is no plain value as text."""
    if "/" in key and (value is None or isinstance(value, int | float)):
        return math.nan if value is None or abs(value) > 1e300 else float(value)
    return value if isinstance(value, bool | int | float | str | type(None)) else str(value)


def _contained(directory: Path, name: str) -> Path:
    """A file of a run directory; InputError where a link leads out of it."""
    path = directory / name
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory)):
        raise InputError(f"{str(path)!r} is a link that leads out of the run's directory")
    return path


def _json(directory: Path, name: str) -> dict[str, Any] | None:
    path = _contained(directory, name)
    return read_json(path) if path.is_file() else None


def _worked_on(path: Path, status: Mapping[str, Any]) -> bool:
    """Whether some process holds the run's lock; on another machine, whether its last sign of life is
    young."""
    if status.get("host") != os.uname().nodename:
        try:
            heartbeat = datetime.fromisoformat(str(status.get("heartbeat")))
            return (datetime.now(UTC) - heartbeat).total_seconds() < SILENCE
        except (TypeError, ValueError):
            return False
    try:
        with open(_contained(path, "run.lock"), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


# ---------------------------------------------------------------- what the columns are
def metrics_of(frame: pd.DataFrame) -> list[str]:
    """The columns that hold metrics."""
    return [name for name in frame.columns if "/" in name and pd.api.types.is_float_dtype(frame[name])]


def settings_in(frame: pd.DataFrame) -> pd.DataFrame:
    """Options and settings of the runs that have been begun and can be read, as texts to compare."""
    begun = frame[~frame["state"].isin(ABSENT)]
    names = [name for name in frame.columns if name not in (*ABOUT, *SIZES, *PLAN, *metrics_of(frame))]
    return begun[names].map(same)


def varied(frame: pd.DataFrame) -> list[str]:
    """The options and settings, seed included, in which runs differ (see
    :func:`latentrun.config.settings.varied`)."""
    return settings.varied(settings_in(frame).to_dict("records"))


def common(frame: pd.DataFrame) -> dict[str, Any]:
    """Options and settings that are the same in all runs."""
    texts = settings_in(frame)
    return {name: frame.loc[texts.index[0], name] for name in texts if texts[name].nunique() == 1}


def mixed(frame: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """The settings, but the seed, in which runs of one group of ``keys`` differ."""
    texts = settings_in(frame)
    counts = texts.groupby(list(keys)).nunique().max() if keys else texts.nunique()
    return [name for name in texts if name not in (*keys, REPLICATE) and counts[name] > 1]


def meanings(frame: pd.DataFrame, root: str | Path = ".") -> dict[str, tuple[str, str]]:
    """Unit and better direction of every metric, from the first run that has it: ``{"diagnostic/metric":
    (unit, direction)}``."""
    names = metrics_of(frame)
    first = {name: frame[name].first_valid_index() for name in names}
    declared = {
        at: _declared(Path(root, frame.at[at, "run"]))
        for at in dict.fromkeys(first.values())
        if at is not None
    }
    return {name: declared.get(first[name], {}).get(name, ("", "none")) for name in names}


def _declared(directory: Path) -> dict[str, tuple[str, str]]:
    """Unit and better direction of the metrics of one run; none where that cannot be read."""
    try:
        found = pd.read_csv(
            _contained(directory, "tables/metrics.csv"),
            usecols=["diagnostic", "metric", "unit", "direction"],
            dtype=str,
            keep_default_na=False,
        )
    except (InputError, OSError, ValueError):
        return {}
    return {f"{row.diagnostic}/{row.metric}": (row.unit, row.direction) for row in found.itertuples()}


# ---------------------------------------------------------------- over seeds
def grouped(frame: pd.DataFrame, keys: Sequence[str]) -> tuple[pd.DataFrame, pd.Series]:
    """The different values of ``keys``, one row a group, numbers in their order, other values as they appear;
    and the number of the group of each run."""
    texts = frame[list(keys)].map(same).agg(" ".join, axis=1) if keys else pd.Series("", frame.index)
    groups = frame.loc[~texts.duplicated(), list(keys)].assign(_=texts[~texts.duplicated()])
    numeric = [key for key in keys if is_numeric(groups[key].dropna())]  # what is missing comes last
    order = {
        key: pd.to_numeric(groups[key]) if key in numeric else groups[key].map(same).factorize()[0]
        for key in keys
    }
    places = (
        np.lexsort([np.asarray(order[key]) for key in reversed(keys)]) if keys else [0] * min(1, len(groups))
    )
    groups = groups.iloc[places].reset_index(drop=True)
    number = dict(zip(groups.pop("_"), groups.index, strict=True))
    return groups, texts.map(number)


def same(value: Any) -> str:
    """The same text for values that mean the same: 1 and 1.0, but not 1 and true."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return "None" if value != value else repr(float(value))
    return "None" if value is None or value is pd.NA else repr(value)


def is_numeric(values: pd.Series) -> bool:
    """Whether all values are numbers (bool is none)."""
    return all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool) and pd.notna(value)
        for value in values
    )


def by_seed(values: pd.Series, number: pd.Series, seeds: pd.Series, groups: int) -> np.ndarray:
    """A metric as ``(G, S)``, NaN where there is none. Runs of a group with the same seed count once, with
    their mean: they are no repetitions."""
    cells = values.groupby([number, seeds]).mean().unstack()
    return cells.reindex(range(groups)).to_numpy(dtype=float)


def summarise(
    frame: pd.DataFrame, keys: Sequence[str], meaning: Mapping[str, tuple[str, str]]
) -> pd.DataFrame:
    """Every metric over the seeds of each group: keys, ``metric``, ``unit``, ``direction``, ``mean``, ``sd``
    (divisor n - 1), ``n`` seeds, ``low`` and ``high`` of the 95 % t interval of the mean. Groups without a
    value are left out."""
    groups, number = grouped(frame, keys)
    parts = []
    for name in metrics_of(frame) if REPLICATE in frame else ():
        mean, sd, n, low, high = over_seeds(by_seed(frame[name], number, frame[REPLICATE], len(groups)))
        unit, direction = meaning[name]
        own = {
            "metric": name,
            "unit": unit,
            "direction": direction,
            "mean": mean,
            "sd": sd,
            "n": n,
            "low": low,
            "high": high,
        }
        parts.append(groups.assign(**own)[n > 0])
    columns = [*keys, "metric", "unit", "direction", "mean", "sd", "n", "low", "high"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


# ---------------------------------------------------------------- a sweep
def collect_sweep(path: str | Path) -> tuple[pd.DataFrame, list[str]]:
    """One row for each job of a sweep, run or not, and the keys that are swept.

    Beside the columns of :func:`collect` there are ``job`` and ``overrides``; a job without a run is
    ``missing``, or ``skipped`` with the reason. Where no ``plan.csv`` names jobs, they are the runs that are
    there, the keys those that vary.
    """
    path = Path(path)
    plan = read_plan(path) if is_sweep(path) else ()
    if not len(plan):
        found = sorted(_inside(path), key=lambda run: _natural(run.relative_to(path)))
        frame = collect(found, path)
        frame.insert(0, "job", range(len(frame)))
        return frame, varied(frame)
    swept = [_assignments(text) for text in plan["overrides"]]
    keys = list(dict.fromkeys(key for each in swept for key in each))
    rows = [{**_job(path, row), "overrides": row.overrides} for row in plan.itertuples()]
    # What a run says of itself counts; what it does not say, or could not, is in its overrides.
    rows = [
        {"job": job}
        | row
        | {key: row[key] if row.get(key) is not None else value for key, value in own.items()}
        for job, row, own in zip(plan["job"], rows, swept, strict=True)
    ]
    frame = table(rows)
    first = [name for name in dict.fromkeys(["job", *ABOUT, "overrides", *keys]) if name in frame]
    return frame[[*first, *frame.columns.difference(first, sort=False)]], keys


def read_plan(path: Path) -> pd.DataFrame:
    """``plan.csv``: number of the job, name of its directory, swept overrides, hash, why it is skipped;
    InputError where it is none."""
    try:
        plan = pd.read_csv(path / "plan.csv", dtype=dict.fromkeys(PLAN[1:], str), keep_default_na=False)
        return plan[list(PLAN)]
    except (ValueError, KeyError) as error:
        raise InputError(f"{str(path / 'plan.csv')!r} cannot be read: {one_line(error)}") from None


def _job(path: Path, row: Any) -> dict[str, Any]:
    directory = path / plain(row.directory, path)
    if row.skipped:
        return {"run": row.directory, "state": "skipped", "reason": row.skipped}
    if not (directory / "meta.json").is_file():
        return {
            "run": row.directory,
            "state": "missing",
            "reason": last_line(path / "logs" / f"{row.job}.txt") or "not started",
        }
    return _row(directory, path)


def _assignments(overrides: str) -> dict[str, Any]:
    """``model.latent_dim=2 seed=0`` as values, as they stand in a run's summary."""
    found = {}
    for text in shlex.split(overrides):
        key, equals, value = text.lstrip("+").partition("=")
        if equals and not key.startswith("hydra"):
            try:
                found |= settings.flatten({key: yaml.load(value, Tree)})
            except yaml.YAMLError:
                found[key] = value
    return found


def _natural(path: Path) -> tuple[int, str]:
    """Sorts ``10_seed=1`` behind ``9_seed=0``."""
    start = path.name.partition("_")[0]
    return int(start) if start.isdecimal() else -1, str(path)


def write_tables(path: str | Path) -> None:
    """``sweep.csv`` (a row per job), ``sweep_by_seed.csv`` (:func:`summarise` over the swept keys but the
    seed) and ``failures.csv`` of the sweep in a directory, as it is now. Several processes may call it at
    once."""
    path = Path(path)
    with alone(path / ".tables.lock"):
        frame, keys = collect_sweep(path)
        tables = {
            "sweep": frame,
            "sweep_by_seed": summarise(frame, but_seed(keys), meanings(frame, path)),
            "failures": failures(frame, path),
        }
        for name, found in tables.items():
            with atomic(path / f"{name}.csv") as file:
                found.to_csv(file, index=False)


def but_seed(keys: Sequence[str]) -> list[str]:
    """The keys that tell groups of runs apart."""
    return [key for key in keys if key != REPLICATE]


def failures(frame: pd.DataFrame, root: str | Path) -> pd.DataFrame:
    """The jobs that have not come to a good end, also those whose diagnostics failed: job, directory,
    overrides, state, reason, log (what the process printed, where that is kept)."""
    bad = frame[
        ~frame["state"].isin(["done", "skipped", *WORKING])
        | ((frame["state"] == "done") & (frame["reason"] != ""))
    ]
    bad = bad.rename(columns={"run": "directory"}).reindex(columns=list(FAILURE))
    logs = [f"logs/{job}.txt" for job in bad["job"]]
    return bad.assign(log=[log if Path(root, log).is_file() else "" for log in logs])
