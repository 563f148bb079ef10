"""Codes as flat point clouds coloured by what is known about them: projections on pairs of latents, one
latent against factors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from latentrun.functional.factors import Target
from latentrun.plotting.style import CYCLIC, DIVERGING, PALETTE, SEQUENTIAL, blank, figure, palette_of
from latentrun.types import Factor

MARKERS = "o^sDvP*X"  # classes beyond the palette repeat its colours with another marker
LEGEND = 16  # classes named in a legend at most


def points(n: int, alpha: float = 0.75) -> dict[str, Any]:
    """How n dots are drawn: a few large enough to see, thousands small enough to tell apart (areas in
    points²)."""
    return {"s": min(30.0, max(5.0, 2500 / max(n, 1))), "linewidths": 0, "alpha": alpha, "rasterized": True}


def caption(factor: Factor) -> str:
    """``variance_x (px)``: name and unit of a factor as an axis label."""
    name = factor.name.replace("_", " ")
    return f"{name} ({factor.unit})" if factor.unit else name


def axis_pairs(codes: np.ndarray, most: int = 4) -> list[tuple[int, int]]:
    """All pairs of latents of ``codes (N, d)``, or, for d > ``most``, those of the ``most`` latents of
    highest variance."""
    return list(combinations(sorted(np.argsort(-codes.var(0), kind="stable")[:most].tolist()), 2))


def axis_name(coordinate: str) -> str:
    """``z0`` as a letter with its number; names of other coordinates as they are.

    >>> axis_name("z12"), axis_name("squared_radius")
    ('$z_{12}$', 'squared radius')
    """
    number = coordinate[1:]
    return f"$z_{{{number}}}$" if coordinate[0] == "z" and number.isdigit() else coordinate.replace("_", " ")


def colours_of(factor: Factor) -> mpl.colors.Colormap:
    """Cyclic for angles, diverging for real factors whose range lies evenly about 0, else sequential. Light
    colours are dulled to grey: points as light as the page would not be seen."""
    about_zero = factor.kind == "real" and factor.low < 0 and np.isclose(factor.low, -factor.high)
    if factor.kind != "cyclic" and not about_zero:
        return mpl.colormaps[SEQUENTIAL]
    name = CYCLIC if factor.kind == "cyclic" else DIVERGING
    return mpl.colors.ListedColormap(np.minimum(mpl.colormaps[name](np.linspace(0, 1, 256))[:, :3], 0.8))


def draw(ax: Axes, x: np.ndarray, y: np.ndarray, target: Target | None, alpha: float = 0.75):
    """Points ``(N,)``, ``(N,)`` coloured by a factor; gives the colour scale, None for classes and plain
    points."""
    look = points(len(x), alpha)
    if target is None:
        ax.scatter(x, y, color=PALETTE[0], **look)
        return None
    factor, values = target
    if factor.kind == "categorical":
        classes = np.rint(values).astype(int)
        palette = palette_of(len(factor.classes))
        colours = np.array([mpl.colors.to_rgba(c) for c in palette])[classes % len(palette)]
        shape = classes // len(palette) % len(MARKERS)
        for i in np.unique(shape):
            at = shape == i
            ax.scatter(x[at], y[at], c=colours[at], marker=MARKERS[i], **look)
        return None
    scale = {"cmap": colours_of(factor), "vmin": factor.low, "vmax": factor.high}
    return ax.scatter(x, y, c=values, **scale, **look)


def legend(ax: Axes, factor: Factor) -> None:
    """Names of the classes at the bottom of an empty panel."""
    names = factor.classes
    palette, handles = palette_of(len(names)), []
    for i, name in enumerate(names[:LEGEND]):
        marker, colour = MARKERS[i // len(palette) % len(MARKERS)], palette[i % len(palette)]
        handles.append(Line2D([], [], ls="", marker=marker, ms=4, color=colour, label=name))
    title = caption(factor) + (f" (first {LEGEND} of {len(names)})" if len(names) > LEGEND else "")
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, -0.05), "borderpad": 0, "borderaxespad": 0}
    tight = {"handletextpad": 0.1, "columnspacing": 0.8, "labelspacing": 0.3}
    columns = _legend_columns(names)
    ax.legend(handles=handles, title=title, title_fontsize=9, ncols=columns, **place, **tight)


def _legend_columns(names: Sequence[str]) -> int:
    longest = max(map(len, names[:LEGEND]))
    fitting = next((columns for letters, columns in ((3, 5), (8, 3), (16, 2)) if longest <= letters), 1)
    return min(len(names), fitting)


def room_above(factors: Sequence[Factor]) -> float:
    """Inches that scales and legends of the factors want above their panels."""
    named = [factor.classes for factor in factors if factor.kind == "categorical"]
    lines = [1 - (-min(len(names), LEGEND) // _legend_columns(names)) for names in named]
    return max(0.55, 0.19 * max(lines, default=0)) if factors else 0.05


def headed(
    factors: Sequence[Factor], tall: Sequence[float], columns: int, width: float
) -> tuple[Figure, np.ndarray, float]:
    """A figure with rows of panels, so many inches ``tall`` each, below a row of empty ones, ``head`` inches
    high, for what the colours of the factors mean (see :func:`key`): figure, panels with those, head."""
    head = room_above(factors)
    heights = [head, *tall]
    fig, axes = figure(
        len(heights), columns, width=width, height=sum(heights) / len(heights), height_ratios=heights
    )
    blank(axes[0])
    return fig, axes, head


def projections(codes: np.ndarray, targets: Sequence[Target]) -> Figure:
    """Codes ``(N, d)``, d >= 2, on pairs of latents (rows, see :func:`axis_pairs`), coloured by each factor
    (columns); of one factor up to three pairs stand in a row."""
    pairs, columns, tall = axis_pairs(codes), list(targets) or [None], 2.4
    beside = min(3, len(pairs)) if len(columns) == 1 else 1
    factors, rows = [factor for factor, _ in targets], -(-len(pairs) // beside)
    fig, axes, head = headed(factors, [tall] * rows, len(columns) * beside, width=2.7)
    for j, target in enumerate(columns):
        panels = axes[1:, j * beside : (j + 1) * beside].ravel()
        blank(panels[len(pairs) :])
        for (a, b), ax in zip(pairs, panels, strict=False):
            scale = draw(ax, codes[:, a], codes[:, b], target)
            ax.set(xlabel=f"$z_{{{a}}}$", ylabel=f"$z_{{{b}}}$")
        if target is not None:
            key(fig, axes[0, j], target[0], scale, head)
    return fig


def key(fig: Figure, ax: Axes, factor: Factor, scale, head: float) -> None:
    """What the colours of a factor mean, in an empty panel ``head`` inches high: its scale, or, where that is
    None, the names of its classes."""
    if scale is None:
        return legend(ax, factor)
    thin = ax.inset_axes([0, 0, 1, 0.09 / head])
    bar = fig.colorbar(scale, cax=thin, orientation="horizontal", ticklocation="top")
    bar.set_label(caption(factor))
    bar.solids.set(alpha=1, rasterized=True)


def along(codes: np.ndarray, targets: Sequence[Target]) -> Figure:
    """One latent ``(N, 1)``: its histogram, then each factor against it; classes are strips with a little
    vertical shake."""
    columns = min(4, 1 + len(targets))
    rows = -(-(1 + len(targets)) // columns)
    fig, axes = figure(rows, columns, width=2.7, height=2.4)
    panels, z = list(axes.ravel()), codes[:, 0]
    panels[0].hist(z, bins="auto" if np.ptp(z) > 0 else 1, color=PALETTE[0])
    panels[0].set(xlabel="$z_0$", ylabel="codes per bin")
    for ax, (factor, values) in zip(panels[1:], targets, strict=False):
        shake = np.random.default_rng(0).uniform(-0.3, 0.3, len(z)) if factor.kind == "categorical" else 0.0
        ax.scatter(z, values + shake, color=PALETTE[0], **points(len(z)))
        ax.set(xlabel="$z_0$", ylabel=caption(factor))
        if factor.kind == "categorical":
            names = factor.classes
            every = -(-len(names) // 20)
            ax.set_yticks(range(0, len(names), every), names[::every])
    blank(panels[1 + len(targets) :])
    return fig
