"""Pictures of two-sample tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentrun.plotting.forest import GROUND, SMALL
from latentrun.plotting.histogram import share_histogram
from latentrun.plotting.images import strips
from latentrun.plotting.style import PALETTE, figure, legible
from latentrun.types import Picture, Report

MARKERS = "osD^v"
BINS = np.linspace(0, 1, 21)  # of scores
# What is held against what, in words; the order of the pictures.
PAIRS = {
    "floor": "training examples against test examples",
    "reconstructions": "reconstructions against other test examples",
    "prior_floor": "reconstructions of training against those of test examples",
    "prior": "samples against reconstructions",
    "samples": "samples against test examples",
}
SHOWN = {
    "told": "samples, told",
    "missed": "samples, missed",
    "false": "data, taken for samples",
    "real": "data, told",
}


def two_sample_pictures(
    report: Report, classifier: str, widths: int, permutations: int
) -> dict[str, Picture]:
    """``classifier``: the one whose scores are shown; ``widths`` of kernels and ``permutations``: how
    many."""
    arrays, source = report.arrays, report.notes[0]
    classifiers, discrepancies = report.tables["classifiers"], report.tables["mmd2"]
    names = {pair: text for pair, text in PAIRS.items() if pair in set(classifiers["pair"])}
    scores = {text: (arrays[f"made_{pair}"], arrays[f"data_{pair}"]) for pair, text in names.items()}
    pictures = {
        "tests": Picture(
            test_results(classifiers, discrepancies, names),
            "Two sets of examples each: can they be told apart? Left: accuracy of classifiers on held-out "
            "examples, with 95 % intervals; dashed: chance. Right: squared maximum mean discrepancy, mean "
            f"over {widths} kernel widths, with 95 % intervals; dashed: no difference; p by {permutations} "
            f"random divisions. Samples: {source}.",
        ),
        "scores": Picture(
            verdict_scores(scores),
            f"What the classifier ({classifier}) says of the held-out examples of each pair: its "
            "probability that an example belongs to the first-named set, for both sets. Where nothing can "
            "be told the two histograms agree.",
        ),
    }
    if "shown_told" in arrays:
        rows = [(text, arrays[f"shown_{name}"]) for name, text in SHOWN.items()]
        under = [[f"{score:.3f}" for score in arrays[f"shown_{name}_score"]] for name in SHOWN]
        pictures["examples"] = Picture(
            strips(rows, tuple(arrays["value_range"].tolist()), under=under),
            f"Held-out examples by what the classifier ({classifier}) makes of them; beneath: its "
            "probability that the picture is a sample. From above: samples that it is surest of, samples "
            "that it takes for data, test examples that it takes for samples, test examples that it is "
            f"surest of. The clearest cases stand on the left. Samples: {source}.",
        )
    return pictures


def test_results(classifiers: pd.DataFrame, discrepancies: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Accuracies of all classifiers and the MMD² over the mean of the kernels, a row for each pair of sets.

    ``classifiers``: ``pair, classifier, accuracy, low, high``; ``discrepancies``: ``pair, factor, mmd2, low,
    high, p``, factor NaN for the mean; ``names``: the pairs in order, in words.
    """
    fig, axes = figure(1, 2, width=3.6, height=0.9 + 0.5 * len(names), sharey=True)
    left, right = axes[0]
    pairs = list(names)
    groups = list(classifiers.groupby("classifier", sort=False))
    for i, (name, rows) in enumerate(groups):
        y = np.arange(len(pairs)) + 0.22 * (i - (len(groups) - 1) / 2)
        rows = rows.set_index("pair").loc[pairs]
        _intervals(left, rows, "accuracy", y, PALETTE[i], MARKERS[i % len(MARKERS)], name)
    left.axvline(0.5, color="black", ls="--", lw=0.8, zorder=0)
    left.set(xlabel="accuracy on held-out examples", xlim=(min(0.45, classifiers["low"].min() - 0.01), 1.02))
    fig.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(groups))
    mean = discrepancies[discrepancies["factor"].isna()].set_index("pair").loc[pairs]
    _discrepancies(right, mean)
    left.set_yticks(range(len(pairs)), [names[pair].replace(" against ", "\nagainst ") for pair in pairs])
    left.set_ylim(len(pairs) - 0.4, -0.6)
    return fig


def _discrepancies(ax: Axes, table: pd.DataFrame) -> None:
    """The MMD² of each pair with its interval and p."""
    _intervals(ax, table, "mmd2", np.arange(len(table)), PALETTE[0], "o", None)
    above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
    for y, row in enumerate(table.itertuples()):
        ax.annotate(f"{row.mmd2:.2g}, p = {row.p:.2g}", (row.mmd2, y), bbox=GROUND, **above, **SMALL)
    ax.axvline(0, color="black", ls="--", lw=0.8, zorder=0)
    ax.margins(x=0.3)
    ax.locator_params(axis="x", nbins=4)
    ax.set(xlabel="MMD²")


def _intervals(
    ax: Axes, table: pd.DataFrame, column: str, y: np.ndarray, colour: str, marker: str, label: str | None
) -> None:
    ax.hlines(y, table["low"], table["high"], color=colour, lw=1.4)
    ax.plot(table[column], y, marker, color=colour, markersize=4.5, label=label)


def verdict_scores(scores: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """For each pair of sets, by its name ``first against second``: histograms of the scores in [0, 1] of the
    held-out examples of both."""
    fig, axes = figure(1, len(scores), width=2.4, height=2.4, sharey=True)
    for ax, (name, (made, data)) in zip(axes[0], scores.items(), strict=True):
        first, _, second = name.partition(" against ")
        share_histogram(ax, data, BINS, PALETTE[6], second, filled=True)
        share_histogram(ax, made, BINS, PALETTE[0], first, filled=False)
        ax.set(xlabel="score", xlim=(0, 1))
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=legible(2.4 * len(scores), 7))
    axes[0, 0].set(ylabel="share of examples", ylim=(0, 1))
    return fig
