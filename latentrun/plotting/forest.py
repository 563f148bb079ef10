"""Differences of groups to a reference with their intervals: a forest plot."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentrun.functional.statistics.directions import DIRECTIONS
from latentrun.plotting.bars import HATCH_EDGE
from latentrun.plotting.style import PALETTE, blank, figure

# Behind numbers, so that the line at 0 does not cross them out.
GROUND = {"facecolor": "white", "linewidth": 0, "pad": 0, "alpha": 0.8}
SMALL = {"fontsize": 7, "color": "#555555"}


def forest(table: pd.DataFrame, shown: int) -> tuple[Figure, int]:
    """A panel for each metric, with a row for each group: the ``shown`` metrics whose differences are the
    largest in units of half their interval; and how many metrics are left out."""
    half = (table["high"] - table["low"]).to_numpy(float) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        clarity = np.nan_to_num(np.abs(table["difference"].to_numpy(float)) / half, nan=-1.0)
    clearest = pd.Series(clarity).groupby(table["metric"].to_numpy(), sort=False).max()
    order = clearest.sort_values(ascending=False, kind="stable")
    names, groups = list(order.index[:shown]), list(table["group"].unique())
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    width, height = 3.0 + 0.03 * max(map(len, groups)), 0.95 + 0.3 * len(groups)
    fig, axes = figure(rows, columns, width=width, height=height)
    for ax, name in zip(axes.flat, names, strict=False):
        panel(ax, table[table["metric"] == name], groups, labels=ax in axes[:, 0])
    blank(axes.flat[len(names) :])
    return fig, len(order) - len(names)


def panel(ax: Axes, table: pd.DataFrame, groups: list[str], labels: bool) -> None:
    """One metric: the rows of its ``table``, each at the place of its group; a hollow mark where the interval
    holds 0."""
    above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
    ax.axvline(0, color="black", linewidth=0.8)
    for row in table.itertuples():
        y, has_interval = groups.index(row.group), math.isfinite(row.low)
        colour = PALETTE[y % len(PALETTE)] if has_interval else HATCH_EDGE
        fill = colour if has_interval and (row.low > 0 or row.high < 0) else "white"
        ax.plot([row.low, row.high], [y, y], color=colour, linewidth=1.4)
        ax.plot(row.difference, y, "o", color=colour, markerfacecolor=fill, markersize=5)
        if math.isfinite(row.effect):
            ax.annotate(f"{row.effect:.1f} sd", (row.difference, y), bbox=GROUND, **above, **SMALL)
    ax.margins(x=0.12)
    ax.locator_params(axis="x", nbins=4)
    ax.set_ylim(len(groups) - 0.4, -0.7)
    ax.set_yticks(range(len(groups)), groups if labels else [])
    ax.set_title(table["metric"].iloc[0])
    direction = DIRECTIONS.get(table["direction"].iloc[0])
    ax.set_xlabel(direction.axis if direction else "", **SMALL)
