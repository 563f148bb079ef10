"""Bars: one per latent variable, or groups of them side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from latentrun.plotting.style import PALETTE, legible

# How the three states of a latent variable look in every picture: colour and hatch, so that print and
# colour-blind eyes tell them apart.
STATES = {"active": (PALETTE[0], ""), "doubtful": (PALETTE[1], "...."), "inactive": ("#BBBBBB", "/////")}
HATCH_EDGE = "#555555"


def breadth(n: int) -> float:
    """Inches that n bars side by side want."""
    return float(np.clip(0.24 * n + 1.6, 3.4, 10.0))


def name_ticks(ax: Axes, names: Sequence) -> None:
    """Tick labels for bars at 0 ... n - 1, thinned until they fit; ends of the axis close to the outer
    bars."""
    width = ax.figure.get_size_inches()[0] / ax.figure.axes[0].get_subplotspec().get_gridspec().ncols
    longest = max(len(str(name)) for name in names)
    step = max(1, int(np.ceil(len(names) * (0.09 * longest + 0.06) / width)))
    places = range(0, len(names), step)
    ax.set_xticks(places, [str(names[i]) for i in places])
    ax.set_xlim(-0.7, len(names) - 0.3)


def by_state(
    ax: Axes,
    heights: np.ndarray,
    states: Sequence[str],
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
) -> None:
    """One bar per variable, coloured and hatched by its state; whiskers from low to high where given."""
    state_of = np.asarray(states)
    # Their bars are hardly there: the ground says where they are.
    for i in np.flatnonzero(state_of == "inactive"):
        ax.axvspan(i - 0.5, i + 0.5, color="#EEEEEE", linewidth=0, zorder=0)
    for state, (colour, hatch) in STATES.items():
        at = np.flatnonzero(state_of == state)
        edge = HATCH_EDGE if hatch else colour
        ax.bar(at, heights[at], color=colour, hatch=hatch, edgecolor=edge, linewidth=0, width=0.8)
    if low is not None and high is not None:
        whiskers(ax, np.arange(len(heights)), heights, low, high)
    ax.axhline(0, color="black", linewidth=0.6)


def state_legend(ax: Axes, states: Sequence[str], **options) -> None:
    """Name the states that occur."""
    patches = [
        Patch(facecolor=colour, hatch=hatch, edgecolor=HATCH_EDGE, linewidth=0, label=state)
        for state, (colour, hatch) in STATES.items()
        if state in set(states)
    ]
    ax.legend(handles=patches, **options)


def stacked(ax: Axes, parts: Mapping[str, np.ndarray], hatched: np.ndarray) -> None:
    """Parts on top of each other, one stack per variable; stacks marked in ``hatched`` are hatched."""
    places, base = np.arange(len(hatched)), np.zeros(len(hatched))
    look = {"width": 0.8, "linewidth": 0, "edgecolor": HATCH_EDGE}
    for (label, heights), colour in zip(parts.items(), (PALETTE[0], PALETTE[4], *PALETTE[2:4]), strict=False):
        bars = ax.bar(places, heights, bottom=base, color=colour, label=label, **look)
        for i in np.flatnonzero(hatched):
            bars[i].set_hatch("/////")
        base = base + heights


def whiskers(ax: Axes, at: np.ndarray, values: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """95 % intervals on bars; values outside their own interval (rounding) get a whisker on one side only."""
    reach = np.clip(np.stack([values - low, high - values]), 0, None)
    ax.errorbar(at, values, yerr=np.nan_to_num(reach), fmt="none", ecolor="black", elinewidth=0.8, capsize=2)


def grouped(
    ax: Axes, groups: Sequence[str], series: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> None:
    """Bars of several series side by side in each group: ``series[label] = (values, low, high)``, NaN where
    there is no bar."""
    width = 0.8 / len(series)
    small = legible(ax.figure.get_size_inches()[0], 7)
    above = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
    for k, (label, (values, low, high)) in enumerate(series.items()):
        at = np.arange(len(groups)) + (k - (len(series) - 1) / 2) * width
        given = np.isfinite(values)
        ax.bar(at[given], values[given], width=0.92 * width, color=PALETTE[k], label=label)
        whiskers(ax, at[given], values[given], low[given], high[given])
        for place in at[~given]:
            ax.annotate(f"no {label}", (place, 0), fontsize=small, color="#555555", **above)
    ax.set_xticks(range(len(groups)), groups)
    ax.set_xlim(-0.6, len(groups) - 0.4)
    ax.axhline(0, color="black", linewidth=0.6)
