"""Points on a curved space as one sees it: in the plane, or in space from two sides."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentrun.functional.factors import Target
from latentrun.plotting.scatter import draw, headed, key
from latentrun.plotting.style import blank
from latentrun.types import Factor

VIEWS = ((30.0, 25.0), (120.0, 65.0))  # azimuth and elevation of the two sides, degrees
BEHIND = 0.2  # opacity of points on the far side


def on_shape(points: np.ndarray, outline: np.ndarray, targets: Sequence[Target]) -> Figure:
    """Points ``(N, c)`` on a space with the curves ``outline (K, T, c)``, coloured by each factor (columns).

    c = 2: one panel a factor. c = 3: two, from the front above and from the side high above, without
    perspective; what lies on the far half is faint.
    """
    views = [None] if points.shape[1] == 2 else [camera(*angles) for angles in VIEWS]
    factors, columns = [factor for factor, _ in targets], list(targets) or [None]
    fig, axes, head = headed(factors, [2.4] * len(views), len(columns), width=2.7)
    blank(axes)
    for j, target in enumerate(columns):
        panels = zip(axes[1:, j], views, strict=True)
        scales = [_panel(ax, points, outline, target, view) for ax, view in panels]
        if target is not None:
            key(fig, axes[0, j], target[0], scales[0], head)
    return fig


def camera(azimuth: float, elevation: float) -> np.ndarray:
    """Directions ``(3, 3)``, rows: to the right, upwards, towards the eye, of an eye at these angles."""
    a, e = np.radians([azimuth, elevation])
    right = [-np.sin(a), np.cos(a), 0.0]
    up = [-np.cos(a) * np.sin(e), -np.sin(a) * np.sin(e), np.cos(e)]
    eye = [np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)]
    return np.array([right, up, eye])


def _panel(ax: Axes, points: np.ndarray, outline: np.ndarray, target: Target | None, view: np.ndarray | None):
    """One side of the space; gives the colour scale as :func:`draw`."""
    ax.set_aspect("equal")
    if view is not None:
        points, outline = points @ view.T, outline @ view.T
    lines = mpl.collections.LineCollection(list(outline[..., :2]), colors="0.8", linewidths=0.5, zorder=0)
    ax.add_collection(lines)
    ax.autoscale_view()
    if view is None:
        return draw(ax, points[:, 0], points[:, 1], target)
    depth = points[:, 2] - (outline[..., 2].min() + outline[..., 2].max()) / 2
    order = np.argsort(depth, kind="stable")  # the nearest last, on top
    scale = None
    for rows, alpha in ((order[depth[order] < 0], BEHIND), (order[depth[order] >= 0], 0.75)):
        scale = draw(ax, points[rows, 0], points[rows, 1], _rows(target, rows), alpha)
    return scale


def _rows(target: Target | None, rows: np.ndarray) -> tuple[Factor, np.ndarray] | None:
    return None if target is None else (target[0], target[1][rows])
