"""A metric against what was swept: lines with intervals over seeds, or a map over two keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten, wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from latentrun.functional.statistics.directions import arrow
from latentrun.functional.statistics.ranking import moments, over_seeds
from latentrun.plotting.style import PALETTE, SEQUENTIAL, blank, figure
from latentrun.types import Meaning

LEGEND = 0.5  # inches below the panels for the names of lines
ACROSS = 3  # panels side by side
MARKS = "osD^vP*X"  # lines beyond the palette's eight repeat its colours with another marker
WRITTEN = 64  # cells of a map with their number written in; more would not be readable
TITLE = 34  # letters of a line above a panel: they are as wide as it
TURN = 30  # degrees that long names below an axis are turned by
LETTER = 0.07  # inches that a letter of theirs is wide
NARROW = 0.16  # a place among categories that all lines share


@dataclass(frozen=True)
class Panel:
    """One metric: ``values (X, L, S)`` for places on the axis, lines and seeds, NaN where there is no run;
    ``meaning``: for the labels of the axis and the intervals."""

    name: str
    values: np.ndarray
    meaning: Meaning = Meaning()


@dataclass(frozen=True)
class Key:
    """A swept key and its values in order; categories where they are not all numbers."""

    name: str
    values: tuple
    numeric: bool

    @property
    def labels(self) -> list[str]:
        return [plain(written(value), 24) for value in self.values]

    @property
    def geometric(self) -> bool:
        """Whether the grid is one of constant ratio (three or more positive values), up to the rounding of 1,
        3, 10, 30."""
        if not self.numeric or len(self.values) < 3 or min(self.values) <= 0:
            return False
        ratios = np.diff(np.log(np.array(self.values, dtype=float)))
        return bool(ratios.max() < 1.25 * ratios.min())


def written(value: object) -> str:
    """A value of a setting as it is typed: ``3``, ``0.001``, ``true``, ``null``."""
    if value is None or value is pd.NA or value != value:
        return "null"
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def plain(text: str, most: int = 48) -> str:
    """Text of a bounded length in which matplotlib finds no formulas."""
    return (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")


def against(panels: Sequence[Panel], key: Key, lines: Key | None) -> Figure:
    """Each metric against ``key``: mean over seeds with its 95 % interval, single seeds behind it, one line
    for each value of ``lines``."""
    height = 2.5 if key.numeric else 2.5 + _below(key.labels)
    fig, axes = _panels(len(panels), height=height, below=0.0 if lines is None else LEGEND)
    for ax, panel in zip(axes, panels, strict=False):
        for number in range(panel.values.shape[1]):
            label = None if lines is None else lines.labels[number]
            _line(ax, key, panel, number, label)
        _axis(ax, key)
        title = titled(panel.name) + arrow(panel.meaning.direction)
        ax.set(xlabel=plain(key.name), ylabel=plain(short(panel.meaning.unit), 80), title=title)
    if lines is not None:
        legends = [ax.get_legend_handles_labels() for ax in axes[: len(panels)]]
        handles, labels = max(legends, key=lambda legend: len(legend[1]))
        look = {"loc": "outside lower center", "handlelength": 1.2, "title_fontsize": 8}
        columns = min(4, len(labels)) * min(len(panels), ACROSS)
        fig.legend(handles, labels, title=plain(lines.name), ncols=columns, **look)
    return fig


def over_two(panels: Sequence[Panel], rows: Key, columns: Key) -> Figure:
    """The mean over seeds of each metric as a map over two keys, with the numbers written in where there is
    room."""
    r, c = len(rows.values), len(columns.values)
    fig, axes = _panels(len(panels), width=max(2.9, 1.4 + 0.5 * c), height=max(2.4, 1.3 + 0.32 * r))
    for ax, panel in zip(axes, panels, strict=False):
        mean = moments(panel.values.reshape(r * c, -1))[0].reshape(r, c)
        ax.set_facecolor("#E6E6E6")
        image = ax.imshow(np.ma.masked_invalid(mean), cmap=SEQUENTIAL, aspect="auto", origin="lower")
        fig.colorbar(image, ax=ax)
        if r * c <= WRITTEN:
            low, high = image.get_clim()
            for i, j in np.argwhere(np.isfinite(mean)):
                colour = "white" if mean[i, j] < low + 0.6 * (high - low) else "black"
                ax.text(j, i, f"{mean[i, j]:.3g}", ha="center", va="center", fontsize=7, color=colour)
        _ticks(ax.xaxis, columns, np.arange(c))
        _ticks(ax.yaxis, rows, np.arange(r))
        ax.set(xlabel=plain(columns.name), ylabel=plain(rows.name), title=titled(panel.name))
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    return fig


def titled(name: str, letters: int = TITLE) -> str:
    """The name of a metric above its panel, in as many lines as it takes."""
    return plain("\n".join(wrap(name, letters)), 4 * letters)


def short(unit: str) -> str:
    """A unit without what it is averaged over, in two lines at most, for an axis."""
    first, *rest = wrap(unit.partition(";")[0].partition(",")[0], 34) or [""]
    return f"{first}\n{shorten(' '.join(rest), 34, placeholder=' …')}" if rest else first


def _panels(
    count: int, width: float = 2.9, height: float = 2.5, below: float = 0.0
) -> tuple[Figure, Sequence[Axes]]:
    """Panels, and so many inches below them."""
    across = min(count, ACROSS)
    rows = -(-count // across)
    fig, axes = figure(rows, across, width, height + below / rows)
    panels = list(axes.ravel())
    blank(panels[count:])
    return fig, panels


def _line(ax: Axes, key: Key, panel: Panel, number: int, label: str | None) -> None:
    """One line of a panel, the ``number``-th."""
    values, count = panel.values[:, number], panel.values.shape[1]
    seen = over_seeds(values, panel.meaning.share)
    mean = seen.mean
    colour, style = PALETTE[number % len(PALETTE)], MARKS[number // len(PALETTE) % len(MARKS)]
    place = np.arange(len(key.values)) + NARROW * (number - (count - 1) / 2)
    if key.numeric:
        place, style = np.array(key.values, dtype=float), f"-{style}"
    every = np.repeat(place[:, None], values.shape[1], axis=1)
    ax.scatter(every, values, s=16, color=colour, alpha=0.35, linewidths=0, zorder=1)
    measured = seen.n > 0
    reach = np.nan_to_num(np.stack([mean - seen.low, seen.high - mean])[:, measured])
    look = {"markersize": 4, "linewidth": 1.2, "elinewidth": 0.9, "capsize": 2}
    ax.errorbar(place[measured], mean[measured], reach, fmt=style, color=colour, label=label, **look)


def _axis(ax: Axes, key: Key) -> None:
    if key.numeric:
        if key.geometric:
            ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_minor_formatter(NullFormatter())
        _ticks(ax.xaxis, key, np.array(key.values, dtype=float))
    else:
        _ticks(ax.xaxis, key, np.arange(len(key.values)))
        ax.set_xlim(-0.6, len(key.values) - 0.4)


def _ticks(axis: Axis, key: Key, places: np.ndarray) -> None:
    """Values at their places, thinned until they can be read; long names turned."""
    step, look = _step(key.labels), {}
    labels = key.labels[::step]
    if axis.axis_name == "x" and _crowded(labels):
        look = {"rotation": TURN, "ha": "right", "rotation_mode": "anchor"}
    axis.set_ticks(places[::step], labels, **look)


def _step(labels: Sequence[str]) -> int:
    """Of so many labels one can be read."""
    return -(-len(labels) // 9)


def _crowded(labels: Sequence[str]) -> bool:
    """Whether labels below a panel would run into each other."""
    return max(map(len, labels)) * len(labels) > 36


def _below(labels: Sequence[str]) -> float:
    """Inches that labels below a panel need beyond a line: they are turned where they are crowded."""
    shown = labels[:: _step(labels)]
    return max(map(len, shown)) * LETTER * math.sin(math.radians(TURN)) if _crowded(shown) else 0.0
