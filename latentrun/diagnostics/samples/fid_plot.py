"""Pictures of distances in feature space."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from latentrun.plotting.forest import SMALL
from latentrun.plotting.style import PALETTE, figure

# Colour, mark and size: marks at one place are all seen.
STYLE = {
    "samples": (PALETTE[0], "o", 5),
    "reconstructions": (PALETTE[1], "s", 7),
    "floor": ("#555555", "D", 10),
    "floor_train": ("#888888", "^", 12),
}
COLOURS, MARKS = (*PALETTE[2:6], "#8C564B", "#17BECF", "#9A8700"), "vPX*<>p"  # of further sets, in turn
PALE = 0.4  # how strongly a set is drawn that comes again, changed


def styles(sets: Mapping[str, str]) -> dict[str, tuple[str, str, float, float]]:
    """Colour, mark, size and strength of each set. ``sets``: by name the set that it is a changed version of,
    or itself: both have one colour and mark, the original pale."""
    others = [name for name in dict.fromkeys(sets.values()) if name not in STYLE]
    looks = STYLE | {
        name: (COLOURS[i % len(COLOURS)], MARKS[i % len(MARKS)], 7.5) for i, name in enumerate(others)
    }
    changed = {original for name, original in sets.items() if name != original}
    return {name: (*looks[original], PALE if name in changed else 1.0) for name, original in sets.items()}


def distances(table: pd.DataFrame, names: Mapping[str, str], sets: Mapping[str, str]) -> Figure:
    """Bars of ``fid`` and ``kid`` with their ends ``_low`` and ``_high``, a row for each ``set``; a dashed
    line at the floor. ``names`` in words; ``sets``: as for :func:`styles`."""
    fig, axes = figure(
        1, 2, width=3.5, height=0.9 + (0.4 if len(table) <= len(STYLE) else 0.27) * len(table), sharey=True
    )
    at, looks = np.arange(len(table)), styles(sets)
    for ax, metric, label in zip(
        axes[0], ("fid", "kid"), ("FID (squared feature units)", "KID"), strict=True
    ):
        value, low, high = (table[f"{metric}{end}"].to_numpy(float) for end in ("", "_low", "_high"))
        ax.barh(
            at,
            value,
            height=0.62,
            color=[to_rgba(colour, strength) for colour, _, _, strength in looks.values()],
        )
        ax.hlines(at, low, high, color="black", lw=1.1)
        ends = np.nan_to_num(np.fmax(np.fmax(high, value), 0.0))
        for y, end, v in zip(at, ends, value, strict=True):
            ax.annotate(f"{v:.3g}", (end, y), (4, 0), textcoords="offset points", va="center", **SMALL)
        floor = value[table["set"].to_numpy() == "floor"][0]
        ax.axvline(floor if metric == "fid" else 0.0, color="black", ls="--", lw=0.8)
        least, most = min(0.0, float(np.nanmin(np.append(low, value)))), max(float(ends.max()), 1e-12)
        ax.set_xlim(least - 0.05 * (most - least) * (least < 0), most + 0.28 * (most - least))
        ax.set_xlabel(label)
        ax.locator_params(axis="x", nbins=5)
    axes[0, 0].set_yticks(at, [names[name].replace(" of ", "\nof ") for name in table["set"]])
    axes[0, 0].set_ylim(len(table) - 0.4, -0.6)
    return fig


def reach(table: pd.DataFrame, names: Mapping[str, str], sets: Mapping[str, str]) -> Figure:
    """Precision against recall and density against coverage, a point with its intervals for each ``set``."""
    looks, rows = styles(sets), -(-len(table) // 2)
    fig, axes = figure(1, 2, width=3.3, height=2.7 + 0.2 * rows, gridspec_kw={"wspace": 0.08})
    for ax, (across, up) in zip(axes[0], (("recall", "precision"), ("coverage", "density")), strict=True):
        for _, row in table[::-1].iterrows():  # real examples beneath, samples on top
            _point(ax, row, across, up, names[row["set"]], looks[row["set"]])
        ax.set(xlabel=f"{across} (share of test examples)", xlim=(-0.03, 1.03))
        ax.set_ylabel(
            "precision (share of the set)" if up == "precision" else "density (1 for equal distributions)"
        )
        top = max(1.0, float(np.nanmax(table[[up, f"{up}_high"]].to_numpy(float))))
        ax.set_ylim(-0.03 * top, 1.03 * top)
        if up == "density":
            ax.axhline(1, color="black", ls="--", lw=0.8, zorder=0)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=2)
    return fig


def _point(
    ax: Axes, row: pd.Series, across: str, up: str, label: str, look: tuple[str, str, float, float]
) -> None:
    colour, marker, size, strength = look
    ends = [
        np.nan_to_num(np.clip([[row[m] - row[f"{m}_low"]], [row[f"{m}_high"] - row[m]]], 0, None))
        for m in (across, up)
    ]
    fill = "white" if row["set"].startswith("floor") else colour
    ax.errorbar(
        row[across],
        row[up],
        xerr=ends[0],
        yerr=ends[1],
        fmt=marker,
        color=colour,
        markerfacecolor=fill,
        markersize=size,
        elinewidth=1.1,
        alpha=strength,
        label=label,
    )
