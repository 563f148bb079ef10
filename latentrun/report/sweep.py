"""Many runs on one page: what failed, each metric against what was varied, tables over seeds, a link to every
run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from latentrun.config.settings import REPLICATE
from latentrun.errors import InputError, nearest
from latentrun.functional.statistics.methods import shortfalls
from latentrun.functional.statistics.ranking import over_seeds
from latentrun.plotting.pages import policy
from latentrun.plotting.style import paper
from latentrun.plotting.sweep import Key, Panel, against, over_two, written
from latentrun.report.parts import HEADLINES, address, as_typed, interval, number, template, written_out
from latentrun.report.trials import trials_drawn
from latentrun.store.files import write_text
from latentrun.store.intake import read_json
from latentrun.store.schema import require_columns
from latentrun.store.sweep import SweepDirectory
from latentrun.system.door import Guarded
from latentrun.tables.collect import collect_sweep, failures
from latentrun.tables.findings import Saying, findings, sayings
from latentrun.tables.groups import beside, by_seed, grouped
from latentrun.tables.leaderboard import leaderboard
from latentrun.tables.settings import but_seed, common, is_numeric, meanings, metrics_of, mixed
from latentrun.types import Meaning, Picture

LINES = 8  # values of a second key that are told apart in one picture


@dataclass(frozen=True)
class Survey:
    """What is told of a set of runs: ``frame`` one row a run (see :func:`~latentrun.tables.collect.collect`),
    ``keys`` that tell groups of them apart, ``selected`` metrics as (title, columns), ``meaning`` of each
    metric; ``root``: what ``run`` in the frame is relative to."""

    frame: pd.DataFrame
    keys: list[str]
    selected: list[tuple[str, list[str]]]
    meaning: Mapping[str, Meaning]
    root: Path

    @property
    def metrics(self) -> list[str]:
        """All selected columns."""
        return [name for _, names in self.selected for name in names]


def survey(frame: pd.DataFrame, keys: Sequence[str], metrics: Sequence[str] | None, root: Path) -> Survey:
    """With the metrics that are named, or those that stand on top of a run's page; a name that ends in a
    point stands for all its parts. InputError for one that no run has."""
    measured, selected = metrics_of(frame), []
    for name, title in HEADLINES if metrics is None else [(name, name.rstrip(".")) for name in metrics]:
        columns = [
            column
            for column in measured
            if column == name or (name.endswith(".") and column.startswith(name))
        ]
        if columns:
            selected.append((title, columns))
        elif metrics is not None:
            raise InputError(f"metrics: no run has {name!r}{nearest(name, measured)}")
    return Survey(frame, list(keys), selected, meanings(frame, root), root)


def write_page(path: str | Path, formats: Sequence[str] = ()) -> None:
    """``plots/`` and ``report.html`` of the sweep in a directory, however its jobs were launched and
    ended."""
    path = Path(path)
    frame, keys = collect_sweep(path)
    runs = survey(frame, but_seed(keys), None, path)
    about = {
        "what": "sweep",
        "name": path.resolve().name,
        "table": "sweep_by_seed.csv",
        "command": _command(path),
    }
    drawn = _trials(path) if (Guarded(path) / "trials.csv").is_file() else pictures(runs)
    write_report(path, runs, about, drawn, formats)


def write_report(
    path: Path,
    runs: Survey,
    about: Mapping[str, str],
    drawn: Iterable[tuple[str, Picture]],
    formats: Sequence[str] = (),
) -> None:
    """``plots/`` and ``report.html`` in ``path``. ``about``: ``what`` it is (sweep, runs) and its ``name``,
    the ``table`` beside it that holds all metrics over seeds, the ``command`` that made it; ``drawn``: names
    for files and pictures."""
    shown, plots = [], Guarded(path) / "plots"
    with paper():
        for name, picture in drawn:
            shown.append(written_out(plots, name, picture, formats))
    board = leaderboard(runs.frame, runs.keys, runs.metrics, runs.meaning)
    states = runs.frame["state"].value_counts()
    html = template("sweep.html.j2").render(
        policy=policy(False),
        **about,
        keys=runs.keys,
        mixed=mixed(runs.frame, runs.keys),
        total=len(runs.frame),
        said=_said(runs, path),
        states=[(state, int(count)) for state, count in states.items()],
        failures=_failures(runs.frame, runs.root),
        pictures=shown,
        means=_means(runs),
        boards=[(metric, *_board(rows, runs.keys)) for metric, rows in board.groupby("metric", sort=False)],
        shortfalls=shortfalls([*board["method"], *board["test"]]),
        jobs=_jobs(runs, path),
        common=[(key, written(value)) for key, value in common(runs.frame).items()],
    )
    write_text(Guarded(path) / "report.html", html)


# ---------------------------------------------------------------- pictures
def _trials(path: Path) -> Iterator[tuple[str, Picture]]:
    """Those of a search, whose values lie on no grid."""
    sweep = SweepDirectory(path)
    study = sweep.meta.get("study")
    if study is None:
        raise InputError(f"{str(path / 'meta.json')!r}: study is missing")
    trials = sweep.read_table("trials")
    columns = ("trial", "state", *study["metrics"], "directory")
    require_columns(trials, columns, ("trial", *study["metrics"]), repr(str(path / "trials.csv")))
    return trials_drawn(trials, study["metrics"], study["directions"])


def pictures(runs: Survey) -> Iterator[tuple[str, Picture]]:
    """Each chosen metric against each key, and over each pair of numeric ones, with names for files."""
    for title, names in runs.selected:
        frame = runs.frame[runs.frame[names].notna().any(axis=1)]
        axes = {key: _axis(frame, key) for key in runs.keys}
        axes = {key: (axis, number) for key, (axis, number) in axes.items() if len(axis.values) > 1}
        stem = names[0].partition(".")[0]
        for key in axes:
            others = [other for other in axes if other != key and len(axes[other][0].values) <= LINES]
            second = others[0] if others else None
            lines = None if second is None else axes[second]
            panels = [_panel(runs, frame, name, title, axes[key], lines) for name in names]
            drawn = against(panels, axes[key][0], None if lines is None else lines[0])
            text = "the mean over seeds with its 95 % interval, single seeds lightly behind it"
            text = f"{title} against {key}: {text}{_averaged(axes, key, second)}."
            yield _file(stem, key), Picture(drawn, text)
        for rows, columns in combinations([key for key in axes if axes[key][0].numeric], 2):
            panels = [_panel(runs, frame, name, title, axes[rows], axes[columns]) for name in names]
            drawn = over_two(panels, axes[rows][0], axes[columns][0])
            text = f"the mean over seeds{_averaged(axes, rows, columns)}."
            yield _file(stem, rows, columns), Picture(drawn, f"{title} over {rows} and {columns}: {text}")


def _axis(frame: pd.DataFrame, key: str) -> tuple[Key, pd.Series]:
    """A key as an axis, and the place on it of every run."""
    groups, number = grouped(frame, [key])
    return Key(key, tuple(groups[key]), is_numeric(groups[key])), number


def _panel(
    runs: Survey,
    frame: pd.DataFrame,
    name: str,
    title: str,
    across: tuple[Key, pd.Series],
    lines: tuple[Key, pd.Series] | None,
) -> Panel:
    """The values of a metric by place, line and seed."""
    (key, number), count = across, len(lines[0].values) if lines else 1
    cell = number * count + (lines[1] if lines else 0)
    values = by_seed(frame[name], cell, frame[REPLICATE], len(key.values) * count)
    part = name.partition(".")[2].replace("_", " ")
    cells = values.reshape(len(key.values), count, -1)
    return Panel(f"{title}, {part}" if part else title, cells, runs.meaning[name])


def _averaged(axes: Mapping[str, Any], *shown: str | None) -> str:
    others = [key for key in axes if key not in shown]
    return f"; runs of one seed that differ in {', '.join(others)} are averaged" if others else ""


def _file(*names: str) -> str:
    """Names as one for a file."""
    return re.sub(r"[^\w.=,+-]+", ".", "_by_".join([names[0], "_and_".join(names[1:])]))[:120]


# ---------------------------------------------------------------- tables
def _failures(frame: pd.DataFrame, root: Path) -> list[tuple[str, str, str, str]]:
    bad = failures(frame, root)
    return [(number(row.job), row.directory, row.state, row.reason) for row in bad.itertuples()]


def _said(runs: Survey, path: Path) -> list[tuple[Saying, list[tuple[str, str | None]]]]:
    """What is said of runs, with names and addresses of the runs where they are few."""
    said = sayings(findings(runs.frame, runs.root))
    return [(saying, [(name, _page(runs, name, path)) for name in saying.few]) for saying in said]


def _page(runs: Survey, name: str, path: Path) -> str | None:
    """The address of the page of a run, None where it has none."""
    page = runs.root / name / "report.html"
    return address(f"./{os.path.relpath(page, path)}") if page.is_file() else None


def _means(runs: Survey) -> tuple[list[str], list[list[str]]]:
    """Names of the columns; a row for each group: its keys, the number of seeds, mean and interval of
    the chosen metrics."""
    groups, number_of = grouped(runs.frame, runs.keys)
    columns, most = [], np.zeros(len(groups), dtype=int)
    for name in runs.metrics if REPLICATE in runs.frame else ():
        values = by_seed(runs.frame[name], number_of, runs.frame[REPLICATE], len(groups))
        seen = over_seeds(values, runs.meaning[name].share)
        most = np.maximum(most, seen.n)
        triples = zip(seen.mean.tolist(), seen.low.tolist(), seen.high.tolist(), strict=True)
        columns.append([f"{number(ends[0])} {beside(*ends)}".rstrip() for ends in triples])
    keys = groups.itertuples(index=False) if runs.keys else [()] * len(groups)
    rows = [
        [*map(written, key), str(n), *cells] for key, n, *cells in zip(keys, most, *columns, strict=True) if n
    ]
    return [*runs.keys, "seeds", *runs.metrics], rows


def _board(board: pd.DataFrame, keys: Sequence[str]) -> tuple[str, list[tuple]]:
    """Unit and rows (rank, key values, mean, interval, how it was made, seeds, difference, interval, test, p,
    verdict) of the leaderboard of a metric."""
    rows = [
        (
            row["rank"],
            [written(row[key]) for key in keys],
            number(row["mean"]),
            interval(row["low"], row["high"]),
            row["method"],
            row["n"],
            number(row["difference"]),
            interval(row["difference_low"], row["difference_high"]),
            row["test"],
            number(row["p_holm"]),
            row["verdict"],
        )
        for row in board.to_dict("records")
    ]
    return board["unit"].iloc[0], rows


def _jobs(runs: Survey, path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Names of columns, and every run: its name, address of its page where there is one, state, values of
    keys and metrics."""
    keys = [*runs.keys, *([REPLICATE] if REPLICATE in runs.frame else [])]
    rows = []
    for row in runs.frame.to_dict("records"):
        cells = [*(written(row[key]) for key in keys), *(number(row[name]) for name in runs.metrics)]
        link = _page(runs, row["run"], path)
        rows.append({"name": row["run"], "link": link, "state": row["state"], "cells": cells})
    return [*keys, *runs.metrics], rows


def _command(path: Path) -> str:
    """The command that began a sweep, as far as it is known."""
    try:
        argv = read_json(Guarded(path) / "meta.json").get("argv", [])
    except InputError:
        argv = []
    return f"latentrun {as_typed(argv)}" if isinstance(argv, list) and argv else ""
