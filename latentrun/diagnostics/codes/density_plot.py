"""Pictures of how dense codes are, and of what is decoded between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from latentrun.plotting.density import survival
from latentrun.plotting.images import strips
from latentrun.plotting.style import PALETTE, SEQUENTIAL, figure
from latentrun.types import Picture

MEASURES = {
    "residual": "residual (share of the norm)",
    "distance": "distance to the nearest training example (data units)",
}
Arrays = Mapping[str, np.ndarray]


def hole(arrays: Arrays, beyond: float) -> Picture:
    """Planes through the widest hole."""
    cuts, planes, ends, widest, codes = (
        arrays[part] for part in ("map", "map_planes", "map_ends", "map_hole", "map_codes")
    )
    return Picture(
        emptiness_map(cuts, planes, ends, widest, codes, beyond),
        "Planes through the middle of the widest hole (cross; dashed: the empty ball around it, radius "
        f"{arrays['map_hole'][-1]:.2f}), cut off at the hull of the codes. Colour: distance to the nearest "
        f"code; dots: codes within {beyond:g} of the plane. Axes: principal axes of the codes, all lengths "
        "in whitened units.",
    )


def volumes(gaps: Arrays, q: Sequence[float], core: float) -> Picture:
    """The share of each hull's volume that lies farther than r from every code; ``gaps``: distances of points
    drawn evenly from it, by its name in words."""
    distance, share = "distance r to the nearest code (whitened units)", "share of the volume farther than r"
    return Picture(
        survival(gaps, distance, share, q),
        "How empty the hull of the codes is: the share of its volume farther than r from every code; the "
        f"same for the hull of the {core:.0%} of codes nearest to the mean, and for as many points of a "
        "normal distribution (a blob without holes, whose hull has thin tails). Dotted: the distances of the "
        "table.",
    )


def misses(points: pd.DataFrame, kinds: Mapping[str, str], step: float, beyond: float) -> Picture:
    """How far decoded points lie from the data, a line for each of ``kinds`` that there is."""
    measure = points.columns[-1]
    values = {words: points.loc[points["kind"] == kind, measure].to_numpy() for kind, words in kinds.items()}
    values = {words: miss for words, miss in values.items() if len(miss)}
    return Picture(
        survival(values, MEASURES[measure], "share of decoded points above", logarithmic=True),
        f"How far decoded points lie from the data, by where their codes are: {step:g} whitened units from a "
        f"code, in regions of the hull farther than {beyond:g} from every code, and drawn as the model's "
        "samples are (prior).",
    )


def decoded_strips(arrays: Arrays, kinds: Mapping[str, str], measure: str) -> Picture:
    """Decoded pictures of each of ``kinds`` that there is."""
    shown = [kind for kind in kinds if f"shown_{kind}" in arrays]
    rows = [(kinds[kind], arrays[f"shown_{kind}"]) for kind in shown]
    under = [[f"{value:.3g}" for value in arrays[f"shown_{kind}_miss"]] for kind in shown]
    return Picture(
        strips(rows, tuple(arrays["value_range"]), under=under),
        "Decoded points of each kind, evenly from the one nearest to the data (left) to the farthest "
        f"(right); beneath: {MEASURES[measure]}.",
    )


def emptiness_map(
    cuts: np.ndarray, planes: np.ndarray, ends: np.ndarray, hole: np.ndarray, codes: np.ndarray, slab: float
) -> Figure:
    """Distance to the nearest code on planes ``(P, G, G)`` of two axes ``planes (P, 2)`` through a hole.

    ``ends (2, k)`` of the axes; ``hole (k + 1,)`` its centre and radius; dots are the ``codes (N, k)`` within
    ``slab`` of a plane.
    """
    fig, axes = figure(1, len(planes), width=3.1, height=3.0)
    top = np.nanmax(cuts)
    for ax, cut, (i, j) in zip(axes[0], cuts, planes, strict=True):
        look = {"cmap": SEQUENTIAL, "vmin": 0, "vmax": top, "interpolation": "nearest"}
        image = ax.imshow(cut, origin="lower", extent=(*ends[:, i], *ends[:, j]), **look)
        off = np.delete(codes - hole[:-1], [i, j], axis=1)
        close = codes[np.linalg.norm(off, axis=1) <= slab]
        ax.scatter(close[:, i], close[:, j], s=2, color=PALETTE[1], linewidths=0, rasterized=True)
        ax.plot(*hole[[i, j]], "+", color=PALETTE[3], markersize=8)
        edge = {"fill": False, "color": PALETTE[3], "linestyle": "--", "linewidth": 1}
        ax.add_patch(Circle(hole[[i, j]], hole[-1], **edge))
        ax.set(xlabel=f"principal axis {i}", ylabel=f"principal axis {j}", xlim=ends[:, i], ylim=ends[:, j])
    fig.colorbar(image, ax=list(axes[0]), label="distance to the nearest code\n(whitened units)", shrink=0.85)
    return fig
