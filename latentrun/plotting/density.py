"""Shares as curves: of values above a place, of what lies within it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.histogram import STYLES
from latentrun.plotting.style import PALETTE, figure


def survival(
    samples: Mapping[str, np.ndarray], x: str, y: str, marks: Sequence[float] = (), logarithmic: bool = False
) -> Figure:
    """The share of each sample above every value, one line a sample; ``marks`` are dotted vertical lines."""
    fig, axes = figure(1, 1, width=4.6, height=2.9)
    ax = axes[0, 0]
    for i, (name, values) in enumerate(samples.items()):
        values = np.sort(values)
        above = 1 - np.arange(1, len(values) + 1) / len(values)
        ax.step(values, above, where="post", color=PALETTE[i], ls=STYLES[i], lw=1.4, label=name)
    for mark in marks:
        ax.axvline(mark, color="0.6", ls=":", lw=0.8)
    ax.set(xlabel=x, ylabel=y, ylim=(0, 1.02))
    if logarithmic and min(values.min() for values in samples.values()) > 0:
        ax.set_xscale("log")
    else:
        ax.set_xlim(left=0)
    ax.legend()
    return fig


def shares(panels: Mapping[str, pd.DataFrame], x_label: str, y_label: str) -> Figure:
    """One panel for each of ``panels``, tables of curves: columns ``group``, ``place``, ``share``, ``low``,
    ``high``."""
    fig, axes = figure(1, len(panels), width=3.1, height=2.9, sharey=True)
    for ax, (title, table) in zip(axes[0], panels.items(), strict=True):
        for i, (name, rows) in enumerate(table.groupby("group", sort=False)):
            colour, style, x = PALETTE[i % len(PALETTE)], STYLES[i % len(STYLES)], rows["place"]
            ax.plot(x, rows["share"], color=colour, ls=style, lw=1.4, label=name)
            ax.fill_between(x, rows["low"], rows["high"], color=colour, alpha=0.2, linewidth=0)
        ax.set(title=title, xlim=(0, table["place"].max()), ylim=(0, 1.02))
    axes[0, 0].set_ylabel(y_label)
    fig.supxlabel(x_label, fontsize=9)
    axes[0, -1].legend()
    return fig
