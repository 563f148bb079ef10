"""Pictures of random walks: on the latent plane, against time, and decoded."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentrun.plotting.histogram import STYLES
from latentrun.plotting.images import strips
from latentrun.plotting.scatter import axis_name
from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Picture, Report

TITLES = {"euclidean": "Euclidean", "metric": "covariance $M^{-1}$", "brownian": "Brownian on the surface"}
PLAIN = {"euclidean": "Euclidean", "metric": "covariance 1/M", "brownian": "Brownian"}
CURVES = {
    "near": "walks near codes\n(share)",
    "origin": "distance from 0\n(latent units)",
    "deviation": "sd of x given z\n(data units)",
}
BEYOND = 0.5  # widths of the codes' box that a picture of walks goes beyond it, at most


def walk_pictures(report: Report) -> dict[str, Picture]:
    times = report.tables["times"]
    pictures = {
        "walks": Picture(
            on_the_plane(report),
            "Walks from the same codes with the same draws, a colour each (dot: start, cross: end), and the "
            "codes in grey. Walks that go farther than half a width of the codes' box beyond it leave the "
            "picture."
            + (" Two coordinates of largest variance." if report.arrays["codes"].shape[1] > 1 else ""),
        ),
        "times": Picture(
            against_time(times),
            "What becomes of the walks with the number of steps: the share of them that is near a code, and "
            "medians over walks, with 95 % intervals.",
        ),
        "evenness": Picture(
            evenness(report.tables["walks"]),
            "How unevenly walks change the decoded mean: sd / mean of the data-space steps of a walk, and of "
            "the steps over the lengths of their draws, which leaves out what the draws themselves make "
            "uneven. Each line is the share of walks below a value.",
        ),
    }
    frames = {kind: report.arrays[f"frames_{kind}"] for kind in TITLES}
    if frames["metric"].ndim == 5:
        rows = [
            (f"{PLAIN[kind]}, walk {number + 1}", x[number])
            for number in range(len(frames["metric"]))
            for kind, x in frames.items()
        ]
        steps = [str(step) for step in report.arrays["frame_steps"]]
        pictures["decoded"] = Picture(
            strips(rows, tuple(report.arrays["value_range"]), columns=steps),
            "Decoded means along walks from the same code; below: the number of steps taken.",
        )
    return pictures


def on_the_plane(report: Report) -> Figure:
    """A panel for each kind of walk; of one latent variable its value against the number of steps."""
    codes, axes_names = report.arrays["codes"], [axis_name(str(name)) for name in report.arrays["axes"]]
    flat = codes.shape[1] > 1
    fig, axes = figure(1, len(TITLES), width=2.3, height=2.7, sharex=True, sharey=True)
    for ax, (kind, title) in zip(axes[0], TITLES.items(), strict=True):
        paths = report.arrays[f"path_{kind}"]
        if flat:
            ax.scatter(*codes.T, s=2, color="0.8", linewidths=0, rasterized=True)
        for i, path in enumerate(paths):
            line = path.T if flat else (np.arange(len(path)), path[:, 0])
            _trace(ax, line[0], line[1], PALETTE[i % len(PALETTE)])
        ax.set_title(title)
        ax.set_xlabel(axes_names[0] if flat else "steps")
    axes[0, 0].set_ylabel(axes_names[1] if flat else axes_names[0])
    _limit(axes[0], codes, flat)
    return fig


def _trace(ax: Axes, x: np.ndarray, y: np.ndarray, colour: str) -> None:
    ax.plot(x, y, color=colour, linewidth=0.7, alpha=0.9)
    ax.plot(x[0], y[0], "o", color=colour, markersize=4, markeredgecolor="white", markeredgewidth=0.5)
    ax.plot(x[-1], y[-1], "X", color=colour, markersize=5, markeredgecolor="white", markeredgewidth=0.5)


def _limit(axes: np.ndarray, codes: np.ndarray, flat: bool) -> None:
    """No farther than the walks that are drawn, nor than so many widths beyond the codes."""
    low, high = codes.min(0), codes.max(0)
    room = BEYOND * (high - low)
    for ax in axes:
        setters = (ax.set_xlim, ax.set_ylim) if flat else (ax.set_ylim,)
        ranges = (ax.get_xlim(), ax.get_ylim()) if flat else (ax.get_ylim(),)
        for i, (setter, (left, right)) in enumerate(zip(setters, ranges, strict=True)):
            setter(max(left, low[i] - room[i]), min(right, high[i] + room[i]))
        if flat:
            ax.set_aspect("equal", adjustable="box")


def against_time(times: pd.DataFrame) -> Figure:
    """A panel for each quantity that is there, a line for each kind of walk."""
    shown = {name: label for name, label in CURVES.items() if name in times}
    fig, axes = figure(1, len(shown), width=2.3, height=2.4)
    for ax, (name, label) in zip(axes[0], shown.items(), strict=True):
        for i, (kind, rows) in enumerate(times.groupby("walk", sort=False)):
            colour = PALETTE[i]
            ax.plot(rows["step"], rows[name], color=colour, ls=STYLES[i], lw=1.4, label=PLAIN[str(kind)])
            low, high = rows[f"{name}_low"], rows[f"{name}_high"]
            ax.fill_between(rows["step"], low, high, color=colour, alpha=0.18, linewidth=0)
        ax.set(xlabel="steps", ylabel=label)
        ax.set_ylim(*((0, 1.02) if name == "near" else (0, None)))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def evenness(walks: pd.DataFrame) -> Figure:
    """Shares of walks below a value, of both kinds of unevenness."""
    names = {
        "unevenness": "sd / mean of steps",
        "stretch_unevenness": "sd / mean of steps\nper length of draw",
    }
    fig, axes = figure(1, len(names), width=3.2, height=2.5, sharey=True)
    for ax, (name, label) in zip(axes[0], names.items(), strict=True):
        for i, (kind, rows) in enumerate(walks.groupby("walk", sort=False)):
            values = np.sort(rows[name].dropna())
            if len(values):
                shares = np.arange(1, len(values) + 1) / len(values)
                look = {"color": PALETTE[i], "ls": STYLES[i], "lw": 1.4}
                ax.step(values, shares, where="post", label=PLAIN[str(kind)], **look)
        ax.set(xlabel=label, ylim=(0, 1.02))
        ax.set_xlim(left=0)
    axes[0, 0].set_ylabel("share of walks")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
