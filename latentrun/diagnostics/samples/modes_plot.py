"""Pictures of modes and of the samples that find them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure

from latentrun.plotting.bars import breadth, name_ticks
from latentrun.plotting.scatter import points
from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Picture, Report


def mode_pictures(report: Report) -> dict[str, Picture]:
    """Samples in the plane, and how many each mode has."""
    found, good = (report.metrics[name].value for name in ("found", "good"))
    table, arrays = report.tables["modes"], report.arrays
    plane = "the plane in which the centres of the modes spread most" if arrays["turned"] else "the data"
    return {
        "plane": Picture(
            samples_and_modes(arrays),
            f"Test rows (left) and samples (right) in {plane}; circles: 3 standard deviations around the "
            f"modes. Within one ({good:.1%} of the samples): blue, else orange. {int(found)} of {len(table)} "
            f"modes are found. Samples: {report.notes[0]}.",
        ),
        "shares": Picture(
            mode_shares(table),
            "Share of the samples whose nearest mode is this one (bars), and of the training rows (dashes). "
            "Crossed out: modes without a good sample.",
        ),
    }


def samples_and_modes(arrays) -> Figure:
    """``data (m, 2)`` and ``samples (n, 2)``, of which ``good (n,)``, with ``centres (k, 2)`` and the
    ``radius`` of good ones."""
    fig, axes = figure(1, 2, width=3.3, height=3.2, sharex=True, sharey=True)
    centres, size = arrays["centres"], 2 * float(arrays["radius"])
    good = arrays["good"].astype(bool)
    for ax, title, rows, near in (
        (axes[0, 0], "test rows", arrays["data"], None),
        (axes[0, 1], "samples", arrays["samples"], good),
    ):
        near = np.ones(len(rows), bool) if near is None else near
        for at, colour in ((near, PALETTE[0]), (~near, PALETTE[1])):
            ax.scatter(rows[at, 0], rows[at, 1], color=colour, **points(len(rows)))
        ring = np.full(len(centres), size)
        look = {"facecolors": "none", "edgecolors": "black", "linewidths": 0.7, "zorder": 3}
        ax.add_collection(
            EllipseCollection(
                ring, ring, 0, units="xy", offsets=centres, offset_transform=ax.transData, **look
            )
        )
        ax.set(title=title, aspect="equal", xlabel="$x_0$")
        ax.locator_params(nbins=5)
        if arrays["turned"]:
            ax.set(xlabel="first direction of the centres")
    axes[0, 0].set(ylabel="second direction of the centres" if arrays["turned"] else "$x_1$")
    _around(axes[0, 0], arrays)
    return fig


def _around(ax, arrays) -> None:
    """Limits around modes and data; samples far from all of them lie outside."""
    seen = np.concatenate([arrays["centres"], arrays["data"]])
    low, high = seen.min(0), seen.max(0)
    margin = 0.2 * float((high - low).max()) + float(arrays["radius"])
    ax.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin))


def mode_shares(table: pd.DataFrame) -> Figure:
    """A bar for each mode; dashes where the data are."""
    k = len(table)
    fig, axes = figure(1, 1, width=breadth(k), height=2.2)
    ax = axes[0, 0]
    ax.bar(range(k), table["samples"], color=PALETTE[0], width=0.8, label="samples")
    ax.hlines(
        table["training"],
        np.arange(k) - 0.45,
        np.arange(k) + 0.45,
        color="black",
        lw=1.2,
        label="training rows",
    )
    missed = np.flatnonzero(table["good"] == 0)
    if len(missed):
        ax.plot(missed, table["samples"].to_numpy()[missed], "x", color=PALETTE[1], ms=6, label="not found")
    name_ticks(ax, list(table["mode"]))
    ax.set(xlabel="mode", ylabel="share", ylim=(0, None))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return fig
