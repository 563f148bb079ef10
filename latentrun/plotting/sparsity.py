"""Pictures of which latent variables are in use."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from latentrun.plotting.bars import breadth, by_state, name_ticks, stacked, state_legend
from latentrun.plotting.images import strips
from latentrun.plotting.style import SEQUENTIAL, figure

# The bright end of the colour map vanishes on white paper.
INK = LinearSegmentedColormap.from_list("ink", colormaps[SEQUENTIAL](np.linspace(0, 0.85, 256)))


def variances(variables: pd.DataFrame) -> Figure:
    """var(mu) and mean sigma² stacked per variable, in the order of the rows; inactive ones hatched."""
    fig, axes = figure(width=breadth(len(variables)), height=2.8)
    ax = axes[0, 0]
    parts = {"var(μ)": variables["var_mean"].to_numpy(), "mean σ²": variables["mean_scale2"].to_numpy()}
    stacked(ax, parts, hatched=(variables["state"] == "inactive").to_numpy())
    ax.axhline(1, color="black", linestyle="--", linewidth=0.9)
    doubtful = np.flatnonzero(variables["state"] == "doubtful")
    top = sum(parts.values())
    ax.plot(doubtful, top[doubtful] + 0.04 * top.max(), "o", color="#7F7F7F", markersize=3)
    name_ticks(ax, variables["variable"].tolist())
    ax.set(xlabel="latent variable (sorted by KL)", ylabel="variance", ylim=(0, 1.08 * max(1.0, top.max())))
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return fig


def contributions(variables: pd.DataFrame) -> Figure:
    """KL above, reconstruction gain with its interval below, in the order of the rows."""
    fig, axes = figure(2, 1, width=breadth(len(variables)), height=2.1, sharex=True)
    states = variables["state"].tolist()
    by_state(axes[0, 0], variables["kl"].to_numpy(), states)
    by_state(axes[1, 0], variables["gain"].to_numpy(), states, variables["gain_low"].to_numpy(), variables["gain_high"].to_numpy())
    name_ticks(axes[1, 0], variables["variable"].tolist())
    axes[0, 0].set_ylabel("mean KL (nats)")
    axes[1, 0].set(ylabel="reconstruction gain\n(squared data units)", xlabel="latent variable (sorted by KL)")
    fig.align_ylabels(axes[:, 0])
    state_legend(axes[0, 0], states, loc="upper right")
    return fig


def over_training(evolution: pd.DataFrame, variables: pd.DataFrame) -> Figure:
    """Four panels against the epoch, one line per variable; colour is the variable's KL at the end, grey is inactive."""
    panels = {"var_mean": "var(μ)", "mean_scale2": "mean σ²", "sum": "var(μ) + mean σ²", "kl": "mean KL (nats)"}
    evolution = evolution.assign(sum=evolution["var_mean"] + evolution["mean_scale2"])
    fig, axes = figure(2, 2, width=3.2, height=2.2, sharex=True)
    final = variables.set_index("variable")["kl"]
    inactive = set(variables.loc[variables["state"] == "inactive", "variable"])
    active = final[~final.index.isin(inactive)]
    norm = Normalize(active.min(), active.max()) if len(active) else Normalize(0, 1)
    for ax, (column, label) in zip(axes.flat, panels.items(), strict=True):
        wide = evolution.pivot(index="epoch", columns="variable", values=column)
        for variable in sorted(wide.columns, key=lambda v: v not in inactive):  # inactive first, so that they lie below
            off = variable in inactive
            style = {"color": "#AAAAAA", "linestyle": "--"} if off else {"color": INK(norm(final[variable]))}
            ax.plot(wide.index, wide[variable], linewidth=1.1, marker="." if len(wide) == 1 else None, **style)
        ax.set(ylabel=label)
        ax.set_ylim(bottom=-0.03 * ax.get_ylim()[1])  # room for the lines that stay at 0
    for ax in axes.flat[:3]:
        ax.axhline(1, color="black", linestyle=":", linewidth=0.8)
    for ax in axes[1]:
        ax.set_xlabel("epoch")
    fig.colorbar(ScalarMappable(norm, INK), ax=axes, label="mean KL at the end (nats)")
    return fig


def zeroing(samples: np.ndarray, zeroed: np.ndarray, value_range: tuple[float, float]) -> Figure:
    """Samples above, the same with inactive variables at 0 below."""
    return strips([("prior samples", samples), ("inactive zeroed", zeroed)], value_range)
