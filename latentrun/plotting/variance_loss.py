"""Pictures of lost variance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.bars import grouped
from latentrun.plotting.style import SEQUENTIAL, figure

NAMES = {"data": "data", "mean": "decoded from μ(x)", "posterior": "decoded from z ~ q(z|x)", "generated": "samples"}


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
