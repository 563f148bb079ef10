"""Pictures of several densities side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from latentrun.plotting.density import shares
from latentrun.plotting.images import strips
from latentrun.types import Picture

ABOUT = "Lines: means over the runs of a group; bands: 95 % intervals over runs."


def emptiness(regions: Mapping[str, pd.DataFrame]) -> Picture:
    distance, share = "distance r to the nearest code (whitened units)", "share of the volume farther than r"
    return Picture(shares(regions, distance, share), f"How empty the hulls of the codes are. {ABOUT}")


def decoded(kinds: Mapping[str, pd.DataFrame]) -> Picture:
    return Picture(
        shares(kinds, "distance from the data", "share of decoded points above"),
        f"How far decoded points lie from the data, by where their codes are. {ABOUT}",
    )


def side_by_side(
    groups: Iterable[str], arrays: Mapping[str, np.ndarray], kinds: Mapping[str, str]
) -> Picture:
    """A row of pictures for each group and kind."""
    rows, under = [], []
    for number, group in enumerate(groups):
        for kind, words in kinds.items():
            if f"shown_{number}_{kind}" in arrays:
                rows.append((f"{group}: {words.split(' or ')[0]}", arrays[f"shown_{number}_{kind}"]))
                under.append([f"{value:.3g}" for value in arrays[f"miss_{number}_{kind}"]])
    return Picture(
        strips(rows, tuple(arrays["value_range"]), under=under),
        "What the first run of each group decodes, evenly from the one nearest to the data (left) to the "
        "farthest (right); beneath: its distance from the data.",
    )
