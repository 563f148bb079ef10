"""Pictures of the variance that reconstructions lack."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.bars import grouped
from latentrun.plotting.style import SEQUENTIAL, figure

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
        "Δvar": tuple(summary[name].to_numpy(float) for name in ("delta_var", "low", "high")),
        "mse": tuple(summary[name].to_numpy(float) for name in ("mse", "mse_low", "mse_high")),
    }
    grouped(ax, [NAMES[kind].replace("from ", "from\n") for kind in summary["kind"]], series)
    ax.set_ylabel("squared data units,\nmean over dimensions")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return fig


def variance_maps(variances: Mapping[str, np.ndarray]) -> Figure:
    """Per-pixel variance ``(channels, height, width)`` of each kind, on one colour scale."""
    fig, axes = figure(1, len(variances), width=1.8, height=2.3)
    top = max(v.mean(0).max() for v in variances.values()) or 1.0
    for ax, (kind, variance) in zip(axes[0], variances.items(), strict=True):
        image = ax.imshow(variance.mean(0), cmap=SEQUENTIAL, vmin=0, vmax=top, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        name = NAMES[kind].replace("from ", "from\n")
        ax.set_title(f"{name}\nmean {variance.mean():.3g}")
        ax.spines[:].set_visible(False)
    fig.colorbar(image, ax=list(axes[0]), label="variance (squared data units)", shrink=0.85)
    return fig
