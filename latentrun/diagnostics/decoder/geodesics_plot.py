"""Pictures of geodesics beside straight lines."""

from __future__ import annotations

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from latentrun.functional.factors import read_factors
from latentrun.plotting.images import strips
from latentrun.plotting.scatter import axis_name, draw, headed, key
from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Picture, Report

LOOKS = {"geodesic": "-", "straight": (0, (3, 2))}
TITLES = {"geodesic": "geodesic", "straight": "straight line"}
HALO = 2.6  # points, width of the white edge that sets a line off from dots


def geodesic_pictures(report: Report) -> dict[str, Picture]:
    """The latent plane, decoded strips, and how lengths and gaps of the pairs are spread."""
    pictures = {}
    if "codes" in report.arrays:
        text = (
            "Codes of the train split in the latent plane, coloured by class where there are labels, with "
            "geodesics of the decoder's metric (solid) and the straight lines between the same test codes "
            "(dashed): of the pairs that lie farther apart than most, from the one whose geodesic is the "
            "shortest beside the straight line to the one where it is the longest."
        )
        pictures["plane"] = Picture(plane(report), text)
    if "pictures_geodesic" in report.arrays:
        text = (
            "What is decoded along geodesics, in even steps of their length in data space, and along the "
            "straight lines between the same test codes, in even steps through latent space; rows of the "
            "data, and the length of the geodesic over that of the straight line."
        )
        pictures["decoded"] = Picture(decoded(report), text)
    pairs = report.tables["pairs"]
    if (pairs["status"] == "compared").any():
        text = (
            "Left: length of the geodesic over that of the straight line, in data space, over pairs; dotted: "
            "the mean. Right: greatest distance of each curve from the nearest train code; below the "
            "diagonal the geodesic keeps nearer to the codes. Dotted: the distance up to which a point is "
            "near."
        )
        pictures["ratios"] = Picture(ratios(report), text)
    return pictures


def plane(report: Report) -> Figure:
    """Codes, geodesics and straight lines on two axes of one scale."""
    arrays, target = report.arrays, None
    if "classes" in report.tables:
        target = read_factors(report.tables["classes"])[0], arrays["labels"]
    fig, axes, head = headed([target[0]] if target is not None else [], [3.3], 1, width=4.3)
    ax, codes = axes[1, 0], arrays["codes"]
    scale = draw(ax, codes[:, 0], codes[:, 1], target, alpha=0.45)
    if target is not None:
        key(fig, axes[0, 0], target[0], scale, head)
    for kind in ("straight", "geodesic"):
        for curve in arrays[f"curve_{kind}"][..., arrays["axes"]]:
            _line(ax, curve, kind)
    ax.set(xlabel=axis_name(str(arrays["names"][0])), ylabel=axis_name(str(arrays["names"][1])))
    ax.set_aspect("equal", adjustable="datalim")
    lines = [Line2D([], [], color="black", ls=LOOKS[kind], label=TITLES[kind]) for kind in LOOKS]
    fig.legend(handles=lines, loc="outside lower center", ncols=2)
    return fig


def _line(ax: Axes, curve: np.ndarray, kind: str) -> None:
    """A curve ``(T, 2)`` with a white edge, its ends marked."""
    edge = [effects.withStroke(linewidth=HALO, foreground="white")]
    ax.plot(*curve.T, color="black", ls=LOOKS[kind], lw=1.2, path_effects=edge, zorder=3)
    ax.plot(*curve[[0, -1]].T, "o", color="white", mec="black", ms=4, zorder=4)


def decoded(report: Report) -> Figure:
    """Two rows of images for each pair, the geodesic above the straight line."""
    rows = []
    for i, pair in enumerate(report.tables["shown"].to_dict("records")):
        names = {
            "geodesic": f"{pair['from']} to {pair['to']}: geodesic, {pair['length_ratio']:.2f}",
            "straight": "straight",
        }
        rows += [(names[kind], report.arrays[f"pictures_{kind}"][i]) for kind in LOOKS]
    return strips(rows, tuple(report.arrays["value_range"]), tile=0.42)


def ratios(report: Report) -> Figure:
    """The ratio of lengths over pairs, and the gaps of both curves against each other."""
    pairs = report.tables["pairs"]
    pairs = pairs[pairs["status"] == "compared"]
    fig, axes = figure(1, 2, width=3.3, height=2.7)
    left, right = axes[0]
    values = pairs["length_ratio"].to_numpy()
    left.hist(values, bins=np.linspace(min(values.min(), 0.98), max(values.max(), 1.0), 25), color="#C8D6E0")
    left.axvline(values.mean(), color="black", ls=":", lw=1)
    left.set(xlabel="length, geodesic over straight line", ylabel="pairs per bin")
    gaps = pairs[["gap_straight", "gap_geodesic"]].to_numpy()
    top = 1.05 * gaps.max() or 1.0
    right.plot([0, top], [0, top], color="0.6", lw=0.8)
    for mark in (right.axvline, right.axhline):
        mark(report.metrics["limit"].value, color="black", ls=":", lw=0.8)
    right.scatter(*gaps.T, s=12, color=PALETTE[0], alpha=0.7, linewidths=0)
    right.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    right.set(xlabel="largest gap, straight (latent units)", ylabel="largest gap, geodesic")
    return fig
