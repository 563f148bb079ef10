"""Pictures of traversals: decoded images in rows, lines for other data, and the factors along the paths."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentrun.diagnostics.decoder.traversal_paths import BENT, UNITS
from latentrun.plotting import family
from latentrun.plotting.images import strips
from latentrun.plotting.paths import Panel, factor_curves
from latentrun.plotting.style import DIVERGING, PALETTE, SEQUENTIAL, blank, figure
from latentrun.types import Picture, Report

CURVES = 8  # columns of the figure of factors
PANELS = 16  # line plots of data that are no images
FEW = 8  # so many components still get a line and a colour each
MOVERS = 8  # columns of a table shown of each path
MOST = 2.0  # standard deviations at which the colours of changes end
ROW = 0.19  # inches a column of a table
LONGEST = 30  # signs of a name
THREE = ".3g"  # significant digits
TITLES = {
    "axes": "each latent alone",
    "pairs": "lines in planes of two latents",
    "lines": "straight lines through latent space",
    "angles": "arcs in latent space",
    "shortest": "shortest curves of the decoder's metric",
    "geodesics": "geodesics of the latent space",
    "turned": "geodesics in planes of two directions",
    "joins": "geodesics between two codes",
    "circles": "arcs in the latent space",
    "points": "the points of a finite latent space",
}
LEGENDS = {
    "axes": "one latent moves, the others stay at the mean code; numbers are standard deviations of the "
    "training codes",
    "pairs": "straight lines through the mean code in the plane of two latents; the angle is counted from "
    "the first towards the second, positions are standard deviations of the training codes",
    "lines": "each from the code of one test row, or prior sample, to that of another; their numbers stand "
    "beside it",
    "angles": "arcs around the mean code in the plane of two latents, angles counted from the first towards "
    "the second",
    "shortest": "between the codes that the straight lines join, in even steps of their length in data space",
    "geodesics": "through a code in the middle, in each of the directions of an orthonormal frame; numbers "
    "are distances along them, and those that are closed go once round",
    "turned": "through a code in the middle, the angle is counted from the first direction towards the "
    "second; those that are closed go once round",
    "joins": "each from the code of one test row, or prior sample, to that of another; their numbers stand "
    "beside it",
    "circles": "points at one distance from a code in the middle, angles counted from the first direction "
    "towards the second",
    "points": "one step a point, everything else as in a code in the middle",
}


def traversal_pictures(report: Report) -> dict[str, Picture]:
    """A picture for each kind of path; with factors the best path for each, and the factors along paths."""
    paths = report.tables["paths"]
    drawn = paths[paths["drawn"]].reset_index(drop=True)
    x = report.arrays["pictures"]
    pictures = {}
    for kind in drawn["kind"].unique():
        rows = drawn[drawn["kind"] == kind]
        if x.ndim == 5:
            pictures[kind] = decoded_strips(kind, rows, report)
        elif "columns" in report.tables:
            pictures[kind] = moving_columns(kind, rows, report)
        else:
            pictures[kind] = decoded_lines(kind, rows, report)
    if "best" in report.tables:
        if x.ndim == 5:
            pictures["best"] = best_strips(report)
        pictures["factors"] = factors_along(drawn, report)
    return pictures


# ---------------------------------------------------------------- images
def decoded_strips(kind: str, rows: pd.DataFrame, report: Report) -> Picture:
    """A row of decoded images for each path of a kind."""
    labels = rows["path"]
    if kind in ("axes", "pairs", "geodesics", "turned"):
        labels = [
            f"{path}: {_number(first, THREE)} … {_number(last, THREE)}"
            for path, first, last in zip(rows["path"], rows["from"], rows["to"], strict=True)
        ]
    x = report.arrays["pictures"][rows.index]
    return Picture(
        strips(list(zip(labels, x, strict=True)), tuple(report.arrays["value_range"])),
        f"Decoded pictures along {TITLES[kind]} ({LEGENDS[kind]}). Each row is a path, left to right.",
    )


def best_strips(report: Report) -> Picture:
    """A row of decoded images for each factor, along the path that orders it best."""
    best = report.tables["best"]
    labels = [
        f"{name.replace('_', ' ')}: {path} (ρ = {_number(rho, '.2f')})"
        for name, path, rho in zip(best["factor"], best["path"], best["spearman"], strict=True)
    ]
    rows = list(zip(labels, report.arrays["best_pictures"], strict=True))
    return Picture(
        strips(rows, tuple(report.arrays["value_range"])),
        "For each factor the straight path along which its fitted value is most monotone, of "
        f"{best['compared'].iloc[0]} compared; of several about equal the one along which the other factors "
        "move least. ρ is the Spearman correlation of the fitted factor with the position along the path.",
    )


# ---------------------------------------------------------------- data that are no images
def decoded_lines(kind: str, rows: pd.DataFrame, report: Report) -> Picture:
    """The values of decoded points, a panel for each path of a kind."""
    rows = rows.iloc[:PANELS]
    x = report.arrays["pictures"][rows.index]
    x = x.reshape(*x.shape[:2], -1)
    positions = report.tables["steps"].groupby(["kind", "path"], sort=False)["parameter"]
    panels = [
        (path, positions.get_group((kind, path)).to_numpy(), values)
        for path, values in zip(rows["path"], x, strict=True)
    ]
    outline = report.arrays.get("outline")
    if outline is not None and x.shape[2] > 1:
        text = " Grey: the family that the data come from, without noise." if len(outline) else ""
        return Picture(
            family.courses(panels, outline, UNITS[kind]),
            f"Decoded points along {TITLES[kind]} ({LEGENDS[kind]}), one panel a path, in the space of the "
            f"data, coloured by the position along the path.{text}",
        )
    ends = " (lines between two test rows or prior samples)" if kind in ("lines", "joins", "shortest") else ""
    lines = "One line a position, dark where the path begins, bright where it ends"
    if x.shape[2] <= FEW:
        lines = "One line a component of x"
    drawn = profiles(panels, UNITS[kind])
    if outline is not None and len(outline):
        lines = "Grey: where the data lie but for noise"
        for ax in drawn.axes[: len(panels)]:
            family.draw_range(ax, outline)
    return Picture(
        drawn,
        f"Decoded points along {TITLES[kind]}, one panel a path{ends}. {lines}.",
    )


def profiles(panels: Sequence[Panel], unit: str) -> Figure:
    """Vectors along paths, one panel a path.

    Up to 8 components: a line each against the position. More: a line for each position over the components,
    dark at the path's beginning and bright at its end.
    """
    columns = min(4, len(panels))
    fig, axes = figure(-(-len(panels) // columns), columns, width=2.3, height=1.9, sharey=True)
    blank(axes.ravel()[len(panels) :])
    few = panels[0][2].shape[1] <= FEW
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
        handles, labels = axes[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    return fig


# ---------------------------------------------------------------- tables
def moving_columns(kind: str, rows: pd.DataFrame, report: Report) -> Picture:
    """The columns of a table that change most, a panel for each path of a kind."""
    ends = report.tables["columns"].set_index(["kind", "path"]).sort_index()
    courses = report.arrays["courses"][rows.index]
    panels = [
        (path, ends.loc[[(kind, path)]], course)
        for path, course in zip(rows["path"].iloc[:PANELS], courses[:PANELS], strict=True)
    ]
    return Picture(
        column_courses(panels),
        f"What changes along {TITLES[kind]}, one panel a path: the columns of the table that move most (at "
        f"most {MOVERS}), the first value on the left, the last on the right. Colours: the difference from "
        "the middle of the path in standard deviations; for a categorical column twice the difference of "
        "the probability of the category that moves most.",
    )


def column_courses(panels: Sequence[tuple[str, pd.DataFrame, np.ndarray]]) -> Figure:
    """One panel a path: the columns that move most, each a strip between its first and its last value.

    ``panels``: title; table ``column, from, to, change``, a row for each of the C columns; their values ``(C,
    T)``. Colours are the difference from the middle of the path, on one scale for all.
    """
    across = min(2, len(panels))
    rows = -(-len(panels) // across)
    shown = min(MOVERS, len(panels[0][1]))
    fig, axes = figure(rows, across, width=4.6, height=0.45 + ROW * shown)
    blank(axes.ravel()[len(panels) :])
    order = [np.argsort(-ends["change"].to_numpy(), kind="stable")[:shown] for _, ends, _ in panels]
    moves = [
        course[top] - course[top, course.shape[1] // 2, None]
        for top, (_, _, course) in zip(order, panels, strict=True)
    ]
    limit = min(MOST, max(np.abs(move).max() for move in moves)) or MOST
    for ax, top, move, (title, ends, _) in zip(axes.ravel(), order, moves, panels, strict=False):
        image = ax.imshow(move, cmap=DIVERGING, aspect="auto", vmin=-limit, vmax=limit)
        ax.set_title(title, fontsize=9)
        _name_ends(ax, ends.iloc[top])
    bar = fig.colorbar(image, ax=axes, shrink=0.6 / rows**0.5, extend="both", pad=0.02)
    bar.set_label("change (sd)", fontsize=8)
    return fig


def _name_ends(ax: Axes, ends: pd.DataFrame) -> None:
    """Name and first value of each column on the left, its last value on the right."""
    names = [f"{_short(name)}  {first}" for name, first in zip(ends["column"], ends["from"], strict=True)]
    ax.set_yticks(range(len(ends)), names, fontsize=7)
    right = ax.secondary_yaxis("right")
    right.set_yticks(range(len(ends)), ends["to"], fontsize=7)
    for axis in (ax, right):
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    ax.set_xticks([])


def _short(name: str) -> str:
    """A name that leaves room for the picture."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


# ---------------------------------------------------------------- factors
def factors_along(drawn: pd.DataFrame, report: Report) -> Picture:
    """The fitted factors along the first kind of straight paths that is there."""
    steps = report.tables["steps"]
    kind = next(kind for kind in TITLES if kind not in BENT and kind in set(drawn["kind"]))
    paths = drawn[drawn["kind"] == kind]["path"].iloc[:CURVES]
    points = steps[steps["kind"] == kind].groupby("path", sort=False)
    tracks = [points.get_group(path) for path in paths]
    columns = [column for column in steps if column.startswith("fitted.")]
    panels = [
        (path, track["parameter"].to_numpy(), track[columns].to_numpy())
        for path, track in zip(paths, tracks, strict=True)
    ]
    fig = factor_curves(
        panels,
        {"residual\n(share of norm)": np.stack([track["residual"].to_numpy() for track in tracks])},
        [column.removeprefix("fitted.") for column in columns],
        report.arrays["factor_range"],
        UNITS[kind].replace(" (", "\n("),
    )
    return Picture(
        fig,
        f"Factors of the member of the family nearest to each decoded picture, along {TITLES[kind]} (one "
        "column a path). Shaded: the range of the data; lines that leave the axes are more than half a "
        "range outside it. Bottom row: distance to the family as a share of the picture's norm.",
    )


def _number(value: float, form: str = "g") -> str:
    """A number with a true minus sign."""
    return f"{value:{form}}".replace("-", "−")
