"""Pictures of which latent variables are in use."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.bars import breadth, by_state, name_ticks, stacked, state_legend
from latentrun.plotting.images import strips
from latentrun.plotting.style import figure
from latentrun.types import Picture, Report

VARIANCES = (
    "Variance of μ (blue) and mean σ² (orange) of each latent variable, stacked; sorted by mean KL, "
    "largest first. The law var(μ) + mean σ² = 1 is the dashed line. Hatched: inactive; grey dots over "
    "a bar: doubtful."
)
CONTRIBUTIONS = (
    "Mean KL(q(z_i|x) || N(0, 1)) in nats and reconstruction gain of each latent variable: how much the "
    "squared error, summed over data dimensions, grows when the variable is set to 0 (whiskers: 95 % "
    "interval of the mean over examples). Sorted by KL; grey ground: inactive variables."
)


def pictures(report: Report) -> dict[str, Picture]:
    variables = report.tables["variables"].sort_values(
        "kl", ascending=False, kind="stable", ignore_index=True
    )
    drawn = {
        "variances": Picture(variances(variables), VARIANCES),
        "contributions": Picture(contributions(variables), CONTRIBUTIONS),
    }
    if "samples" in report.arrays:
        whole, zeroed, value_range = (
            report.arrays[name] for name in ("samples", "samples_zeroed", "value_range")
        )
        text = (
            "Samples of the model, decoded as drawn (top) and with every inactive variable set to 0 (below). "
            f"The mean squared difference is {report.metrics['zeroing_relative'].value:.2g} of the data's "
            "variance per pixel."
        )
        drawn["zeroing"] = Picture(zeroing(whole, zeroed, tuple(value_range)), text)
    return drawn


def variances(variables: pd.DataFrame) -> Figure:
    """var(μ) and mean σ² stacked per variable, in the order of the rows; inactive ones hatched."""
    fig, axes = figure(width=breadth(len(variables)), height=2.8)
    ax = axes[0, 0]
    parts = {"var(μ)": variables["var_mean"].to_numpy(), "mean σ²": variables["mean_scale2"].to_numpy()}
    stacked(ax, parts, hatched=(variables["state"] == "inactive").to_numpy())
    ax.axhline(1, color="black", linestyle="--", linewidth=0.9)
    doubtful = np.flatnonzero(variables["state"] == "doubtful")
    top = (variables["var_mean"] + variables["mean_scale2"]).to_numpy()
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
    by_state(
        axes[1, 0],
        variables["gain"].to_numpy(),
        states,
        variables["gain_low"].to_numpy(),
        variables["gain_high"].to_numpy(),
    )
    name_ticks(axes[1, 0], variables["variable"].tolist())
    axes[0, 0].set_ylabel("mean KL (nats)")
    axes[1, 0].set(
        ylabel="reconstruction gain\n(squared data units)", xlabel="latent variable (sorted by KL)"
    )
    fig.align_ylabels(axes[:, 0])
    state_legend(axes[0, 0], states, loc="upper right")
    return fig


def zeroing(samples: np.ndarray, zeroed: np.ndarray, value_range: tuple[float, float]) -> Figure:
    """Samples above, the same with inactive variables at 0 below."""
    return strips([("samples", samples), ("inactive zeroed", zeroed)], value_range)
