"""Points in the hull of the codes, what is decoded of them, and their tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from latentrun.functional.clouds.hulls import Hull
from latentrun.functional.statistics.intervals import mean_interval, share_interval
from latentrun.types import Estimate

POINTS = "drawn points"


@dataclass(frozen=True)
class Region:
    """Points ``(n, k)`` drawn evenly from the hull of some codes, in whitened units, and their distance ``gap
    (n,)`` to the nearest code."""

    hull: Hull
    points: np.ndarray
    gap: np.ndarray


@dataclass(frozen=True)
class Decoded:
    """Decoded points of one kind: ``x (n, *event)``, how far they lie from the data, ``miss (n,)``, by the
    measure ``measure``, and ``absolute (n,)``, in data units; how far their codes lie from the nearest code,
    ``gap (n,)``."""

    x: Tensor
    miss: Tensor
    absolute: Tensor
    measure: str
    gap: np.ndarray


# ---------------------------------------------------------------- numbers
def share_beyond(region: Region, limit: float) -> Estimate:
    """The share of a hull's volume that is farther than ``limit`` from every code."""
    return share_interval(int((region.gap > limit).sum()), len(region.gap), POINTS)


def band_metrics(bands: dict[str, Decoded]) -> dict[str, Estimate]:
    """Means at each distance from the codes."""
    metrics = {}
    for band, points in bands.items():
        metrics[f"{points.measure}_band.{band}"] = mean_interval(points.miss, POINTS)
        metrics[f"absolute_band.{band}"] = mean_interval(points.absolute, POINTS)
    return metrics


# ---------------------------------------------------------------- tables
def band_table(bands: dict[str, Decoded]) -> dict[str, pd.DataFrame]:
    """A row for each distance from the codes, where there are any points."""
    rows = [
        {
            "gap": band,
            "points": len(points.miss),
            points.measure: points.miss.mean().item(),
            "absolute": points.absolute.mean().item(),
        }
        for band, points in bands.items()
    ]
    return {"bands": pd.DataFrame(rows)} if rows else {}


def empty_table(regions: dict[str, Region], q: list[float]) -> pd.DataFrame:
    """A row for each hull and distance."""
    rows = []
    for name, region in regions.items():
        for limit in q:
            share = share_beyond(region, limit)
            size = (region.hull.volume, len(region.hull.vertices))
            rows.append((name, limit, share.value, share.low, share.high, *size))
    return pd.DataFrame(rows, columns=["region", "q", "share", "low", "high", "volume", "vertices"])


def points_table(kinds: dict[str, Decoded]) -> pd.DataFrame:
    """A row for each decoded point."""
    parts = [
        pd.DataFrame(
            {
                "kind": kind,
                "gap": points.gap,
                "absolute": points.absolute.numpy(),
                points.measure: points.miss.numpy(),
            }
        )
        for kind, points in kinds.items()
    ]
    return pd.concat(parts, ignore_index=True)
