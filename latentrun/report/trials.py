"""The trials of a search: how the best value came about, and where in the searched space it lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation

from latentrun.plotting.style import PALETTE, SEQUENTIAL, blank, figure
from latentrun.types import Picture

ACROSS = 3  # panels side by side
WIDE = 20  # values that span more than this ratio are drawn on a log axis
STAR = {"marker": "*", "color": PALETTE[1], "edgecolors": "white", "zorder": 3}  # the best trial
CONTOURED = 8  # trials below which no surface is drawn between them


def trials_drawn(
    trials: pd.DataFrame, metrics: Sequence[str], directions: Sequence[str]
) -> Iterator[tuple[str, Picture]]:
    """Pictures of the table ``trials`` (columns trial, state, ``metrics``, what was searched, directory) with
    names for files. ``directions``: minimize or maximize, for each metric."""
    searched = [name for name in trials.columns if name not in ("trial", "state", "directory", *metrics)]
    done = trials[trials["state"] == "complete"]
    if done.empty:
        return
    for metric, direction in zip(metrics, directions, strict=True):
        stem = metric.replace("/", ".")
        best = "highest" if direction == "maximize" else "lowest"
        text = f"{metric} of each trial, and the best so far ({best}); crosses failed."
        yield f"trials.{stem}", Picture(history(trials, metric, direction), text)
        if searched:
            text = "against each setting that was searched; a star marks the best, later trials are lighter."
            drawn = against_each(done, metric, direction, searched)
            yield f"trials.{stem}.searched", Picture(drawn, f"{metric} {text}")
    numeric = [
        name for name in searched if pd.api.types.is_numeric_dtype(done[name]) and done[name].nunique() > 1
    ]
    if len(numeric) > 1:
        drawn = over_pairs(done, metrics[0], directions[0], numeric)
        text = (
            f"{metrics[0]} over each pair of settings: circles are trials, the surface between them is "
            "interpolated, a star marks the best."
        )
        yield f"trials.{metrics[0].replace('/', '.')}.pairs", Picture(drawn, text)
    if len(metrics) > 1:
        text = "Two metrics at once: no other trial is better in both than those on the line."
        yield "trials.front", Picture(front(done, metrics[:2], directions[:2]), text)


def history(trials: pd.DataFrame, metric: str, direction: str) -> Figure:
    """The metric of each trial in turn, and the best so far."""
    fig, axes = figure(1, 1, width=5.2, height=2.7)
    ax = axes[0, 0]
    done, failed = trials[trials["state"] == "complete"], trials[trials["state"] == "failed"]
    best = done[metric].cummax() if direction == "maximize" else done[metric].cummin()
    ax.step(done["trial"], best, where="post", color=PALETTE[1], label="best so far")
    ax.scatter(done["trial"], done[metric], s=18, color=PALETTE[0], label="trial", zorder=3)
    if len(failed):
        # At the foot of the picture: they have no value.
        foot, look = np.full(len(failed), 0.03), {"s": 22, "color": PALETTE[6], "marker": "x"}
        ax.scatter(failed["trial"], foot, transform=ax.get_xaxis_transform(), label="failed", **look)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="trial", ylabel=metric, yscale="log" if _wide(done[metric]) else "linear")
    ax.legend()
    return fig


def against_each(done: pd.DataFrame, metric: str, direction: str, searched: Sequence[str]) -> Figure:
    """A panel for each searched setting."""
    across = min(len(searched), ACROSS)
    fig, axes = figure(-(-len(searched) // across), across, width=2.9, height=2.6, sharey=True)
    best = done.loc[_best(done, metric, direction)]
    for ax, name in zip(axes.flat, searched, strict=False):
        place = _place(ax, done[name], "x")
        ax.scatter(place, done[metric], c=done["trial"], cmap=SEQUENTIAL, s=20, alpha=0.9, linewidths=0)
        ax.scatter(place[best.name], best[metric], s=130, **STAR)
        ax.set_xlabel(name)
    for ax in axes[:, 0]:
        ax.set(ylabel=metric, yscale="log" if _wide(done[metric]) else "linear")
    blank(list(axes.flat)[len(searched) :])
    return fig


def over_pairs(done: pd.DataFrame, metric: str, direction: str, numeric: Sequence[str]) -> Figure:
    """A panel for each pair of numeric settings, coloured by the metric."""
    pairs = list(combinations(numeric, 2))
    across = min(len(pairs), ACROSS)
    fig, axes = figure(-(-len(pairs) // across), across, width=3.4, height=2.8)
    best = done.loc[_best(done, metric, direction)]
    low, high = done[metric].min(), done[metric].max()
    scale, levels = (LogNorm, np.geomspace) if _wide(done[metric]) else (Normalize, np.linspace)
    look = {"cmap": SEQUENTIAL, "norm": scale(low, high)}
    for ax, (x, y) in zip(axes.flat, pairs, strict=False):
        at = _place(ax, done[x], "x"), _place(ax, done[y], "y")
        surface = _surface(*at) if len(done) >= CONTOURED and low < high else None
        if surface is not None:
            ax.tricontourf(surface, done[metric], levels=levels(low, high, 13), **look)
        drawn = ax.scatter(*at, c=done[metric], s=24, edgecolors="white", linewidths=0.5, **look)
        ax.scatter(best[x], best[y], s=150, **STAR)
        ax.set(xlabel=x, ylabel=y)
        ax.use_sticky_edges = False  # trials at the edge are seen whole
        ax.margins(0.06)
    fig.colorbar(drawn, ax=axes, label=metric)
    blank(list(axes.flat)[len(pairs) :])
    return fig


def _surface(x: pd.Series, y: pd.Series) -> Triangulation | None:
    """Triangles between points that are neighbours on the axes; None where all points lie on a line."""
    logs = [np.log(values) if _wide(values) else values for values in (x, y)]
    flat = np.stack([(values - values.min()) / (values.max() - values.min()) for values in logs])
    if np.linalg.matrix_rank(flat - flat.mean(1, keepdims=True), tol=1e-6) < 2:
        return None
    return Triangulation(x, y, Triangulation(*flat).triangles)


def front(done: pd.DataFrame, metrics: Sequence[str], directions: Sequence[str]) -> Figure:
    """Two metrics against each other, with the trials that no other one beats in both."""
    signs = np.array([1.0 if direction == "minimize" else -1.0 for direction in directions])
    values = done[list(metrics)].to_numpy() * signs
    beaten = (values[:, None] >= values[None]).all(2) & (values[:, None] > values[None]).any(2)
    unbeaten = done[~beaten.any(1)].sort_values(metrics[0])
    fig, axes = figure(1, 1, width=4.2, height=3.0)
    ax = axes[0, 0]
    ax.scatter(done[metrics[0]], done[metrics[1]], s=18, color=PALETTE[6])
    ax.plot(unbeaten[metrics[0]], unbeaten[metrics[1]], "-o", color=PALETTE[1], markersize=5)
    ax.set(xlabel=metrics[0], ylabel=metrics[1])
    return fig


def _best(done: pd.DataFrame, metric: str, direction: str) -> int:
    return done[metric].idxmax() if direction == "maximize" else done[metric].idxmin()


def _wide(values: pd.Series) -> bool:
    return bool(values.min() > 0 and values.max() > WIDE * values.min())


def _place(ax: Axes, values: pd.Series, axis: str) -> pd.Series:
    """Where on an axis the values of a setting are: numbers as they are, on a log axis where they span much;
    others side by side."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        if _wide(values):
            getattr(ax, f"set_{axis}scale")("log")
        elif (values == values.round()).all():
            getattr(ax, f"{axis}axis").get_major_locator().set_params(integer=True)
        return values
    text = values.astype(str)
    names = sorted(text.unique())
    getattr(ax, f"set_{axis}ticks")(range(len(names)), names)
    return text.map(names.index)
