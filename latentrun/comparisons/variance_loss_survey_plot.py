"""Pictures of lost variance against error over many runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentrun.diagnostics.variables.variance_loss_plot import NAMES
from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Estimate

MARKS = [(colour, mark) for mark in "osD^v" for colour in PALETTE]  # of groups: colours first, then marks
VERDICTS = {"holds": ("o", PALETTE[0]), "fails": ("X", PALETTE[1])}  # mark and filling


def law(points: pd.DataFrame, slopes: Mapping[str, Estimate]) -> Figure:
    """Lost variance against error, a panel for each kind of reconstruction, a point for each run, coloured by
    group."""
    kinds, names = points["kind"].unique(), points["group"].unique()
    # About 11 letters an inch.
    columns = max(1, min(len(names), int(11 * 3.4 * len(kinds)) // (8 + max(map(len, names)))))
    fig, axes = figure(1, len(kinds), width=3.4, height=3.2 + 0.2 * np.ceil(len(names) / columns))
    for ax, kind in zip(axes[0], kinds, strict=True):
        runs, slope = points[points["kind"] == kind], slopes[kind]
        ends = ("mse_high", "delta_var_high", "mse", "delta_var")
        reach = 1.08 * max(runs[name].max() for name in ends)
        _slope(ax, slope, reach)
        _runs(ax, runs, names)
        interval = "" if slope.low is None else f" [{slope.low:.3f}, {slope.high:.3f}]"
        low = min(0.0, runs["delta_var"].min())
        ax.set(xlabel="mse", xlim=(0, reach), ylim=(low, reach))
        ax.set_title(f"{NAMES[kind]}\nslope {slope.value:.3f}{interval}")
    axes[0, 0].set_ylabel("Δvar (squared data units,\nmean over dimensions)")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    return fig


def _slope(ax: Axes, slope: Estimate, reach: float) -> None:
    """The line of slope 1, dashed, and the fitted one with its interval, up to ``reach``."""
    line = np.array([0.0, reach])
    ax.plot(line, line, color="black", linestyle="--", linewidth=0.9)
    ax.plot(line, slope.value * line, color="#555555", linewidth=1)
    if slope.low is not None:
        band = {"color": "#555555", "alpha": 0.18, "linewidth": 0}
        ax.fill_between(line, slope.low * line, slope.high * line, **band)


def _runs(ax: Axes, runs: pd.DataFrame, groups: Sequence[str]) -> None:
    """A point for each run with its intervals."""
    for number, name in enumerate(groups):
        rows = runs[runs["group"] == name]
        colour, mark = MARKS[number % len(MARKS)]
        x, y = (
            np.clip([rows[c] - rows[f"{c}_low"], rows[f"{c}_high"] - rows[c]], 0, None)
            for c in ("mse", "delta_var")
        )
        look = {"fmt": mark, "color": colour, "markersize": 4.5, "elinewidth": 0.7, "alpha": 0.85}
        ax.errorbar(rows["mse"], rows["delta_var"], np.nan_to_num(y), np.nan_to_num(x), label=name, **look)


def ratios(table: pd.DataFrame, tolerance: float) -> Figure:
    """Δvar / mse of each group with its interval, a panel for each kind, and the band 1 +- tolerance."""
    kinds, names = table["kind"].unique(), list(table["group"].unique())
    width, height = 2.6 + 0.04 * max(map(len, names)), 1.0 + 0.24 * len(names)
    fig, axes = figure(1, len(kinds), width=width, height=height, sharey=True)
    for ax, kind in zip(axes[0], kinds, strict=True):
        ax.axvspan(1 - tolerance, 1 + tolerance, color="#E8EEF4", linewidth=0)
        ax.axvline(1, color="black", linestyle="--", linewidth=0.9)
        for row in table[table["kind"] == kind].itertuples():
            y = names.index(row.group)
            mark, fill = VERDICTS.get(row.law, ("o", "white"))
            edge = PALETTE[1] if row.law == "fails" else PALETTE[0]
            ax.plot([row.ratio_low, row.ratio_high], [y, y], color=edge, linewidth=1.2)
            ax.plot(row.ratio, y, mark, markerfacecolor=fill, markeredgecolor=edge, markersize=6)
        ax.set(xlabel="Δvar / mse", title=NAMES[kind], ylim=(len(names) - 0.4, -0.6))
        ax.set_yticks(range(len(names)), names)
    return fig
