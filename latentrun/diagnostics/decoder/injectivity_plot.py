"""Pictures of how much of the factors a map keeps, over the factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from latentrun.plotting.style import PALETTE, SEQUENTIAL, figure

LEVELS = 40  # values of a factor drawn one by one; of more, BINS even parts
BINS = 25
SLICES = 3  # single values of the third factor
FLOOR = 1e-6  # share of the greatest value below which colours end: an exact 0 has no logarithm
STYLES = ("-", "--", "-.", ":")


def least_maps(
    panels: Mapping[str, np.ndarray], y: pd.DataFrame, plane: Sequence[str], across: str | None
) -> Figure:
    """Values ``(N,)`` of each panel (a row) over the two factors ``plane`` of ``y``, at some values of the
    factor ``across`` and the least over all of it (columns); logarithmic colours, a cross at the least
    point."""
    (a, ends_a), (b, ends_b) = (_cells(y[name].to_numpy()) for name in plane)
    columns: list[tuple[str, np.ndarray]] = []
    if across is not None:
        c = y[across].to_numpy()
        cells, _ = _cells(c)
        levels = np.unique(cells)
        for level in levels[np.unique(np.linspace(0, len(levels) - 1, SLICES).round().astype(int))]:
            columns.append(
                (
                    f"{across.replace('_', ' ')} {np.round(c[cells == level].mean(), 6) + 0.0:.2g}",
                    cells == level,
                )
            )
    columns.append(
        (f"least over {across.replace('_', ' ')}" if across is not None else "", np.ones(len(y), dtype=bool))
    )
    fig, axes = figure(len(panels), len(columns), width=1.95, height=1.95, sharex=True, sharey=True)
    for k, ((name, values), row) in enumerate(zip(panels.items(), axes, strict=True)):
        floor = max(values.max() * FLOOR, np.finfo(np.float32).tiny)
        norm = LogNorm(max(values.min(), floor), max(values.max(), 2 * floor))
        for (title, inside), ax in zip(columns, row, strict=True):
            sheet = np.full((b.max() + 1, a.max() + 1), np.inf)
            np.minimum.at(sheet, (b[inside], a[inside]), np.maximum(values[inside], norm.vmin))
            shown = np.ma.masked_invalid(sheet)
            picture = ax.imshow(
                shown,
                norm=norm,
                cmap=SEQUENTIAL,
                origin="lower",
                extent=(*ends_a, *ends_b),
                aspect="auto",
                interpolation="nearest",
            )
            least = np.flatnonzero(inside)[values[inside].argmin()]
            ax.plot(*y.iloc[least][list(plane)], "x", color="black", markersize=7, markeredgewidth=3)
            ax.plot(*y.iloc[least][list(plane)], "x", color="white", markersize=6, markeredgewidth=1.4)
            if k == 0:
                ax.set_title(title)
            if k == len(axes) - 1:
                ax.set_xlabel(plane[0].replace("_", " "))
        row[0].set_ylabel(plane[1].replace("_", " "))
        ticks = LogLocator(subs=(1, 2, 5))
        bar = fig.colorbar(
            picture,
            ax=list(row),
            label=name.replace(" (", "\n("),
            aspect=15,
            pad=0.01,
            ticks=ticks,
            format="{x:g}",
        )
        bar.ax.yaxis.set_minor_formatter("")
    return fig


def change_curves(panels: Mapping[str, Mapping[str, np.ndarray]], t: np.ndarray, label: str) -> Figure:
    """One panel for each of ``panels``: curves ``(N,)`` at positions ``t (N,)``, where several points share a
    position their geometric mean, shaded from the least to the greatest."""
    cells, ends = _cells(t)
    used, rows = np.unique(cells, return_inverse=True)
    centres = ends[0] + (used + 0.5) * np.ptp(ends) / (cells.max() + 1)
    count = np.bincount(rows)
    fig, axes = figure(1, len(panels), width=2.9, height=2.9)
    for (name, curves), ax in zip(panels.items(), axes[0], strict=True):
        for i, (curve, values) in enumerate(curves.items()):
            values = np.maximum(
                values.astype(np.float64), max(values.max() * FLOOR, np.finfo(np.float32).tiny)
            )
            last = i == len(curves) - 1
            colour = "black" if last else PALETTE[i % len(PALETTE)]
            low, high = np.full(len(used), np.inf), np.zeros(len(used))
            np.minimum.at(low, rows, values)
            np.maximum.at(high, rows, values)
            ax.fill_between(centres, low, high, color=colour, alpha=0.12, linewidth=0)
            mean = np.exp(np.bincount(rows, np.log(values)) / count)
            ax.plot(
                centres,
                mean,
                STYLES[0 if last else i % len(STYLES)],
                color=colour,
                linewidth=2.0 if last else 1.4,
                label=curve,
            )
        ax.set_yscale("log")
        ax.set(title=name)
    axes[0, 0].set_ylabel("change per range of a factor")
    fig.supxlabel(label, fontsize=9)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return fig


def _cells(values: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """The cell ``(N,)`` each value falls into, and the outer edges of all cells: one for each value of an
    even grid, else even ones."""
    levels, index = np.unique(values, return_inverse=True)
    if len(levels) == 1:
        return index, (levels[0] - 0.5, levels[0] + 0.5)
    steps = np.diff(levels)
    if len(levels) <= LEVELS and np.ptp(steps) < 0.01 * steps.mean():
        half = steps.mean() / 2
        return index, (levels[0] - half, levels[-1] + half)
    low, high = levels[0], levels[-1]
    return ((values - low) / (high - low) * BINS).astype(int).clip(max=BINS - 1), (low, high)
