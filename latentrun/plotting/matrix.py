"""Tables of numbers as coloured cells with the number in each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from latentrun.plotting.style import SEQUENTIAL, figure

WRITTEN = 12  # rows of cells with their number written in; more would not be readable


def matrices(
    panels: Sequence[tuple[str, np.ndarray, float]], rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Panels ``(name, values (R, C), top of the colour scale)`` side by side.

    Colour scales begin at 0; NaN cells are hatched grey. Numbers are written into the cells of up to 12 rows.
    """
    r, c = len(rows), len(columns)
    height = 1.5 + (0.3 * r if r <= WRITTEN else min(0.12 * r + 1.5, 8))
    fig, axes = figure(1, len(panels), width=1.6 + 0.62 * c, height=height)
    turned = {"rotation": 35, "ha": "right"} if max(map(len, columns)) > 5 else {}
    for ax, (name, values, top) in zip(axes[0], panels, strict=True):
        ax.set_facecolor("#E6E6E6")
        ax.patch.set(hatch="////", edgecolor="#BBBBBB", linewidth=0)
        colours = {"cmap": SEQUENTIAL, "vmin": 0, "vmax": top}
        image = ax.imshow(np.ma.masked_invalid(values), aspect="auto", interpolation="nearest", **colours)
        ticks = {"ticks": [0, top / 2, top], "format": "%.2g"}
        fig.colorbar(image, ax=ax, location="top", label=name, aspect=25, pad=0.03, **ticks)
        ax.set_xticks(range(c), columns, **turned)
        every = 1 if r <= 40 else -(-r // 40)
        ax.set_yticks(range(0, r, every), rows[::every])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        if r <= WRITTEN:
            for i, j in np.argwhere(np.isfinite(values)):
                colour = "white" if values[i, j] < 0.6 * top else "black"
                ax.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=7, color=colour)
    return fig
