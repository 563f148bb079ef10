"""Pictures of how much of the factors a map keeps, over the factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import LogLocator

from latentrun.diagnostics.decoder.injectivity_measure import spaces_of
from latentrun.plotting.images import strips
from latentrun.plotting.style import PALETTE, SEQUENTIAL, figure
from latentrun.types import Picture, Report

LEVELS = 40  # values of a factor drawn one by one; of more, BINS even parts
BINS = 25
SLICES = 3  # single values of the third factor
FLOOR = 1e-6  # share of the greatest value below which colours end: an exact 0 has no logarithm
STYLES = ("-", "--", "-.", ":")
DIAGONAL = 0.02  # points whose corner factors differ by less, in shares of their ranges, are on the diagonal
TITLES = {
    "image": "picture (data units)",
    "latent": "code (whitened units)",
    "posterior": "code (posterior sd)",
}


def injectivity_pictures(
    report: Report, factor: str | None, corner: Mapping[str, str], beyond: float
) -> dict[str, Picture]:
    """``factor``, ``corner`` (ends by factor) and ``beyond`` as set for the diagnostic."""
    names = list(map(str, report.arrays["names"]))
    plane = [name for name in corner if name in names] or names
    plane = [*plane, *(name for name in names if name not in plane)][:2]
    others = [name for name in (factor, *names) if name in names and name not in plane]
    pictures = {}
    if len(plane) == 2:
        pictures["map"] = least_picture(report.tables["points"], plane, others[0] if others else None)
    if corner and set(corner) <= set(names):
        pictures["diagonal"] = diagonal_picture(report, names, corner)
    if factor is not None and "sweep" in report.arrays:
        pictures["corner"] = sweep_picture(report.arrays, factor, corner)
    if "collisions" in report.tables and report.arrays["pairs_image"].ndim == 5:
        pictures["collisions"] = collision_picture(report, names, beyond)
    return pictures


# ---------------------------------------------------------------- over the factors
def least_picture(points: pd.DataFrame, plane: Sequence[str], across: str | None) -> Picture:
    """The least singular value in every space over two factors ``plane``, at values of a third."""
    panels = {TITLES[space]: points[f"{space}.least"].to_numpy() for space in spaces_of(points)}
    return Picture(
        least_maps(panels, points, plane, across),
        "The least singular value of the derivatives by the factors (logarithmic colours): how much the "
        "mixture of factors that shows least changes the picture, or the code, per range of a factor. Left: "
        "at single values of one factor; right: the least over all of them. Cross: the least point of each "
        "panel.",
    )


def least_maps(
    panels: Mapping[str, np.ndarray], y: pd.DataFrame, plane: Sequence[str], across: str | None
) -> Figure:
    """Values ``(N,)`` of each panel (a row) over the two factors ``plane`` of ``y``, at some values of the
    factor ``across`` and the least over all of it (columns); logarithmic colours, a cross at the least
    point."""
    cells = [_cells(y[name].to_numpy()) for name in plane]
    columns = _slices(y, across)
    fig, axes = figure(len(panels), len(columns), width=1.95, height=1.95, sharex=True, sharey=True)
    for (name, values), row in zip(panels.items(), axes, strict=True):
        floor = max(values.max() * FLOOR, np.finfo(np.float32).tiny)
        norm = LogNorm(max(values.min(), floor), max(values.max(), 2 * floor))
        for inside, ax in zip(columns.values(), row, strict=True):
            image = _least_map(ax, values, inside, cells, norm)
            least = y.iloc[np.flatnonzero(inside)[values[inside].argmin()]][list(plane)]
            ax.plot(*least, "x", color="black", markersize=7, markeredgewidth=3)
            ax.plot(*least, "x", color="white", markersize=6, markeredgewidth=1.4)
        row[0].set_ylabel(plane[1].replace("_", " "))
        ticks, label = LogLocator(subs=(1, 2, 5)), name.replace(" (", "\n(")
        bar = fig.colorbar(image, ax=list(row), label=label, aspect=15, pad=0.01, ticks=ticks, format="{x:g}")
        bar.ax.yaxis.set_minor_formatter("")
    for ax, title in zip(axes[0], columns, strict=True):
        ax.set_title(title)
    for ax in axes[-1]:
        ax.set_xlabel(plane[0].replace("_", " "))
    return fig


def _slices(y: pd.DataFrame, across: str | None) -> dict[str, np.ndarray]:
    """Which points ``(N,)`` lie at some values of the factor ``across``, by a title; and all points."""
    everywhere = np.ones(len(y), dtype=bool)
    if across is None:
        return {"": everywhere}
    name, values = across.replace("_", " "), y[across].to_numpy()
    cells, _ = _cells(values)
    levels = np.unique(cells)
    slices = {}
    for level in levels[np.unique(np.linspace(0, len(levels) - 1, SLICES).round().astype(int))]:
        mean = np.round(values[cells == level].mean(), 6) + 0.0
        slices[f"{name} {mean:.2g}"] = cells == level
    return slices | {f"least over {name}": everywhere}


def _least_map(ax: Axes, values: np.ndarray, inside: np.ndarray, cells: Sequence, norm: LogNorm) -> AxesImage:
    """The least value of the points ``inside`` in each cell of a plane."""
    (a, ends_a), (b, ends_b) = cells
    sheet = np.full((b.max() + 1, a.max() + 1), np.inf)
    np.minimum.at(sheet, (b[inside], a[inside]), np.maximum(values[inside], norm.vmin))
    return ax.imshow(
        np.ma.masked_invalid(sheet),
        norm=norm,
        cmap=SEQUENTIAL,
        origin="lower",
        extent=(*ends_a, *ends_b),
        aspect="auto",
        interpolation="nearest",
    )


# ---------------------------------------------------------------- towards the corner
def diagonal_picture(report: Report, names: Sequence[str], corner: Mapping[str, str]) -> Picture:
    """Changes by each factor from the opposite corner to the corner."""
    points, ranges = report.tables["points"], report.arrays["ranges"]
    on = _on_diagonal(points, names, ranges, corner)
    panels = {}
    for space in spaces_of(points):
        changes = {f"{name.replace('_', ' ')} alone": f"{space}.{name}" for name in names}
        changes["what shows least"] = f"{space}.least"
        panels[TITLES[space]] = {text: points.loc[on, column].to_numpy() for text, column in changes.items()}
    first, *others = (name.replace("_", " ") for name in corner)
    label = f"{first} ({', '.join(others)} at the same share of the way)" if others else first
    place = ", ".join(f"{name} {end}" for name, end in corner.items())
    return Picture(
        change_curves(panels, points.loc[on, next(iter(corner))].to_numpy(), label),
        "Change of the picture and of the code by each factor alone, and by the mixture of factors that "
        f"shows least, per range of a factor, along the diagonal to the corner ({place}). Lines: geometric "
        "means over the points there; shaded: the least to the greatest of them.",
    )


def _on_diagonal(
    points: pd.DataFrame, names: Sequence[str], ranges: np.ndarray, corner: Mapping[str, str]
) -> np.ndarray:
    """Which points ``(N,)`` lie at about the same share of the way to the corner in all its factors."""
    shares = []
    for name, end in corner.items():
        low, high = ranges[names.index(name)]
        share = (points[name].to_numpy() - low) / (high - low)
        shares.append(1 - share if end == "low" else share)
    return np.ptp(np.stack(shares), axis=0) <= DIAGONAL


def change_curves(panels: Mapping[str, Mapping[str, np.ndarray]], t: np.ndarray, label: str) -> Figure:
    """One panel for each of ``panels``: curves ``(N,)`` at positions ``t (N,)``, where several points share a
    position their geometric mean, shaded from the least to the greatest; the last curve in black."""
    cells, ends = _cells(t)
    used, rows = np.unique(cells, return_inverse=True)
    centres = ends[0] + (used + 0.5) * np.ptp(ends) / (cells.max() + 1)
    fig, axes = figure(1, len(panels), width=2.9, height=2.9)
    for (name, curves), ax in zip(panels.items(), axes[0], strict=True):
        for i, (curve, values) in enumerate(curves.items()):
            look = {
                "color": PALETTE[i % len(PALETTE)],
                "linestyle": STYLES[i % len(STYLES)],
                "linewidth": 1.4,
            }
            if i == len(curves) - 1:
                look = {"color": "black", "linestyle": STYLES[0], "linewidth": 2.0}
            _change_curve(ax, centres, rows, values, curve, look)
        ax.set_yscale("log")
        ax.set(title=name)
    axes[0, 0].set_ylabel("change per range of a factor")
    fig.supxlabel(label, fontsize=9)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return fig


def _change_curve(
    ax: Axes, centres: np.ndarray, rows: np.ndarray, values: np.ndarray, label: str, look: Mapping
) -> None:
    """Values ``(N,)`` at the places ``rows (N,)`` of ``centres``: geometric mean, least and greatest."""
    floor = max(values.max() * FLOOR, np.finfo(np.float32).tiny)
    values = np.maximum(values.astype(np.float64), floor)
    low, high = np.full(len(centres), np.inf), np.zeros(len(centres))
    np.minimum.at(low, rows, values)
    np.maximum.at(high, rows, values)
    ax.fill_between(centres, low, high, color=look["color"], alpha=0.12, linewidth=0)
    mean = np.exp(np.bincount(rows, np.log(values)) / np.bincount(rows))
    ax.plot(centres, mean, label=label, **look)


# ---------------------------------------------------------------- images
def sweep_picture(arrays: Mapping[str, np.ndarray], factor: str, corner: Mapping[str, str]) -> Picture:
    """What the factor changes, in the corner and away from it."""
    rows = list(zip(("in the corner", "in the middle", "opposite corner"), arrays["sweep"], strict=True))
    values = [f"{value:.2f}" for value in arrays["sweep_values"]]
    changes = [[f"{value:.2f}" for value in row] for row in arrays["sweep_change"]]
    ends = " and ".join(f"{name.replace('_', ' ')} {end}" for name, end in corner.items())
    return Picture(
        strips(rows, tuple(arrays["value_range"]), 0.6, values, under=changes),
        f"What {factor.replace('_', ' ')} changes: pictures over its range (bottom), in the first row with "
        f"{ends}, then with these in the middle and at the opposite ends. Beneath each picture: its "
        "distance to the first of its row.",
    )


def collision_picture(report: Report, names: Sequence[str], beyond: float) -> Picture:
    """Pairs that lie apart and look alike, in the image and in the code."""
    rows, under = [], []
    for space, pairs in report.tables["collisions"].groupby("space", sort=False):
        one, other = report.arrays[f"pairs_{space}"]
        for side, x, suffix in (("one", one, ""), ("other", other, " other")):
            rows.append((f"{space}, {side}", x))
            values = pairs[[f"{name}{suffix}" for name in names]].to_numpy()
            under.append(["\n".join(f"{value:.2g}" for value in row) for row in values])
    return Picture(
        strips(rows, tuple(report.arrays["value_range"]), 0.95, under=under),
        f"Pairs of pictures whose factors are at least {beyond:g} of their ranges apart and which differ "
        "least for that, worst first: in the picture, and in the code. Beneath each, from above: "
        f"{', '.join(name.replace('_', ' ') for name in names)}.",
    )


# ---------------------------------------------------------------- places of values
def _cells(values: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """The cell ``(N,)`` each value falls into, and the outer edges of all cells: one for each value of an
    even grid, else even ones."""
    levels, index = np.unique(values, return_inverse=True)
    if len(levels) == 1:
        return index, (levels[0] - 0.5, levels[0] + 0.5)
    steps = np.diff(levels)
    if len(levels) <= LEVELS and np.ptp(steps) < 0.01 * steps.mean():
        half = steps.mean() / 2
        return index, (levels[0] - half, levels[-1] + half)
    low, high = levels[0], levels[-1]
    return ((values - low) / (high - low) * BINS).astype(int).clip(max=BINS - 1), (low, high)
