"""Picture of the model's error beside that of trivial models."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.bars import whiskers
from latentrun.plotting.style import PALETTE, figure

NAMES = {"model": "this model", "pca": "PCA", "mean": "mean example"}


def beside(errors: pd.DataFrame) -> Figure:
    """Bars of the errors with their intervals."""
    fig, axes = figure(width=3.3, height=2.5)
    ax, at = axes[0, 0], range(len(errors))
    ax.bar(at, errors["mse"], color=[PALETTE[0], *["#BBBBBB"] * (len(errors) - 1)], width=0.7)
    whiskers(
        ax, errors.index.to_numpy(), *(errors[name].to_numpy() for name in ("mse", "mse_low", "mse_high"))
    )
    ax.set_xticks(at, [NAMES[name] for name in errors["what"]])
    ax.set(ylabel="mean squared error\n(squared data units)", ylim=(0, None))
    return fig
