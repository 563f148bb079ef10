"""What happens along paths: curves of factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from latentrun.plotting.style import PALETTE, figure

Panel = tuple[str, np.ndarray, np.ndarray]  # title, position (T,), values (T, F) or (T, D)


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
    rows, width = len(names) + len(below), max(1.6, 3.6 / len(panels))
    fig, axes = figure(rows, len(panels), width=width, height=1.25, sharex="col", sharey="row")
    for column, (title, position, values) in zip(axes.T, panels, strict=True):
        column[0].set_title(title, fontsize=9)
        for i, ax in enumerate(column[: len(names)]):
            ax.axhspan(*ranges[i], color="0.92", zorder=0)
            ax.plot(position, values[:, i], "o-", color=PALETTE[i % 6], markersize=2.5, linewidth=1.2)
        column[-1].set_xlabel(unit)
    for ax, name, (low, high) in zip(axes[: len(names), 0], names, ranges, strict=True):
        beyond = (high - low) / 2
        ax.set(ylabel=name.replace("_", " "), ylim=(low - beyond, high + beyond))
    for row, (name, values), colour in zip(axes[len(names) :], below.items(), PALETTE[::-1], strict=False):
        for ax, (_, position, _), line in zip(row, panels, values, strict=True):
            ax.plot(position, line, "s-", color=colour, markersize=2.5, linewidth=1.2)
        # A twentieth at least: rounding errors must not look like mountains.
        row[0].set(ylabel=name, ylim=(0, max(0.05, 1.1 * np.where(np.isfinite(values), values, 0).max())))
    return fig
