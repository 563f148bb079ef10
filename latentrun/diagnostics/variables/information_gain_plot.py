"""Pictures of what latent variables are worth and what they cost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.bars import breadth, name_ticks, whiskers
from latentrun.plotting.images import strips
from latentrun.plotting.style import PALETTE, figure

# Colour, marker and words of the four outcomes of gain against KL.
OUTCOMES = {
    "above": (PALETTE[0], "o", "gain above KL"),
    "even": (PALETTE[4], "^", "no clear difference"),
    "below": (PALETTE[1], "v", "gain below KL"),
    "inactive": ("#7F7F7F", "s", "inactive"),
}
LINEAR = 0.01  # nats: below, the axis is linear


def ordered(table: pd.DataFrame) -> Figure:
    """Bars of ``gain`` with intervals in the order of the rows, and marks for ``gain_mean``."""
    fig, axes = figure(width=max(4.6, breadth(len(table))), height=2.8)
    ax, at = axes[0, 0], np.arange(len(table))
    for i in np.flatnonzero(table["state"] == "inactive"):
        ax.axvspan(i - 0.5, i + 0.5, color="#EEEEEE", linewidth=0, zorder=0)
    ax.bar(at, table["gain"], color=PALETTE[5], width=0.8, label="z drawn from q(z|x)")
    if len(table) <= 120:  # of more bars the whiskers would be all that is seen
        whiskers(ax, at, *(table[name].to_numpy() for name in ("gain", "gain_low", "gain_high")))
    ax.plot(at, table["gain_mean"], "D", color=PALETTE[1], markersize=3.5, label="z = μ(x)")
    ax.axhline(0, color="black", linewidth=0.6)
    name_ticks(ax, table["variable"].tolist())
    ax.set(xlabel="latent variable (sorted by gain)", ylabel="reconstruction gain\n(squared data units)")
    ax.legend(loc="upper right")
    return fig


def against_kl(table: pd.DataFrame) -> Figure:
    """Gain in nats with its interval, coloured by ``state``, and KL of each variable in the order of the
    rows."""
    fig, axes = figure(width=max(4.8, breadth(len(table))), height=3.0)
    ax, at = axes[0, 0], np.arange(len(table))
    ax.plot(at, table["kl"], "_", color="black", markersize=9, markeredgewidth=1.6, label="mean KL", zorder=3)
    for state, (colour, mark, words) in OUTCOMES.items():
        place = np.flatnonzero(table["state"] == state)
        if not len(place):
            continue
        nats, low, high = (table[name].to_numpy()[place] for name in ("nats", "nats_low", "nats_high"))
        ax.errorbar(
            place,
            nats,
            yerr=np.nan_to_num(np.clip([nats - low, high - nats], 0, None)),
            fmt=mark,
            color=colour,
            markersize=4.5,
            elinewidth=0.9,
            label=f"{words} ({len(place)})",
        )
    ax.set_yscale("symlog", linthresh=LINEAR, linscale=0.4)
    if table["nats"].min() < 0:
        ax.axhline(0, color="0.7", linewidth=0.6, zorder=0)
    name_ticks(ax, table["variable"].tolist())
    top = max(table["nats"].max(), table["nats_high"].max(), table["kl"].max(), LINEAR)
    ax.set(
        xlabel="latent variable (sorted by gain)",
        ylabel="nats",
        ylim=(None if table["nats"].min() < 0 else 0, 2 * top),
    )
    fig.legend(
        *ax.get_legend_handles_labels(),
        loc="outside upper right",
        ncols=4,
        columnspacing=1.0,
        handletextpad=0.3,
    )
    return fig


def traversal(table: pd.DataFrame, arrays: Mapping[str, np.ndarray]) -> Figure:
    """A strip of decoded examples for each of the first variables of the table."""
    pictures = arrays["traversal"]
    labels = [f"z{row.variable}: {row.gain:.3g}" for row in table.head(len(pictures)).itertuples()]
    return strips(
        list(zip(labels, pictures, strict=True)),
        tuple(arrays["value_range"].tolist()),
        columns=[f"{position:.3g}" for position in arrays["position"]],
    )
