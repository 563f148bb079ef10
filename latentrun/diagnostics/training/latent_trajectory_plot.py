"""Codes of a few examples on their way through latent space, still and moving.

The pictures are drawn of arrays: ``mean (T, n, 2)`` codes of n examples at ``times (T,)``, ``radius (T, n)``
of their circles and ``thumbnails (n, c, h, w)`` of the examples where there are any, ``cloud (N, 2)`` other
codes, ``pair (2,)`` the latents drawn, ``by_step``: whether times are steps or epochs. With one latent
``mean`` and ``cloud`` have a last axis of 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from latentrun.plotting.style import PALETTE, figure, paper, picture_colours
from latentrun.types import Animation, Estimate, Picture, Report

GREY = PALETTE[6]
INKS = tuple(colour for colour in PALETTE if colour != GREY)  # grey are the other codes
# Inches: side of the axes, room for labels, a line of text, the rim.
BOX, LEFT, BELOW, LINE, EDGE = 3.6, 0.55, 0.5, 0.26, 0.08
NAMED = 14  # examples whose pictures find room above the axes
DPI = 110  # of a frame
TURN = np.exp(2j * np.pi * np.arange(48) / 48)


Arrays = Mapping[str, np.ndarray]


# ---------------------------------------------------------------- pictures of a report
def single_latent(arrays: Arrays) -> Picture:
    text = f"Codes of {arrays['mean'].shape[1]} training examples against the {unit_of(arrays)} of training"
    if "radius" in arrays:
        text += "; the bands are one sigma wide on either side"
    return Picture(lines(arrays), f"{text}.")


def film(arrays: Arrays, tail: int, milliseconds: int) -> Animation:
    """The examples in the plane of two latents, a frame a record, in which the last ``tail`` fade."""
    first, last = arrays["times"][[0, -1]]
    unit, n, t = unit_of(arrays), arrays["mean"].shape[1], len(arrays["times"])
    circle = ", a circle with the geometric mean of sigma as radius" if "radius" in arrays else ""
    context = "Grey: codes of all recorded examples at the end."
    frames = "at log-spaced steps" if arrays["by_step"] else "after every epoch"
    return Animation(
        Scene(arrays).still(),
        f"Where {n} training examples lie in latent space from {unit} {first:,} (small ring) to {last:,} "
        f"(disc{circle}). {context}",
        Scene(arrays, tail).frame,
        (*[milliseconds] * (t - 1), 25 * milliseconds),
        f"{n} training examples during training{circle}, with a fading tail of {tail} records; a frame each, "
        f"{frames}. {context}",
    )


def steps(report: Report) -> Picture:
    settled = report.metrics["settled"]
    when = "not settled at the end"
    if settled.value == settled.value:
        when = f"settled after epoch {settled.value:.0f}"
    return Picture(
        moves(report.tables["epochs"], settled),
        "Above: mean step of the codes in each epoch, in sd of the last ones, with its 95 % interval over "
        f"examples (with many as narrow as the line); dashed: the limit of settling ({when}). Below: the "
        "share of the mean squared step that one rotation and shift of all codes explains.",
    )


def unit_of(arrays: Arrays) -> str:
    return "step" if arrays["by_step"] else "epoch"


# ---------------------------------------------------------------- drawings
class Scene:
    """The plane of two latents, on which the examples are drawn at one time, or on their whole way.

    ``tail``: the records before that are drawn too, fading; None for all.
    """

    def __init__(self, arrays: Arrays, tail: int | None = None):
        self.mean, self.times, self.tail = arrays["mean"], arrays["times"], tail
        self.radius = arrays.get("radius")
        self.unit = unit_of(arrays)
        self.colours = inks(self.mean.shape[1])
        small = arrays.get("thumbnails")
        head = 0.0 if small is None or len(small) > NAMED else min(0.42, BOX / len(small))
        self.figure, self.axes = self._plane(arrays, head)
        if small is not None and head:
            framed(self.figure, self.axes, small, self.colours, head)
        self.axes.scatter(
            *arrays["cloud"].T, s=5, color=GREY, alpha=0.35, linewidths=0, zorder=1, rasterized=True
        )
        self.tails = self.axes.add_collection(
            LineCollection([], linewidths=1.3, zorder=2, capstyle="butt"), autolim=False
        )
        self.circles = self.axes.add_collection(PolyCollection([], linewidths=1.0, zorder=3), autolim=False)
        self.dots = self.axes.scatter(
            *self.mean[0].T, s=16, c=self.colours, linewidths=0.5, edgecolors="white", zorder=4
        )
        self.title = self.axes.text(0, 1.015, "", transform=self.axes.transAxes, fontsize=9, va="bottom")
        self.ground = None

    def _plane(self, arrays: Arrays, head: float) -> tuple[Figure, Axes]:
        """A square with room for all that will be drawn; ``head`` inches for pictures above it."""
        wide, tall = LEFT + BOX + EDGE, BELOW + BOX + LINE + head + (EDGE if head else 0)
        fig, axes = figure(width=wide, height=tall)
        fig.set_layout_engine("none")
        ax = axes[0, 0]
        ax.set_position((LEFT / wide, BELOW / tall, BOX / wide, BOX / tall))
        radius = 0 if self.radius is None else self.radius[..., None]
        ends = [
            (self.mean - radius).min((0, 1)),
            (self.mean + radius).max((0, 1)),
            arrays["cloud"].min(0),
            arrays["cloud"].max(0),
        ]
        low, high = np.min(ends, 0), np.max(ends, 0)
        half = 0.53 * max((high - low).max(), 1e-6)
        middle = (low + high) / 2
        a, b = arrays["pair"]
        ax.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
        ax.set(xlabel=f"$z_{{{a}}}$", ylabel=f"$z_{{{b}}}$")
        return fig, ax

    def put(self, i: int) -> None:
        """Draw the examples at time i."""
        first = 0 if self.tail is None else max(0, i - self.tail)
        way = self.mean[first : i + 1]
        pieces = np.stack([way[:-1], way[1:]], 2).reshape(-1, 2, 2)
        faded = np.tile(self.colours, (len(way) - 1, 1))
        # A piece of the tail always has the same age when it has gone; on the whole way the start stays
        # visible.
        share = np.linspace(0.25, 1, len(way) - 1)
        if self.tail is not None:
            share = 1 - np.arange(i - first, 0, -1) / (self.tail + 1)
        faded[:, 3] = np.repeat(share, self.mean.shape[1])
        self.tails.set(segments=pieces, colors=faded)
        if self.radius is not None:
            self.circles.set_verts(rings(self.mean[i], self.radius[i]))
            n = len(self.colours)
            faces = np.c_[self.colours[:, :3], np.full(n, min(0.12, 0.6 / n))]
            self.circles.set(edgecolors=self.colours, facecolors=faces)
        self.dots.set_offsets(self.mean[i])
        self.title.set_text(f"{self.unit} {self.times[i]:,}")

    def still(self) -> Figure:
        """The whole way, with a small ring where each example was first."""
        self.axes.scatter(
            *self.mean[0].T, s=9, facecolors="white", edgecolors=self.colours, linewidths=0.8, zorder=3.5
        )
        self.put(len(self.times) - 1)
        self.title.set_text(f"{self.unit}s {self.times[0]:,} to {self.times[-1]:,}")
        return self.figure

    def frame(self, i: int) -> np.ndarray:
        """The picture at time i: RGB ``(H, W, 3)`` uint8. What does not move is drawn once."""
        moving = (self.tails, self.circles, self.dots, self.title)
        with paper():
            if self.ground is None:
                self.figure.set_dpi(DPI)
                canvas = FigureCanvasAgg(self.figure)
                for artist in moving:
                    artist.set_animated(True)
                canvas.draw()
                self.ground = canvas.copy_from_bbox(self.figure.bbox)
            canvas = self.figure.canvas
            canvas.restore_region(self.ground)
            self.put(i)
            for artist in moving:
                self.axes.draw_artist(artist)
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def inks(n: int) -> np.ndarray:
    """n colours ``(n, 4)``: those of the palette but grey, or as many of a rainbow as are needed."""
    palette = [mpl.colors.to_rgba(colour) for colour in INKS]
    return np.array(palette[:n]) if n <= len(palette) else mpl.colormaps["turbo"](np.linspace(0.03, 0.97, n))


def rings(centre: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Corners ``(n, 48, 2)`` of circles about ``centre (n, 2)``."""
    edge = radius[:, None] * TURN
    return centre[:, None] + np.stack([edge.real, edge.imag], 2)


def framed(fig: Figure, ax: Axes, small: np.ndarray, colours: np.ndarray, side: float) -> None:
    """Pictures ``(n, c, h, w)`` uint8 in a row above the axes, each framed in its colour."""
    wide, tall = fig.get_size_inches()
    for place, (picture, colour) in enumerate(zip(small, colours, strict=True)):
        left, below = LEFT + place * side, BELOW + BOX + LINE
        box = fig.add_axes(
            (left / wide, below / tall, 0.86 * side / wide, 0.86 * side / tall), zorder=ax.zorder + 1
        )
        grey = len(picture) == 1
        box.imshow(
            picture[0] if grey else picture.transpose(1, 2, 0),
            cmap=picture_colours() if grey else None,
            vmin=0,
            vmax=255,
            aspect="auto",
        )
        box.set(xticks=[], yticks=[])
        box.spines[:].set(visible=True, color=colour, linewidth=1.6)


def lines(arrays: Arrays) -> Figure:
    """One latent against time, a line for each example with a band of one sigma on either side."""
    fig, axes = figure(width=4.6, height=2.9)
    ax, z, times = axes[0, 0], arrays["mean"][..., 0].T, arrays["times"]
    colours = inks(len(z))
    along = np.broadcast_to(times.astype(float), z.shape)
    reach = z
    if "radius" in arrays:
        radius = arrays["radius"].T
        edges = np.concatenate(
            [np.stack([along, z - radius], 2), np.stack([along, z + radius], 2)[:, ::-1]], 1
        )
        ax.add_collection(
            PolyCollection(edges, facecolors=np.c_[colours[:, :3], np.full(len(z), 0.1)], linewidths=0)
        )
        reach = np.concatenate([z - radius, z + radius])
    ax.add_collection(LineCollection(np.stack([along, z], 2), colors=colours, linewidths=1.2))
    margin = 0.04 * max(float(np.ptp(reach)), 1e-6)
    if arrays["by_step"]:
        ax.set_xscale("log")
    ax.set(xlim=(times[0], max(times[-1], times[0] + 1)), ylim=(reach.min() - margin, reach.max() + margin))
    ax.set(xlabel="step" if arrays["by_step"] else "epoch", ylabel=f"$z_{{{arrays['pair'][0]}}}$")
    return fig


def moves(epochs: pd.DataFrame, settled: Estimate) -> Figure:
    """Mean step of each epoch with its interval and the limit of settling above, the rigid share of it
    below."""
    fig, axes = figure(2, 1, width=4.2, height=1.8, sharex=True, height_ratios=[1.5, 1])
    above, below = axes[:, 0]
    moved = np.maximum(epochs["moved"], 1e-12)
    above.plot(epochs["epoch"], moved, color=PALETTE[0], marker="o", markersize=2.5, linewidth=1)
    above.fill_between(
        epochs["epoch"],
        np.maximum(epochs["low"], 1e-12),
        epochs["high"],
        color=PALETTE[0],
        alpha=0.25,
        linewidth=0,
    )
    above.axhline(epochs["limit"].iloc[0], color="black", linestyle="--", linewidth=0.9)
    if settled.value == settled.value:
        above.axvline(settled.value, color=PALETTE[1], linewidth=1)
        if settled.low is not None:
            above.axvspan(settled.low, settled.high, color=PALETTE[1], alpha=0.15, linewidth=0)
    above.set(
        ylabel="mean step\n(sd of last codes)", yscale="log" if (epochs["moved"] > 0).any() else "linear"
    )
    below.plot(epochs["epoch"], epochs["rigid"], color=PALETTE[2], marker="o", markersize=2.5, linewidth=1)
    below.set(xlabel="epoch", ylabel="rigid share", ylim=(0, 1))
    below.yaxis.set_major_formatter(PercentFormatter(1))
    fig.align_ylabels(axes[:, 0])
    return fig
