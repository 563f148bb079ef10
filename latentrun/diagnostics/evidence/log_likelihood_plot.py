"""Pictures of exact densities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from latentrun.plotting.histogram import overlay
from latentrun.types import Estimate, Picture

NAMES = {"train": "training rows", "test": "test rows"}


def density_picture(table: pd.DataFrame, metrics: Mapping[str, Estimate], unit: str) -> Picture:
    """How -log p of both splits is spread. ``table``: ``split, log_prob``; ``unit``: what log p is of."""
    spread = {}
    for split, name in NAMES.items():
        values = -table.loc[table["split"] == split, "log_prob"].to_numpy(float)
        spread[name] = values[np.isfinite(values)]
    gap = metrics["gap"]
    interval = "" if gap.low is None else f" (95 % interval {gap.low:.3g} to {gap.high:.3g})"
    return Picture(
        overlay(spread, "-log p(x), nats"),
        "-log p of training and of test rows, in nats per example; dotted: the means. Right: the share of "
        f"rows at or above a value, where the least probable stand. Gap of the means: {gap.value:.3g} nats"
        f"{interval}. {unit}",
    )
