"""Pictures of two-sample tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.forest import GROUND, SMALL
from latentrun.plotting.style import PALETTE, figure

MARKERS = "osD^v"


def tests(told: pd.DataFrame, apart: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Accuracies of all classifiers and the MMD² over the mean of the kernels, a row for each pair of sets.

    ``told``: ``pair, classifier, accuracy, low, high``; ``apart``: ``pair, factor, mmd2, low, high, p``,
    factor NaN for the mean; ``names``: the pairs in order, in words.
    """
    fig, axes = figure(1, 2, width=3.6, height=0.9 + 0.5 * len(names), sharey=True)
    left, right = axes[0]
    pairs = list(names)
    kinds = list(told["classifier"].unique())
    for i, kind in enumerate(kinds):
        own = told[told["classifier"] == kind].set_index("pair").loc[pairs]
        at = np.arange(len(pairs)) + 0.22 * (i - (len(kinds) - 1) / 2)
        _intervals(
            left, own["accuracy"], own["low"], own["high"], at, PALETTE[i], MARKERS[i % len(MARKERS)], kind
        )
    left.axvline(0.5, color="black", ls="--", lw=0.8, zorder=0)
    left.set(xlabel="accuracy on held-out examples", xlim=(min(0.45, told["low"].min() - 0.01), 1.02))
    fig.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(kinds))
    own = apart[apart["factor"].isna()].set_index("pair").loc[pairs]
    _intervals(right, own["mmd2"], own["low"], own["high"], np.arange(len(pairs)), PALETTE[0], "o", None)
    for at, row in enumerate(own.itertuples()):
        text = f"{row.mmd2:.2g}, p = {row.p:.2g}"
        right.annotate(
            text, (row.mmd2, at), (0, 6), textcoords="offset points", ha="center", bbox=GROUND, **SMALL
        )
    right.axvline(0, color="black", ls="--", lw=0.8, zorder=0)
    right.margins(x=0.3)
    right.locator_params(axis="x", nbins=4)
    right.set(xlabel="MMD²")
    left.set_yticks(range(len(pairs)), [names[pair].replace(" against ", "\nagainst ") for pair in pairs])
    left.set_ylim(len(pairs) - 0.4, -0.6)
    return fig


def _intervals(
    ax,
    value: pd.Series,
    low: pd.Series,
    high: pd.Series,
    at: np.ndarray,
    colour: str,
    marker: str,
    label: str | None,
) -> None:
    ax.hlines(at, low, high, color=colour, lw=1.4)
    ax.plot(value, at, marker, color=colour, markersize=4.5, label=label)


def verdict_scores(scores: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """For each pair of sets, by its name ``first against second``: histograms of the scores in [0, 1] of the
    held-out examples of both."""
    fig, axes = figure(1, len(scores), width=2.4, height=2.4, sharey=True)
    bins = np.linspace(0, 1, 21)
    for ax, (name, (made, data)) in zip(axes[0], scores.items(), strict=True):
        first, _, second = name.partition(" against ")
        for values, colour, label, fill in (
            (data, PALETTE[6], second, True),
            (made, PALETTE[0], first, False),
        ):
            style = (
                {"histtype": "stepfilled", "alpha": 0.5} if fill else {"histtype": "step", "linewidth": 1.4}
            )
            ax.hist(
                values,
                bins,
                weights=np.full(len(values), 1 / len(values)),
                color=colour,
                label=label,
                **style,
            )
        ax.set(xlabel="score", xlim=(0, 1))
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=7)
    axes[0, 0].set(ylabel="share of examples", ylim=(0, 1))
    return fig
