"""Pictures of lost variance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.bars import grouped
from latentrun.plotting.style import PALETTE, SEQUENTIAL, figure
from latentrun.types import Estimate

MARKS = [
    (colour, mark) for mark in "osD^v" for colour in PALETTE
]  # groups of runs: colours first, then marks
NAMES = {
    "data": "data",
    "mean": "decoded from μ(x)",
    "posterior": "decoded from z ~ q(z|x)",
    "generated": "samples",
}


def loss_and_error(summary: pd.DataFrame) -> Figure:
    """Bars of the variance loss beside the mean squared error."""
    fig, axes = figure(width=1.5 * len(summary) + 1.2, height=2.8)
    ax = axes[0, 0]
    series = {
        "Δvar": tuple(summary[c].to_numpy(float) for c in ("delta_var", "low", "high")),
        "mse": tuple(summary[c].to_numpy(float) for c in ("mse", "mse_low", "mse_high")),
    }
    grouped(ax, [NAMES[kind].replace("from ", "from\n") for kind in summary["kind"]], series)
    ax.set_ylabel("squared data units,\nmean over pixels")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return fig


def maps(found: Mapping[str, np.ndarray]) -> Figure:
    """Per-pixel variance ``(channels, height, width)`` of each kind, on one colour scale."""
    fig, axes = figure(1, len(found), width=1.8, height=2.3)
    top = max(v.mean(0).max() for v in found.values()) or 1.0
    for ax, (kind, variance) in zip(axes[0], found.items(), strict=True):
        image = ax.imshow(variance.mean(0), cmap=SEQUENTIAL, vmin=0, vmax=top, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"{NAMES[kind].replace('from ', 'from' + chr(10))}\nmean {variance.mean():.3g}")
        ax.spines[:].set_visible(False)
    fig.colorbar(image, ax=list(axes[0]), label="variance (squared data units)", shrink=0.85)
    return fig


# ---------------------------------------------------------------- over runs
def law(points: pd.DataFrame, slopes: Mapping[str, Estimate]) -> Figure:
    """Lost variance against error, a panel for each kind of reconstruction, a point for each run, coloured by
    group."""
    kinds = points["kind"].unique()
    names = points["group"].unique()
    columns = max(
        1, min(len(names), int(11 * 3.4 * len(kinds)) // (8 + max(map(len, names))))
    )  # about 11 letters an inch
    fig, axes = figure(1, len(kinds), width=3.4, height=3.2 + 0.2 * np.ceil(len(names) / columns))
    for ax, kind in zip(axes[0], kinds, strict=True):
        own = points[points["kind"] == kind]
        reach = 1.08 * max(
            own["mse_high"].max(), own["delta_var_high"].max(), own["mse"].max(), own["delta_var"].max()
        )
        line, slope = np.array([0.0, reach]), slopes[kind]
        ax.plot(line, line, color="black", linestyle="--", linewidth=0.9)
        ax.plot(line, slope.value * line, color="#555555", linewidth=1)
        if slope.low is not None:
            ax.fill_between(
                line, slope.low * line, slope.high * line, color="#555555", alpha=0.18, linewidth=0
            )
        for number, name in enumerate(names):
            rows = own[own["group"] == name]
            colour, mark = MARKS[number % len(MARKS)]
            reaches = [
                np.clip([rows[c] - rows[f"{c}_low"], rows[f"{c}_high"] - rows[c]], 0, None)
                for c in ("mse", "delta_var")
            ]
            ax.errorbar(
                rows["mse"],
                rows["delta_var"],
                xerr=np.nan_to_num(reaches[0]),
                yerr=np.nan_to_num(reaches[1]),
                fmt=mark,
                color=colour,
                markersize=4.5,
                elinewidth=0.7,
                alpha=0.85,
                label=name,
            )
        text = f"slope {slope.value:.3f}" + (
            "" if slope.low is None else f" [{slope.low:.3f}, {slope.high:.3f}]"
        )
        low = min(0.0, own["delta_var"].min())
        ax.set(xlabel="mse", xlim=(0, reach), ylim=(low, reach), title=f"{NAMES[kind]}\n{text}")
    axes[0, 0].set_ylabel("Δvar (squared data units,\nmean over pixels)")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    return fig


def ratios(found: pd.DataFrame, tolerance: float) -> Figure:
    """Δvar / mse of each group with its interval, a panel for each kind, and the band 1 +- tolerance."""
    kinds, names = found["kind"].unique(), list(found["group"].unique())
    fig, axes = figure(
        1, len(kinds), width=2.6 + 0.04 * max(map(len, names)), height=1.0 + 0.24 * len(names), sharey=True
    )
    for ax, kind in zip(axes[0], kinds, strict=True):
        ax.axvspan(1 - tolerance, 1 + tolerance, color="#E8EEF4", linewidth=0)
        ax.axvline(1, color="black", linestyle="--", linewidth=0.9)
        for row in found[found["kind"] == kind].itertuples():
            at, (mark, fill) = (
                names.index(row.group),
                {"holds": ("o", PALETTE[0]), "fails": ("X", PALETTE[1])}.get(row.law, ("o", "white")),
            )
            edge = PALETTE[1] if row.law == "fails" else PALETTE[0]
            ax.plot([row.ratio_low, row.ratio_high], [at, at], color=edge, linewidth=1.2)
            ax.plot(row.ratio, at, mark, markerfacecolor=fill, markeredgecolor=edge, markersize=6)
        ax.set(xlabel="Δvar / mse", title=NAMES[kind], ylim=(len(names) - 0.4, -0.6))
        ax.set_yticks(range(len(names)), names)
    return fig
