"""Pictures of estimated dimensions."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from latentrun.plotting.histogram import STYLES
from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Picture, Report

COLOURS = {"data": PALETTE[7], "samples": PALETTE[0], "codes": PALETTE[1]}
MARKS = {"data": "o", "samples": "s", "codes": "D"}


def dimension_pictures(report: Report) -> dict[str, Picture]:
    """The estimate against the scale, for every set."""
    known, noise = report.arrays["known"].tolist(), report.arrays["noise"].tolist()
    text = ""
    if known:
        text += " Dashed: dimension of the data without noise."
    if noise:
        text += f" Dotted: three standard deviations of the noise ({noise[0]:g} on every value)."
    return {
        "scales": Picture(
            scales(report.tables["scales"], known, noise),
            "Estimated dimension (Levina and Bickel) against the scale at which one looks: each mark is a "
            "number of neighbours, its place the median distance to the last of them. Bands: 95 % intervals "
            f"over points.{text}",
        )
    }


def scales(table: pd.DataFrame, known: list[int], noise: list[float]) -> Figure:
    """Curves of ``dimension`` with ends ``_low`` and ``_high`` against ``scale``, one a ``set``: data and
    samples in one panel, codes, which have units of their own, in another."""
    panels = [["data", "samples"], ["codes"]]
    present = [[name for name in names if name in set(table["set"])] for names in panels]
    present = [names for names in present if names]
    fig, axes = figure(1, len(present), width=3.4, height=2.8, sharey=True)
    for ax, names in zip(axes[0], present, strict=True):
        for name in names:
            _curve(ax, table[table["set"] == name], name)
        for dimension in known:
            ax.axhline(dimension, color="0.4", ls="--", lw=0.9)
        if names != ["codes"]:
            for sigma in noise:
                ax.axvline(3 * sigma, color="0.4", ls=":", lw=1.1)
        unit = "code space" if names == ["codes"] else "data space"
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=7))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set(xlabel=f"scale: distance in {unit}", ylim=(0, None))
        ax.legend()
    axes[0, 0].set_ylabel("estimated dimension")
    return fig


def _curve(ax: Axes, rows: pd.DataFrame, name: str) -> None:
    colour = COLOURS[name]
    style = STYLES[list(COLOURS).index(name) % len(STYLES)]
    ax.plot(rows["scale"], rows["dimension"], color=colour, ls=style, lw=1.3, marker=MARKS[name], ms=3.5,
            label=name)  # fmt: skip
    low, high = rows["dimension_low"], rows["dimension_high"]
    ax.fill_between(rows["scale"], low, high, color=colour, alpha=0.2, linewidth=0)
