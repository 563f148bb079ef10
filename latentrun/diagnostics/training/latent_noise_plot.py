"""Pictures of a latent variable under noise."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentrun.plotting.style import PALETTE, figure

SHADES = {
    "rising": ("#F6E3D5", "noise rises"),
    "held": ("#ECC9B0", "noise stays"),
    "removed": ("#DCEBF4", "noise gone"),
}


def rise_and_fall(curve: pd.DataFrame, crossing: int | None) -> Figure:
    """Gain and KL above, variances in the middle where they are known, the noise's standard deviation below,
    against the epoch; ``crossing``: the row in which the gain fell below the KL."""
    moments = "var_mean" in curve
    heights = [2.4, *([1.3] if moments else []), 0.8]
    fig, axes = figure(
        len(heights),
        1,
        width=5.4,
        height=sum(heights) * 0.95 / len(heights),
        sharex=True,
        height_ratios=heights,
    )
    panels, epoch = list(axes[:, 0]), curve["epoch"].to_numpy()
    for ax in panels:
        shade(ax, curve, named=ax is panels[0])
        if crossing is not None:
            ax.axvline(epoch[crossing], color="black", linestyle="--", linewidth=0.8)
    mark = "." if len(epoch) < 3 else None

    top = panels[0]
    linear = linear_below(curve, crossing)
    top.set_yscale("symlog", linthresh=linear, linscale=0.6)
    top.axhspan(-linear, linear, color="black", alpha=0.04, linewidth=0)
    top.axhline(0, color="0.5", linewidth=0.6)
    top.plot(epoch, curve["gain"], color=PALETTE[0], marker=mark, label="gain")
    top.plot(epoch, curve["kl"], color=PALETTE[1], marker=mark, label="KL")
    top.set_ylabel("nats")
    top.legend(loc="lower left")
    if moments:
        middle = panels[1]
        middle.axhline(1, color="black", linestyle=":", linewidth=0.8)
        middle.plot(epoch, curve["var_mean"], color=PALETTE[2], marker=mark, label="var(μ)")
        if "mean_scale2" in curve:
            middle.plot(epoch, curve["mean_scale2"], color=PALETTE[3], marker=mark, label="mean σ²")
        middle.set(ylabel="latent units²")
        middle.set_ylim(bottom=-0.03 * middle.get_ylim()[1])
        middle.legend(loc="upper right")
    panels[-1].plot(
        epoch, curve["noise_scale"], color="black", linewidth=1.1, drawstyle="steps-mid", marker=mark
    )
    panels[-1].set(xlabel="epoch after training", ylabel="noise sd\n(latent units)")
    panels[-1].set_ylim(
        -0.05 * max(1e-9, curve["noise_scale"].max()), 1.1 * max(1e-9, curve["noise_scale"].max())
    )
    fig.align_ylabels(panels)
    return fig


def linear_below(curve: pd.DataFrame, crossing: int | None) -> float:
    """Where the axis of nats turns linear: a power of ten, under the values at the crossing, if they are not
    all too small."""
    least = max(float(curve["kl"].min() if crossing is None else curve["kl"].iloc[crossing]), 1e-9)
    return float(np.clip(10.0 ** math.floor(math.log10(least)), 1e-3, 0.1))


def shade(ax: Axes, curve: pd.DataFrame, named: bool) -> None:
    """The ground of each stage, and its name above."""
    for stage, rows in curve.groupby("stage", sort=False):
        colour, text = SHADES[stage]
        left, right = rows["epoch"].min() - 0.5, rows["epoch"].max() + 0.5
        ax.axvspan(left, right, color=colour, linewidth=0, zorder=0)
        if named and right - left > 0.1 * len(curve):
            middle = ((left + right) / 2, 1)
            ax.annotate(
                text,
                middle,
                (0, 2),
                ax.get_xaxis_transform(),
                "offset points",
                ha="center",
                va="bottom",
                fontsize=8,
            )
    ax.set_xlim(curve["epoch"].min() - 0.5, curve["epoch"].max() + 0.5)


def caption(curve: pd.DataFrame, n: Mapping[str, float]) -> str:
    """What the picture shows, and what happened in it by the numbers ``n``."""
    if not n["noise.greatest"]:
        story = "There was no noise"
    elif n["crossed"]:
        story = (
            f"Under noise of {n['noise.crossing']:.2g} (dashed line) the gain, {n['gain.crossing']:.2g} "
            "nats, is less than the KL"
        )
    else:
        story = f"Under noise up to {n['noise.greatest']:.2g} the gain does not fall below the KL"
    if n["collapsed"]:
        story += f"; it fell below the limit of collapse at {n['noise.collapse']:.2g}"
    if not math.isnan(n["gain.revived"]):
        story += f"; at the end it is {n['gain.revived']:.3g} of {n['gain.before']:.3g} nats"
    parts = ""
    if "var_mean" in curve:
        parts = ", its variance of μ and mean σ² over fixed training rows (middle)"
    return (
        "Above: reconstruction gain and KL of one latent variable after each epoch, in nats on a logarithmic "
        f"axis (linear in the grey band){parts}, and the noise put on it (below). Shaded: the noise rises, "
        f"stays and is gone. {story}."
    )
