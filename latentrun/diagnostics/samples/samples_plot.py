"""Pictures of samples: images, points of few dimensions, and their distances to the training examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from latentrun.plotting.family import TRUE, clouds, parted
from latentrun.plotting.histogram import share_histogram
from latentrun.plotting.images import grid, strips
from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Estimate, Picture, Report

POINTS = 2000  # samples and test rows drawn as points, at most


def sample_pictures(report: Report, close: float) -> dict[str, Picture]:
    """``close``: the quantile of the test rows' distances below which a sample is close."""
    arrays, source = report.arrays, report.notes[0]
    pictures = {"distances": distance_picture(arrays, report.metrics["distance_ratio"], close)}
    if arrays["samples"].ndim == 4:
        text = f"{len(arrays['samples'])} samples in no order: means of p(x|z), without noise ({source})."
        pictures["grid"] = Picture(grid(arrays["samples"], tuple(arrays["value_range"])), text)
        pictures["neighbours"] = neighbour_picture(arrays)
    elif "outline" in arrays:
        pictures["points"] = point_picture(arrays, source)
    return pictures


def point_picture(arrays: Mapping[str, np.ndarray], source: str) -> Picture:
    """Samples beside test rows, of few dimensions, with the family they come from."""
    outline, true = arrays["outline"], ""
    if arrays["data"].shape[1] == 1:
        drawn = densities(arrays["data"], arrays["samples"], outline)
        true = " The bar beneath is where the data lie but for noise." if len(outline) else ""
        return Picture(drawn, f"Samples ({source}) over test rows.{true}")
    if len(outline):
        true = " Grey: the family that the data come from, without noise."
    panels = [("test rows", arrays["data"]), ("samples", arrays["samples"])]
    text = f"Test rows and samples ({source}), at most {POINTS:,} of each, in the space of the data."
    return Picture(clouds(panels, outline), text + true)


def distance_picture(arrays: Mapping[str, np.ndarray], ratio: Estimate, close: float) -> Picture:
    """Distances to the nearest training example, of samples and of test rows."""
    samples, test = arrays["sample_distance"], arrays["test_distance"]
    fig, axes = figure(1, 1, width=4.2, height=2.8)
    ax = axes[0, 0]
    top = np.quantile(np.concatenate((samples, test)), 0.995)
    bins = np.linspace(0, top if top > 0 else 1.0, 41)
    share_histogram(ax, np.minimum(test, bins[-1]), bins, PALETTE[6], "test rows", filled=True, linewidth=1.5)
    share_histogram(
        ax, np.minimum(samples, bins[-1]), bins, PALETTE[0], "samples", filled=False, linewidth=1.5
    )
    edge, label = np.quantile(test, close), f"{100 * close:g} % of test rows"
    ax.axvline(edge, color=PALETTE[1], linestyle="--", linewidth=1, label=label)
    ax.set(xlabel="distance to the nearest training example", ylabel="share", xlim=(0, bins[-1]))
    ax.legend(fontsize=8, frameon=False)
    interval = "" if ratio.low is None else f" (95 % interval {ratio.low:.2f} to {ratio.high:.2f})"
    return Picture(
        fig,
        "Euclidean distance to the nearest training example, for samples and for test rows. Samples left of "
        f"the dashed line are closer than 95 % of test rows. Ratio of medians {ratio.value:.2f}{interval}. "
        "The last bin holds what lies beyond.",
    )


def neighbour_picture(arrays: Mapping[str, np.ndarray]) -> Picture:
    """Some samples, each with its nearest training examples."""
    rows = [
        (f"{distance[0]:.2f}", np.concatenate((sample[None], nearest)))
        for distance, sample, nearest in zip(
            arrays["shown_distance"], arrays["shown"], arrays["neighbours"], strict=True
        )
    ]
    k = arrays["neighbours"].shape[1]
    labels = ["sample", *(f"{i + 1}." for i in range(k))]
    return Picture(
        strips(rows, tuple(arrays["value_range"]), columns=labels, lead=1),
        f"Samples (left) and their {k} nearest training examples in data space, nearest first. The rows go "
        "evenly from the sample closest to a training example to the farthest of all samples; the number is "
        "the distance to the nearest.",
    )


def densities(data: np.ndarray, samples: np.ndarray, outline: np.ndarray) -> Figure:
    """Histograms of data and samples ``(N, 1)``, and beneath the values of their family ``(M, 1)``."""
    fig, axes = figure(1, 1, width=4.2, height=2.8)
    ax = axes[0, 0]
    bins = np.histogram_bin_edges(np.concatenate((data, samples)), 50)
    ax.hist(data[:, 0], bins, density=True, color=PALETTE[6], alpha=0.5, label="test rows")
    ax.hist(samples[:, 0], bins, density=True, histtype="step", color=PALETTE[0], label="samples")
    for curve in parted(outline):
        ax.plot(curve[:, 0], 0 * curve[:, 0], "-" if len(curve) > 1 else "o", color=TRUE, lw=5, ms=5,
                clip_on=False, solid_capstyle="butt", zorder=3)  # fmt: skip
    ax.set(xlabel="x0", ylabel="density")
    ax.legend(fontsize=8, frameon=False)
    return fig
