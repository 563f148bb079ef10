"""The convex hull of codes with paths along it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from latentrun.functional.factors import Target
from latentrun.plotting.scatter import caption, draw, points
from latentrun.plotting.style import PALETTE, figure


def hull_flat(
    axes: np.ndarray,
    codes: np.ndarray,
    target: Target | None,
    shell: np.ndarray,
    facets: np.ndarray,
    paths: Mapping[str, np.ndarray],
    knots: np.ndarray,
) -> Figure:
    """Codes ``(N, 2)`` of the latents ``axes (2,)``, coloured by a factor (no classes), the hull's corners
    ``shell (V, 2)`` joined by ``facets (F, 2)``, paths ``(T, 2)``, and the codes ``knots`` that paths go
    through."""
    fig, panels = figure(1, 1, width=4.8, height=4.0)
    ax = panels[0, 0]
    if target is None:
        ax.scatter(*codes.T, color="0.75", **points(len(codes)))
    else:
        fig.colorbar(draw(ax, codes[:, 0], codes[:, 1], target), ax=ax, label=caption(target[0]), shrink=0.8)
    ax.add_collection(LineCollection(shell[facets], colors="0.4", linewidths=0.9))
    for (name, path), line in zip(paths.items(), PALETTE, strict=False):
        ax.plot(*path.T, "-o", color=line, markersize=3, linewidth=1.6, label=name)
    ax.scatter(*knots.T, s=14, color="black", zorder=3)
    ax.set(xlabel=f"$z_{{{axes[0]}}}$", ylabel=f"$z_{{{axes[1]}}}$")
    if paths:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return fig
