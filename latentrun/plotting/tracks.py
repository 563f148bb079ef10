"""Decoded paths that were held against the data: strips, and what happens along them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.images import strips
from latentrun.plotting.paths import factor_curves

SHORT = {"residual": "residual\n(share of norm)", "distance": "distance to data\n(data units)"}


def judged_strips(names: Sequence[str], x: np.ndarray, steps: pd.DataFrame, kind: str, value_range) -> Figure:
    """Images ``(P, T, c, h, w)`` along paths, each with its ``kind`` of miss beneath."""
    under = [[f"{value:.2g}" for value in steps.loc[steps["path"] == name, kind]] for name in names]
    return strips(list(zip(names, x, strict=True)), value_range, under=under)


def judged_curves(
    names: Sequence[str], steps: pd.DataFrame, kind: str, ranges: np.ndarray, unit: str
) -> Figure:
    """One column a path: the factors of the nearest members of the family where there is one, how far the
    pictures lie from the data, and how far the codes lie from the nearest code."""
    columns = [column for column in steps if column.startswith("fitted.")]
    groups = steps.groupby("path", sort=False)
    tracks = [groups.get_group(name) for name in names]
    panels = [
        (name, track["position"].to_numpy(), track[columns].to_numpy())
        for name, track in zip(names, tracks, strict=True)
    ]
    below = {
        SHORT[kind]: np.stack([track[kind] for track in tracks]),
        "nearest code\n(whitened units)": np.stack([track["gap"] for track in tracks]),
    }
    factors = [column.removeprefix("fitted.") for column in columns]
    return factor_curves(panels, below, factors, ranges.reshape(-1, 2), unit)
