"""What happens along paths: curves of factors, and of data without pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from latentrun.plotting.style import PALETTE, SEQUENTIAL, blank, figure

Panel = tuple[str, np.ndarray, np.ndarray]  # title, position (T,), values (T, F) or (T, D)
FEW = 8  # so many components still get a line and a colour each


def factor_curves(
    panels: Sequence[Panel],
    below: Mapping[str, np.ndarray],
    names: Sequence[str],
    ranges: np.ndarray,
    unit: str,
) -> Figure:
    """Factors along paths: one column a path, one row a factor, and beneath a row for each positive quantity
    ``(P, T)`` of ``below``.

    ``ranges (F, 2)``: what the data cover, shaded; the axes end half a range beyond it. F may be 0.
    """
    rows = len(names) + len(below)
    fig, axes = figure(
        rows, len(panels), width=max(1.6, 3.6 / len(panels)), height=1.25, sharex="col", sharey="row"
    )
    width = ranges[:, 1] - ranges[:, 0]
    for column, (title, position, values) in zip(axes.T, panels, strict=True):
        column[0].set_title(title, fontsize=9)
        for i, ax in enumerate(column[: len(names)]):
            ax.axhspan(*ranges[i], color="0.92", zorder=0)
            ax.plot(position, values[:, i], "o-", color=PALETTE[i % 6], markersize=2.5, linewidth=1.2)
        column[-1].set_xlabel(unit)
    for i, name in enumerate(names):
        axes[i, 0].set(
            ylabel=name.replace("_", " "), ylim=(ranges[i, 0] - width[i] / 2, ranges[i, 1] + width[i] / 2)
        )
    for row, (name, found), colour in zip(axes[len(names) :], below.items(), PALETTE[::-1], strict=False):
        for ax, (_, position, _), along in zip(row, panels, found, strict=True):
            ax.plot(position, along, "s-", color=colour, markersize=2.5, linewidth=1.2)
        # A twentieth at least: rounding errors must not look like mountains.
        row[0].set(ylabel=name, ylim=(0, max(0.05, 1.1 * np.where(np.isfinite(found), found, 0).max())))
    return fig


def profiles(panels: Sequence[Panel], unit: str) -> Figure:
    """Data that are no pictures along paths, one panel a path.

    Up to 8 components: a line each against the position. More: a line for each position over the components,
    dark at the path's beginning and bright at its end.
    """
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    few = panels[0][2].shape[1] <= FEW
    fig, axes = figure(rows, columns, width=2.3, height=1.9, sharey=True)
    blank(axes.ravel()[len(panels) :])
    for ax, (title, position, x) in zip(axes.ravel(), panels, strict=False):
        ax.set_title(title, fontsize=9)
        if few:
            for i, line in enumerate(x.T):
                ax.plot(position, line, "o-", color=PALETTE[i], markersize=2.5, linewidth=1.2, label=f"x{i}")
            ax.set_xlabel(unit)
        else:
            ax.set_prop_cycle(color=mpl.colormaps[SEQUENTIAL](np.linspace(0, 0.95, len(x))))
            ax.plot(x.T, linewidth=1)
            ax.set_xlabel("component of x")
    for ax in axes[:, 0]:
        ax.set_ylabel("x")
    if few:
        fig.legend(
            *axes[0, 0].get_legend_handles_labels(), loc="outside right upper", fontsize=8, frameon=False
        )
    return fig
