"""Pictures of how steep maps are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter

from latentrun.plotting.style import PALETTE, figure, legible
from latentrun.types import Estimate, Picture

LINES = {
    "quotient": ("largest quotient of two points", "--", 1),
    "steepest": ("largest slope", "-", 0),
    "upper": ("bound from above", ":", 7),
}
SERIES = {"quotient": ("largest quotient", 0), "relative": ("relative to the spread of the codes", 1)}


def slope_picture(points: pd.DataFrame, maps: pd.DataFrame, units: Mapping[str, str]) -> Picture:
    """The slopes of each map at its points, with the bounds; logarithmic."""
    fig, axes = figure(1, len(maps), width=3.4, height=2.9)
    for ax, row in zip(axes[0], maps.to_dict("records"), strict=True):
        slopes = points.loc[points["map"] == row["map"], "slope"].to_numpy(float)
        seen = slopes[slopes > 0]
        ends = [
            value for value in (*seen, *(row[name] for name in LINES)) if np.isfinite(value) and value > 0
        ]
        if ends:
            low, high = min(ends) / 1.3, max(ends) * 1.3
            ax.hist(seen, np.geomspace(low, high, 41), color="#C8D6E0", edgecolor="#7F97A8", linewidth=0.3)
            ax.set(xscale="log", xlim=(low, high))
        for name, (label, style, colour) in LINES.items():
            if np.isfinite(row[name]):
                ax.axvline(row[name], ls=style, color=PALETTE[colour], lw=1.2, label=label)
        ax.set(title=row["map"], xlabel=f"slope, {units[row['map']]}", ylabel="points")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    for ax in axes[0, 1:]:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles, labels = [*handles, handle], [*labels, label]
    size = legible(3.4 * len(maps), 7)
    fig.legend(handles, labels, loc="outside upper center", ncols=2 if len(maps) == 1 else 3, fontsize=size)
    return Picture(
        fig,
        "The largest singular value of the Jacobian at every point (bars), and what bounds the Lipschitz "
        "constant: from below the largest slope and the largest quotient of two points, from above the "
        "product of the norms of all steps, which may be far too large.",
    )


def growth_picture(table: pd.DataFrame, metrics: Mapping[str, Estimate]) -> Picture:
    """The encoder's largest quotient after every epoch."""
    fig, axes = figure(1, 1, width=4.2, height=2.9)
    ax = axes[0, 0]
    texts = []
    for name, (label, colour) in SERIES.items():
        ax.plot(table["epoch"], table[name], color=PALETTE[colour], lw=1.3, marker=".", ms=3, label=label)
        growth = metrics.get(f"growth.{name}")
        if growth is not None:
            ends = "" if growth.low is None else f" ({growth.low:.2f} to {growth.high:.2f})"
            texts.append(f"{label}: exponent {growth.value:.2f}{ends}")
    ax.set(xscale="log", yscale="log", xlabel="epoch", ylabel="latent units for a data unit, or ratio")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    ax.legend(fontsize=legible(4.2, 7), loc="best")
    told = "; ".join(texts) or "too short to tell"
    return Picture(
        fig,
        "The largest quotient of the distance of two codes and that of their examples, over all pairs of "
        "fixed training rows, after every epoch: a bound from below of the encoder's Lipschitz constant; and "
        f"the same in units of sd(z) / sd(x). Both axes logarithmic. At the end: {told}.",
    )
