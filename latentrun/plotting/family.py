"""Data of one to three dimensions as what they are, points of a line, a plane or space, with the family they
come from drawn beneath."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from latentrun.plotting.style import PALETTE, SEQUENTIAL, blank, figure

FEW = 3  # data of at most so many dimensions are drawn as points
TRUE = "0.55"  # colour of the family
GRID = 8  # so many curves are a grid
VIEW = (32.0, -60.0)  # elevation and azimuth from which space is seen, degrees


def joined(curves: Sequence[np.ndarray], dim: int) -> np.ndarray:
    """Curves ``(T, dim)`` one after the other ``(M, dim)``, with a row of NaN between, at which a pen is
    lifted.

    >>> joined([np.zeros((2, 1)), np.ones((1, 1))], 1).ravel()
    array([ 0.,  0., nan,  1., nan])
    """
    gap = np.full((1, dim), np.nan)
    return np.concatenate([rows for curve in curves for rows in (curve, gap)]) if curves else gap[:0]


def parted(outline: np.ndarray) -> list[np.ndarray]:
    """The curves of :func:`joined` again."""
    ends = np.flatnonzero(np.isnan(outline).any(1))
    return [part for part in np.split(outline, ends + 1) for part in [part[:-1]] if len(part)]


def spaces(points: np.ndarray, count: int, most: int, width: float) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels, at most ``most`` in a row, each ``width`` inches wide, of a plane or of
    space: all show the finite ones of ``points (N, 2 | 3)``, with one scale on all axes."""
    points = points[np.isfinite(points).all(1)]
    low, high = points.min(0), points.max(0)
    margin = 0.05 * max(float((high - low).max()), 1e-6)
    low, high = low - margin, high + margin
    rows = -(-count // most)
    across = -(-count // rows)
    plane = points.shape[1] == 2
    tall = float(np.clip((high - low)[1] / (high - low)[0], 0.35, 1.6)) if plane else 0.85
    options = {"sharex": True, "sharey": True} if plane else {"subplot_kw": {"projection": "3d"}}
    # Beside the panel itself there are its title, its numbers and the names of its axes.
    fig, axes = figure(rows, across, width=width, height=(width - 0.5) * tall + 0.75, **options)
    blank(axes.ravel()[count:])
    for i, ax in enumerate(axes.ravel()[:count]):
        ax.set_aspect("equal")
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        if plane:
            ax.set_ylabel("x1" if i % across == 0 else "")
            if i >= count - across:
                ax.set_xlabel("x0")
                ax.tick_params(labelbottom=True)
        else:
            ax.set_zlim(low[2], high[2])
            ax.set_box_aspect(high - low, zoom=0.8)
            _plain(ax, high - low)
    return fig, list(axes.ravel()[:count])


def _plain(ax: Axes, span: np.ndarray) -> None:
    """A panel of space, of lengths ``span (3,)``, with little beside what is in it."""
    ax.view_init(*VIEW)
    ax.set(xlabel="x0", ylabel="x1", zlabel="x2")
    ax.tick_params(pad=-2, labelsize=7)
    for axis, share in zip((ax.xaxis, ax.yaxis, ax.zaxis), span / span.max(), strict=True):
        axis.set_major_locator(MaxNLocator(max(1, round(4 * share))))
        axis.labelpad = -8 if axis is ax.zaxis else -5
        axis.set_pane_color((1, 1, 1, 0))
        axis._axinfo["grid"].update(color="0.92", linewidth=0.5)  # there is no other way


def draw_family(ax: Axes, outline: np.ndarray) -> None:
    """Curves ``(M, 2 | 3)`` of the family, as :func:`joined` gives them, pale where they are the many of a
    grid; lone members as rings."""
    curves = parted(outline)
    lines = [curve for curve in curves if len(curve) > 1]
    colour = TRUE if len(lines) < GRID else "0.8"
    ax.plot(*joined(lines, outline.shape[1]).T, color=colour, lw=0.8, zorder=0)
    alone = [curve for curve in curves if len(curve) == 1]
    if alone:
        rings = np.concatenate(alone).T
        ax.plot(*rings, "o", mfc="none", mec=TRUE, ms=7, mew=0.9, ls="none", zorder=0)


def draw_range(ax: Axes, outline: np.ndarray) -> None:
    """The values ``(M, 1)`` of a family of numbers, as :func:`joined` gives them, across a panel: bands, and
    lines where a member stands alone."""
    for curve in parted(outline):
        if len(curve) > 1:
            ax.axhspan(curve.min(), curve.max(), color="0.9", lw=0, zorder=0)
        else:
            ax.axhline(curve[0, 0], color=TRUE, lw=0.8, zorder=0)


def clouds(panels: Sequence[tuple[str, np.ndarray]], outline: np.ndarray) -> Figure:
    """Points ``(N, 2 | 3)``, one panel a set."""
    fig, axes = spaces(np.concatenate([points for _, points in panels] + [outline]), len(panels), 2, 3.2)
    for ax, (title, points), colour in zip(axes, panels, (PALETTE[7], PALETTE[0]), strict=False):
        ax.set_title(title)
        draw_family(ax, outline)
        look = {"s": 4, "linewidths": 0, "rasterized": True, "alpha": 0.5} | _depth(points)
        ax.scatter(*points.T, color=colour, **look)
    return fig


def _depth(points: np.ndarray) -> dict[str, bool]:
    """What a scatter in space is told beside one in the plane: points far behind are not paler."""
    return {"depthshade": False} if points.shape[1] == 3 else {}


def courses(panels: Sequence[tuple[str, np.ndarray, np.ndarray]], outline: np.ndarray, unit: str) -> Figure:
    """Paths ``(T, 2 | 3)`` with their positions ``(T,)``, one panel a path, coloured by the position."""
    fig, axes = spaces(np.concatenate([x for _, _, x in panels] + [outline]), len(panels), 3, 2.3)
    places = np.concatenate([position for _, position, _ in panels])
    norm, colours = mpl.colors.Normalize(places.min(), places.max()), mpl.colormaps[SEQUENTIAL]
    for ax, (title, position, x) in zip(axes, panels, strict=True):
        ax.set_title(title)
        draw_family(ax, outline)
        middle = (position[1:] + position[:-1]) / 2
        pieces = np.stack([x[:-1], x[1:]], axis=1)
        if x.shape[1] == 2:
            ax.add_collection(LineCollection(list(pieces), colors=colours(norm(middle)), lw=1.4))
        else:
            for piece, place in zip(pieces, middle, strict=True):
                ax.plot(*piece.T, color=colours(norm(place)), lw=1.4)
        ax.scatter(*x.T, c=position, norm=norm, cmap=SEQUENTIAL, s=5, linewidths=0, **_depth(x))
    pad = 0.02 if outline.shape[1] == 2 else 0.1
    bar = fig.colorbar(ScalarMappable(norm, SEQUENTIAL), ax=axes, shrink=0.7, pad=pad)
    bar.set_label(unit, fontsize=8)
    return fig
