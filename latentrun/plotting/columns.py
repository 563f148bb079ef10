"""Pictures about the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentrun.plotting.style import DIVERGING, PALETTE, blank, figure

KINDS = {"real": PALETTE[0], "ordinal": PALETTE[2], "categorical": PALETTE[4]}
ROW = 0.19  # inches a bar
WORST = -0.5  # R² below this is cut
MOVERS = 8  # columns shown of each path
MOST = 2.0  # standard deviations at which the colours of changes end
LONGEST = 30  # signs of a name


def column_scores(table: pd.DataFrame) -> Figure:
    """A horizontal bar for each column, best on top: R² on the left, accuracy with its baseline on the right.

    ``table``: ``column, kind, score`` (R2 | accuracy), ``value, low, high, baseline``.
    """
    parts = [(score, part.sort_values("value")) for score, part in table.groupby("score", sort=False)]
    parts.sort(key=lambda part: part[0], reverse=False)
    most = max(len(part) for _, part in parts)
    fig, axes = figure(1, len(parts), width=4.4, height=max(1.4, 0.7 + ROW * most))
    for ax, (score, part) in zip(axes[0], parts, strict=True):
        _bars(ax, part, most)
        if score == "accuracy":
            ax.plot(
                part["baseline"],
                np.arange(len(part)),
                "|",
                color="black",
                markersize=7,
                markeredgewidth=1.6,
                label="commonest category",
            )
            ax.set(xlabel="accuracy (share of rows)", xlim=(0, 1.02))
        else:
            ax.set(xlabel="R²", xlim=(max(WORST, min(0.0, np.nanmin(part["low"].fillna(0)))), 1.02))
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return fig


def _bars(ax: Axes, part: pd.DataFrame, most: int) -> None:
    """Bars from the bottom, coloured by kind, with their intervals; room for ``most``, so that panels
    match."""
    at, value = np.arange(len(part)), part["value"].to_numpy()
    reach = np.clip(np.stack([value - part["low"], part["high"] - value]), 0, None)
    for kind, colour in KINDS.items():
        of = (part["kind"] == kind).to_numpy()
        if of.any():
            ax.barh(at[of], value[of], color=colour, height=0.75, label=kind)
    ax.errorbar(value, at, xerr=np.nan_to_num(reach), fmt="none", ecolor="0.35", elinewidth=0.8)
    ax.axvline(0, color="black", linewidth=0.6)
    ax.set_yticks(at, part["column"], fontsize=7)
    ax.set_ylim(len(part) - most - 0.6, len(part) - 0.4)


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
    tops = [np.argsort(-moved["change"].to_numpy(), kind="stable")[:shown] for _, moved, _ in panels]
    moves = [
        course[top] - course[top, course.shape[1] // 2, None]
        for top, (_, _, course) in zip(tops, panels, strict=True)
    ]
    limit = min(MOST, max(np.abs(move).max() for move in moves)) or MOST
    for ax, top, move, (title, moved, _) in zip(axes.ravel(), tops, moves, panels, strict=False):
        drawn = ax.imshow(move, cmap=DIVERGING, aspect="auto", vmin=-limit, vmax=limit)
        ends = moved.iloc[top]
        ax.set_yticks(
            range(shown),
            [f"{short(name)}  {first}" for name, first in zip(ends["column"], ends["from"], strict=True)],
            fontsize=7,
        )
        right = ax.secondary_yaxis("right")
        right.set_yticks(range(shown), ends["to"], fontsize=7)
        for axis in (ax, right):
            axis.tick_params(length=0)
            axis.spines[:].set_visible(False)
        ax.set_xticks([])
        ax.set_title(title, fontsize=9)
    bar = fig.colorbar(drawn, ax=axes, shrink=0.6 / rows**0.5, extend="both", pad=0.02)
    bar.set_label("change (sd)", fontsize=8)
    return fig


def short(name: str) -> str:
    """A name that leaves room for a picture."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
