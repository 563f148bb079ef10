"""How a positive number, such as an error, is spread over examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentrun.plotting.style import PALETTE, figure

STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def distribution(values: np.ndarray, marks: Mapping[str, float], label: str) -> Figure:
    """Histogram of ``values (N,)`` and, beside it, the share of larger values on a logarithmic axis (its
    tail).

    ``marks`` are named vertical lines; ``label`` names the horizontal axes, with the unit.
    """
    values = np.sort(np.asarray(values, dtype=float))
    fig, axes = figure(1, 2, width=3.8, height=2.6)
    bars, tail = axes[0]
    bins = _bins(values) if _varied(values) else 1
    bars.hist(values, bins=bins, color="#C8D6E0", edgecolor="#7F97A8", linewidth=0.3)
    bars.set(xlabel=label, ylabel="examples per bin")
    n = len(values)
    tail.step(values, 1 - np.arange(n) / n, where="post", color="#5B7486", lw=1)
    tail.set(xlabel=label, ylabel="share of examples at or above", yscale="log", ylim=(0.7 / n, 1.4))
    for i, (name, value) in enumerate(marks.items()):
        if not np.isfinite(value):
            continue
        look = {"color": PALETTE[i % len(PALETTE)], "ls": STYLES[i % len(STYLES)], "lw": 1.2}
        for ax in (bars, tail):
            ax.axvline(value, label=f"{name}: {value:.3g}", **look)
    _few_numbers(bars, tail)
    fig.legend(handles=bars.get_legend_handles_labels()[0], loc="outside right upper", handlelength=2.6)
    return fig


def overlay(samples: Mapping[str, np.ndarray], label: str) -> Figure:
    """Histograms of several samples ``(N,)`` over the same bins and, beside them, the shares of larger values
    on a logarithmic axis.

    ``label`` names the horizontal axes, with the unit. Dotted: the means.
    """
    fig, axes = figure(1, 2, width=3.6, height=2.7)
    bars, tail = axes[0]
    together = np.sort(np.concatenate(list(samples.values())).astype(float))
    bins = _bins(together) if _varied(together) else 1
    for i, (name, values) in enumerate(samples.items()):
        style = {"color": PALETTE[i], "linestyle": STYLES[i], "linewidth": 1.3}
        bars.hist(values, bins, histtype="step", label=name, **style)
        bars.axvline(values.mean(), color=PALETTE[i], ls=":", lw=1)
        n = len(values)
        tail.step(np.sort(values), 1 - np.arange(n) / n, where="post", **style)
        tail.set(xlabel=label, ylabel="share of examples at or above", yscale="log", ylim=(0.7 / n, 1.4))
    bars.set(xlabel=label, ylabel="examples per bin")
    _few_numbers(bars, tail)
    bars.legend()
    return fig


def _few_numbers(*axes: Axes) -> None:
    """So few along the horizontal axis that long ones do not run into each other."""
    for ax in axes:
        ax.locator_params(axis="x", nbins=4)


def share_histogram(
    ax: Axes,
    values: np.ndarray,
    bins: np.ndarray,
    colour: str,
    label: str,
    filled: bool,
    linewidth: float = 1.4,
) -> None:
    """The share of the ``values (N,)`` in each bin, as a pale area or as an outline."""
    look = {"histtype": "step", "linewidth": linewidth}
    if filled:
        look = {"histtype": "stepfilled", "alpha": 0.5}
    ax.hist(values, bins, weights=np.full(len(values), 1 / len(values)), color=colour, label=label, **look)


def _varied(values: np.ndarray) -> bool:
    return bool(np.ptp(values) > 1e-6 * max(abs(values[-1]), 1e-30))


def _bins(values: np.ndarray) -> np.ndarray:
    """Edges by Freedman & Diaconis' rule, between 10 and 80 bins: a far outlier would otherwise ask for
    thousands."""
    spread = np.subtract(*np.percentile(values, [75, 25]))
    width = 2 * spread / len(values) ** (1 / 3)
    count = int(np.clip(np.ptp(values) / width, 10, 80)) if width > 0 else 40
    return np.linspace(values[0], values[-1], count + 1)
