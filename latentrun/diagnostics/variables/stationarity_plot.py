"""Pictures of the variance law."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.bars import breadth, name_ticks
from latentrun.plotting.style import PALETTE, figure

MARKS = {"active": (PALETTE[0], "o"), "doubtful": (PALETTE[1], "^"), "inactive": ("#7F7F7F", "s")}


def per_variable(table: pd.DataFrame) -> Figure:
    """S with its interval for every variable, and the line at 1."""
    fig, axes = figure(width=breadth(len(table)), height=2.6)
    ax = axes[0, 0]
    ax.axhline(1, color="black", linestyle="--", linewidth=0.9)
    for state, (colour, mark) in MARKS.items():
        rows = table[table["state"] == state]
        reach = np.clip([rows["s"] - rows["s_low"], rows["s_high"] - rows["s"]], 0, None)
        if len(rows):
            ax.errorbar(
                rows["variable"],
                rows["s"],
                yerr=reach,
                fmt=mark,
                color=colour,
                markersize=4,
                elinewidth=1,
                capsize=2,
                label=state,
            )
    name_ticks(ax, table["variable"].tolist())
    # A law that holds should look as if it held: never zoom in further than 0.9 ... 1.1.
    low, high = min(0.9, table["s_low"].min()), max(1.1, table["s_high"].max())
    ax.set(
        xlabel="latent variable",
        ylabel="S = var(μ) + mean σ²",
        ylim=(low - 0.05 * (high - low), high + 0.05 * (high - low)),
    )
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return fig


def law_line(table: pd.DataFrame) -> Figure:
    """Mean sigma² against var(mu), and the line on which they add to 1."""
    fig, axes = figure(width=3.3, height=3.1)
    ax = axes[0, 0]
    reach = 1.06 * max(1.0, table["var_mean"].max(), table["mean_scale2"].max())
    ax.plot([0, 1], [1, 0], color="black", linestyle="--", linewidth=0.9, label="var(μ) + mean σ² = 1")
    for state, (colour, mark) in MARKS.items():
        rows = table[table["state"] == state]
        if len(rows):
            ax.scatter(
                rows["var_mean"],
                rows["mean_scale2"],
                color=colour,
                marker=mark,
                s=22,
                alpha=0.7,
                linewidths=0,
                label=state,
                clip_on=False,
            )
    ax.set(xlabel="var(μ)", ylabel="mean σ²", xlim=(-0.03, reach), ylim=(-0.03, reach), aspect="equal")
    ax.legend(loc="upper right")
    return fig
