"""Pictures of reconstructions: how their errors are spread, and what they look like."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentrun.plotting.differences import differences
from latentrun.plotting.histogram import distribution
from latentrun.plotting.images import strips
from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Picture, Report

MARKS = {
    "mean": "error_mean",
    "median": "error_median",
    "95 %": "error_p95",
    "99 %": "error_p99",
    "99.9 %": "error_p999",
}
KINDS = {"real": PALETTE[0], "ordinal": PALETTE[2], "categorical": PALETTE[4]}
ROW = 0.19  # inches a bar
WORST = -0.5  # R² below this is cut


def reconstruction_pictures(report: Report, split: str) -> dict[str, Picture]:
    """The spread of the errors; the scores of a table's columns; images, from the best to the worst."""
    pictures = {"histogram": error_picture(report, split)}
    if "columns" in report.tables:
        pictures["columns"] = column_picture(report, split)
    if "shown_original" in report.arrays:
        pictures["examples"] = example_picture(report.arrays, split)
        pictures["worst"] = worst_picture(report.arrays, split)
    return pictures


def error_picture(report: Report, split: str) -> Picture:
    """How the errors are spread."""
    errors = report.arrays["errors"]
    marks = {text: report.metrics[name].value for text, name in MARKS.items()}
    return Picture(
        distribution(errors, marks, r"error $\|x-\hat{x}\|_F$ (units of $x$)"),
        f"Reconstruction errors of {len(errors)} examples of the {split} split: Frobenius norm of original "
        "minus reconstruction from the mean code. Left: histogram. Right: share of examples with at least "
        "that error, on a logarithmic axis, so that the tail can be read. Vertical lines: mean and "
        "percentiles.",
    )


# ---------------------------------------------------------------- tables
def column_picture(report: Report, split: str) -> Picture:
    """How well each column of a table is reconstructed."""
    return Picture(
        column_bars(report.tables["columns"]),
        f"How well each column is reconstructed from the mean code, {len(report.arrays['errors'])} examples "
        f"of the {split} split, with 95 % intervals. Left: share of the variance explained, of real columns "
        "and of the expected level of ordinal ones; 0 is as good as the mean. Right: share of rows whose "
        "category is the most likely one; the black mark is what always naming the commonest category of "
        "the training rows would get.",
    )


def column_bars(table: pd.DataFrame) -> Figure:
    """A horizontal bar for each column, best on top: R² on the left, accuracy with its baseline on the right.

    ``table``: ``column, kind, score`` (R2 | accuracy), ``value, low, high, baseline``.
    """
    groups = {score: rows.sort_values("value") for score, rows in table.groupby("score")}
    most = max(map(len, groups.values()))
    fig, axes = figure(1, len(groups), width=4.4, height=max(1.4, 0.7 + ROW * most))
    for ax, (score, rows) in zip(axes[0], groups.items(), strict=True):
        _bars(ax, rows, most)
        if score == "accuracy":
            look = {"color": "black", "markersize": 7, "markeredgewidth": 1.6}
            ax.plot(rows["baseline"], np.arange(len(rows)), "|", label="commonest category", **look)
            ax.set(xlabel="accuracy (share of rows)", xlim=(0, 1.02))
        else:
            ax.set(xlabel="R²", xlim=(max(WORST, min(0.0, np.nanmin(rows["low"].fillna(0)))), 1.02))
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return fig


def _bars(ax: Axes, rows: pd.DataFrame, most: int) -> None:
    """Bars from the bottom, coloured by kind, with their intervals; room for ``most``, so that panels
    match."""
    y, value = np.arange(len(rows)), rows["value"].to_numpy()
    reach = np.clip(np.stack([value - rows["low"], rows["high"] - value]), 0, None)
    for kind, colour in KINDS.items():
        of_kind = (rows["kind"] == kind).to_numpy()
        if of_kind.any():
            ax.barh(y[of_kind], value[of_kind], color=colour, height=0.75, label=kind)
    ax.errorbar(value, y, xerr=np.nan_to_num(reach), fmt="none", ecolor="0.35", elinewidth=0.8)
    ax.axvline(0, color="black", linewidth=0.6)
    ax.set_yticks(y, rows["column"], fontsize=7)
    ax.set_ylim(len(rows) - most - 0.6, len(rows) - 0.4)


# ---------------------------------------------------------------- images
def example_picture(arrays: Mapping[str, np.ndarray], split: str) -> Picture:
    """Originals over reconstructions, over all ranks of the error."""
    low, high = arrays["value_range"].tolist()
    x, made = arrays["shown_original"], arrays["shown_reconstruction"]
    errors = [f"{error:.3g}" for error in arrays["shown_error"]]
    return Picture(
        strips([("original", x), ("reconstruction", made)], (low, high), tile=0.6, columns=errors),
        f"Originals over reconstructions from mean codes: {len(x)} examples of the {split} split, evenly "
        "spread over the ranks of the error from the smallest (left) to the largest (right). Under each "
        f"column: its error (Frobenius norm of the difference). Colours from {low:g} to {high:g}.",
    )


def worst_picture(arrays: Mapping[str, np.ndarray], split: str) -> Picture:
    """The worst reconstructions, and what is wrong with them."""
    x, made = arrays["worst_original"], {"reconstruction": arrays["worst_reconstruction"]}
    errors = [f"{error:.3g}" for error in arrays["worst_error"]]
    return Picture(
        differences(x, made, tuple(arrays["value_range"].tolist()), errors),
        f"The {len(x)} worst reconstructions of the {split} split, the worst on the left: original, "
        "reconstruction, and reconstruction minus original (in colour pictures the channel that is farthest "
        "off, pixel by pixel; red where the reconstruction is too high, blue where too low). Under each "
        "column: its error, the Frobenius norm of the difference.",
    )
