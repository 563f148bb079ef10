"""Pictures of how densely codes lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from latentrun.plotting.histogram import STYLES
from latentrun.plotting.style import PALETTE, SEQUENTIAL, figure


def emptiness_map(
    cuts: np.ndarray, planes: np.ndarray, ends: np.ndarray, hole: np.ndarray, codes: np.ndarray, slab: float
) -> Figure:
    """Distance to the nearest code on planes ``(P, G, G)`` of two axes ``planes (P, 2)`` through a hole.

    ``ends (2, k)`` of the axes; ``hole (k + 1,)`` its centre and radius; dots are the ``codes (N, k)`` within
    ``slab`` of a plane.
    """
    fig, axes = figure(1, len(planes), width=3.1, height=3.0)
    top = np.nanmax(cuts)
    for ax, cut, (i, j) in zip(axes[0], cuts, planes, strict=True):
        extent = (*ends[:, i], *ends[:, j])
        image = ax.imshow(
            cut, origin="lower", extent=extent, cmap=SEQUENTIAL, vmin=0, vmax=top, interpolation="nearest"
        )
        off = np.delete(codes - hole[:-1], [i, j], axis=1)
        close = codes[np.linalg.norm(off, axis=1) <= slab]
        ax.scatter(close[:, i], close[:, j], s=2, color=PALETTE[1], linewidths=0, rasterized=True)
        ax.plot(*hole[[i, j]], "+", color=PALETTE[3], markersize=8)
        ax.add_patch(
            Circle(hole[[i, j]], hole[-1], fill=False, color=PALETTE[3], linestyle="--", linewidth=1)
        )
        ax.set(xlabel=f"principal axis {i}", ylabel=f"principal axis {j}", xlim=ends[:, i], ylim=ends[:, j])
    fig.colorbar(image, ax=list(axes[0]), label="distance to the nearest code", shrink=0.85)
    return fig


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
