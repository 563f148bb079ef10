"""What repetitions say of expectations: an axis for each, with the range expected, the seeds, and the
interval."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from latentrun.functional.statistics.verdicts import CONTRADICTED, REPORTED, REPRODUCED, UNDECIDED, Finding
from latentrun.plotting.style import PALETTE, figure

COLOURS = {REPRODUCED: PALETTE[2], CONTRADICTED: PALETTE[1], UNDECIDED: PALETTE[6], REPORTED: PALETTE[0]}
MARKS = {REPRODUCED: "o", CONTRADICTED: "X", UNDECIDED: "D", REPORTED: "s"}  # told apart in grey too
WIDE = 62  # letters of a line beside an axis


@dataclass(frozen=True)
class Row:
    """One axis: what is said in words and as a quantity, the values of the seeds ``(S,)``, the finding, the
    range expected (None: no end), whether values are ratios (then the axis is logarithmic)."""

    says: str
    quantity: str
    values: np.ndarray
    finding: Finding
    above: float | None
    below: float | None
    ratio: bool


def expectations(rows: Sequence[Row]) -> Figure:
    """One under the other, each on an axis of its own: quantities have different units."""
    lines = [textwrap.wrap(row.says, WIDE) for row in rows]
    quantities = [textwrap.wrap(row.quantity, WIDE + 10) for row in rows]
    heights = [max(0.62, 0.16 * (len(a) + len(b)) + 0.22) for a, b in zip(lines, quantities, strict=True)]
    fig, axes = figure(
        len(rows),
        2,
        width=3.7,
        height=sum(heights) / len(heights),
        height_ratios=heights,
        width_ratios=[1.25, 1],
    )
    for row, words, named, (left, ax) in zip(rows, lines, quantities, axes, strict=True):
        left.axis("off")
        text = left.text(0, 1, "\n".join(words), va="top", fontsize=8.5, transform=left.transAxes)
        left.annotate(
            "\n".join(named),
            (0, 0),
            (0, -3),
            xycoords=text,
            textcoords="offset points",
            va="top",
            fontsize=7,
            color="#555555",
        )
        _axis(ax, row)
    return fig


def _axis(ax: Axes, row: Row) -> None:
    values = row.values[np.isfinite(row.values)]
    low, high = _reach(row, values)
    if row.ratio:
        ax.set_xscale("log")
    ax.set(xlim=(low, high), ylim=(-1, 1), yticks=[])
    ax.spines["left"].set_visible(False)
    _expected(ax, row, low, high)
    ax.plot(values, np.full(len(values), -0.45), "|", color="#444444", markersize=8, alpha=0.8)
    _finding(ax, row.finding)
    if row.ratio:
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
        ax.set_xticks(_ticks(low, high))
    else:
        ax.locator_params(axis="x", nbins=5)


def _expected(ax: Axes, row: Row, low: float, high: float) -> None:
    """The range expected, on an axis from ``low`` to ``high``."""
    if row.finding.verdict == REPORTED:
        return
    ends = (low if row.above is None else row.above, high if row.below is None else row.below)
    ax.axvspan(*ends, color=PALETTE[2], alpha=0.13, linewidth=0)
    for end in (row.above, row.below):
        if end is not None:
            ax.axvline(end, color=PALETTE[2], linewidth=0.8, linestyle="--")


def _finding(ax: Axes, finding: Finding) -> None:
    """Mean, interval, verdict."""
    colour = COLOURS[finding.verdict]
    if math.isfinite(finding.low):
        ax.plot([finding.low, finding.high], [0.25, 0.25], color=colour, linewidth=2)
    if math.isfinite(finding.mean):
        ax.plot(finding.mean, 0.25, MARKS[finding.verdict], color=colour, markersize=6)
    said = f"{finding.verdict} (n = {finding.n})"
    style = {"ha": "right", "va": "bottom", "fontsize": 7.5}
    ax.text(1, 1.02, said, color=colour, transform=ax.transAxes, **style)


def _reach(row: Row, values: np.ndarray) -> tuple[float, float]:
    """Ends of the axis: all that is drawn and a margin; the value that says no difference is always there."""
    ends = [row.above, row.below, row.finding.low, row.finding.high]
    drawn = [*values, *(end for end in ends if end is not None and math.isfinite(end))]
    if row.ratio:
        drawn = [math.log(at) for at in (*drawn, 1.0) if at > 0]
    low, high = min(drawn, default=0.0), max(drawn, default=1.0)
    margin = 0.08 * (high - low) or 0.1 * max(abs(high), 1.0)
    low, high = low - margin, high + margin
    return (math.exp(low), math.exp(high)) if row.ratio else (low, high)


def _ticks(low: float, high: float) -> list[float]:
    """A few round values on a logarithmic axis."""
    steps = LogLocator(subs=(1, 2, 5)) if high > 10 * low else MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])
    return [tick for tick in steps.tick_values(low, high) if low <= tick <= high]
