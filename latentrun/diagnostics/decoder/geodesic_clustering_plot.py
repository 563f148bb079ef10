"""Pictures of clusters by both distances."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentrun.plotting.scatter import axis_name, points
from latentrun.plotting.style import PALETTE, figure, palette_of
from latentrun.types import Picture, Report

TITLES = {"euclidean": "Euclidean", "geodesic": "geodesic"}


def clustering_pictures(report: Report) -> dict[str, Picture]:
    """The points of the first repetition by class and by cluster, and F of every repetition."""
    pictures = {
        "repetitions": Picture(
            over_repetitions(report),
            "F measure of k-means by Euclidean and by geodesic distance: a line for each repetition, with "
            "other test codes; black: the means with their 95 % intervals.",
        )
    }
    if report.arrays["points"].shape[1] == 2:
        pictures["clusters"] = Picture(
            clusters(report),
            "Test codes of the first repetition, coloured by class (left) and by cluster of k-means with "
            "each distance; a cluster has the colour of the class it is paired with; crosses: the "
            "centres.",
        )
    return pictures


def clusters(report: Report) -> Figure:
    """Three planes: classes, clusters by Euclidean distance, clusters by geodesic distance."""
    arrays = report.arrays
    fig, axes = figure(1, 3, width=2.3, height=2.9, sharex=True, sharey=True)
    row = report.tables["repetitions"].iloc[0]
    names = arrays["class_names"].tolist()
    palette = palette_of(max(len(names), *(1 + arrays[f"numbers_{kind}"].max() for kind in TITLES)))
    _panel(axes[0, 0], arrays["points"], arrays["classes"], palette)
    axes[0, 0].set(title="class", ylabel=axis_name(str(arrays["axis_names"][1])))
    for ax, (kind, title) in zip(axes[0, 1:], TITLES.items(), strict=True):
        _panel(ax, arrays["points"], arrays[f"clusters_{kind}"], palette)
        centres, numbers = arrays[f"centres_{kind}"], arrays[f"numbers_{kind}"]
        colours = [palette[i % len(palette)] for i in numbers]
        ax.scatter(*centres.T, marker="X", s=70, c=colours, edgecolors="black", linewidths=0.9, zorder=3)
        ax.set_title(f"{title}: F = {row[f'f_measure_{kind}']:.2f}")
    for ax in axes[0]:
        ax.set(xlabel=axis_name(str(arrays["axis_names"][0])), aspect="equal")
    handles = [
        axes[0, 0].plot([], [], "o", ms=4, color=palette[i % len(palette)], label=str(name))[0]
        for i, name in enumerate(names)
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=min(10, len(names)), handletextpad=0.1)
    return fig


def _panel(ax: Axes, places: np.ndarray, numbers: np.ndarray, palette: tuple[str, ...]) -> None:
    colours = np.array(palette)[numbers % len(palette)]
    ax.scatter(places[:, 0], places[:, 1], c=colours, **points(len(places)))


def over_repetitions(report: Report) -> Figure:
    """F by both distances, joined within a repetition."""
    table = report.tables["repetitions"]
    fig, axes = figure(width=3.3, height=2.8)
    ax, at = axes[0, 0], np.arange(len(TITLES))
    values = table[[f"f_measure_{kind}" for kind in TITLES]].to_numpy()
    ax.plot(at, values.T, "-", color=PALETTE[0], lw=0.8, marker="o", ms=3, alpha=0.6)
    for i, kind in enumerate(TITLES):
        estimate = report.metrics[f"f_measure.{kind}"]
        place = i + (0.12 if i else -0.12)
        if estimate.low is not None and estimate.high is not None:
            ax.plot([place, place], [estimate.low, estimate.high], color="black", lw=1.4)
        ax.plot(place, estimate.value, "s", color="black", ms=5)
    ax.set_xticks(at, list(TITLES.values()))
    ax.set(xlim=(-0.4, 1.4), xlabel="distance", ylabel="F measure")
    return fig
