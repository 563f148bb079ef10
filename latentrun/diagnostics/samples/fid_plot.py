"""Pictures of distances in feature space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from latentrun.models.base import RENORMALISED
from latentrun.plotting.forest import SMALL
from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Picture, Report

# What is held against the reference, some test examples, in words; the order of the pictures.
SETS = {
    "samples": "samples",
    "reconstructions": "reconstructions of other test examples",
    "floor": "other test examples",
    "floor_train": "training examples",
}
# Colour, mark and size: marks at one place are all seen.
STYLE: dict[str, tuple[str, str, float]] = {
    "samples": (PALETTE[0], "o", 5),
    "reconstructions": (PALETTE[1], "s", 7),
    "floor": ("#555555", "D", 10),
    "floor_train": ("#888888", "^", 12),
}
COLOURS, MARKS = (*PALETTE[2:6], "#8C564B", "#17BECF", "#9A8700"), "vPX*<>p"  # of further sets, in turn
PALE = 0.4  # how strongly a set is drawn that comes again, changed


def fid_pictures(report: Report) -> dict[str, Picture]:
    """The distances of every set, and how far its examples reach."""
    table, (source, features, sizes) = report.tables["summary"], report.notes[:3]
    names = {name: SETS.get(name) or sampler_name(name) for name in table["set"]}
    originals = {name: name.removesuffix(RENORMALISED) for name in names}
    about = f"{features[0].upper()}{features[1:]}. {sizes[0].upper()}{sizes[1:]}."
    about = f"Each set is held against the same test examples. {about}"
    pale = ""
    if any(name != original for name, original in originals.items()):
        pale = " Pale: codes as they are drawn, full: renormalised."
    return {
        "distances": Picture(
            distances(table, names, originals),
            "Left: squared Fréchet distance of Gaussian fits, with the interval for its mean at this number "
            "of examples; it is positive for equal distributions too: dashed, the floor of other test "
            "examples. Right: kernel distance, 0 on average where distributions are equal. Lines: 95 % "
            f"intervals. {about} Samples: {source}.{pale}",
        ),
        "reach": Picture(
            reach(table, names, originals),
            "Up: do the examples of a set lie among test examples? To the right: do they reach all of them? "
            "Left: precision and recall; right: density and coverage, which single far examples move less. "
            "Hollow marks are real examples: as good as it gets at this size. Lines: 95 % intervals over "
            f"examples. {about} Samples: {source}.{pale}",
        ),
    }


def sampler_name(name: str) -> str:
    """The name of a way to draw codes, in words."""
    words = name.removesuffix(RENORMALISED).replace("_", " ")
    return f"{words}, renormalised" if name.endswith(RENORMALISED) else words


def styles(sets: Mapping[str, str]) -> dict[str, tuple[str, str, float, float]]:
    """Colour, mark, size and strength of each set. ``sets``: by name the set that it is a changed version of,
    or itself: both have one colour and mark, the original pale."""
    samplers = [name for name in dict.fromkeys(sets.values()) if name not in STYLE]
    looks = dict(STYLE)
    for i, name in enumerate(samplers):
        looks[name] = (COLOURS[i % len(COLOURS)], MARKS[i % len(MARKS)], 7.5)
    changed = {original for name, original in sets.items() if name != original}
    return {name: (*looks[original], PALE if name in changed else 1.0) for name, original in sets.items()}


def distances(table: pd.DataFrame, names: Mapping[str, str], sets: Mapping[str, str]) -> Figure:
    """Bars of ``fid`` and ``kid`` with their ends ``_low`` and ``_high``, a row for each ``set``; a dashed
    line at the floor. ``names`` in words; ``sets``: as for :func:`styles`."""
    row = 0.4 if len(table) <= len(STYLE) else 0.27
    fig, axes = figure(1, 2, width=3.5, height=0.9 + row * len(table), sharey=True)
    looks = [to_rgba(colour, strength) for colour, _, _, strength in styles(sets).values()]
    floor = table.loc[table["set"] == "floor", "fid"].iloc[0]
    _distance(axes[0, 0], table, "fid", looks, floor)
    _distance(axes[0, 1], table, "kid", looks, 0.0)
    axes[0, 0].set_xlabel("FID (squared feature units)")
    axes[0, 1].set_xlabel("KID")
    labels = [names[name].replace(" of ", "\nof ") for name in table["set"]]
    axes[0, 0].set_yticks(np.arange(len(table)), labels)
    axes[0, 0].set_ylim(len(table) - 0.4, -0.6)
    return fig


def _distance(ax: Axes, table: pd.DataFrame, metric: str, colours: Sequence, floor: float) -> None:
    """The bars of one metric with the number at the end of each, and a dashed line at the floor."""
    value, low, high = (table[f"{metric}{end}"].to_numpy(float) for end in ("", "_low", "_high"))
    y = np.arange(len(table))
    ax.barh(y, value, height=0.62, color=colours)
    ax.hlines(y, low, high, color="black", lw=1.1)
    ends = np.nan_to_num(np.fmax(np.fmax(high, value), 0.0))
    for place, end, number in zip(y, ends, value, strict=True):
        offset = {"xytext": (4, 0), "textcoords": "offset points"}
        ax.annotate(f"{number:.3g}", (end, place), va="center", **offset, **SMALL)
    ax.axvline(floor, color="black", ls="--", lw=0.8)
    least, most = min(0.0, float(np.nanmin(np.append(low, value)))), max(float(ends.max()), 1e-12)
    ax.set_xlim(least - 0.05 * (most - least) * (least < 0), most + 0.28 * (most - least))
    ax.locator_params(axis="x", nbins=5)


def reach(table: pd.DataFrame, names: Mapping[str, str], sets: Mapping[str, str]) -> Figure:
    """Precision against recall and density against coverage, a point with its intervals for each ``set``."""
    looks, rows = styles(sets), -(-len(table) // 2)
    fig, axes = figure(1, 2, width=3.3, height=2.7 + 0.2 * rows, gridspec_kw={"wspace": 0.08})
    for ax, (across, up) in zip(axes[0], (("recall", "precision"), ("coverage", "density")), strict=True):
        for _, row in table[::-1].iterrows():  # real examples beneath, samples on top
            _point(ax, row, across, up, names[row["set"]], looks[row["set"]])
        ax.set(xlabel=f"{across} (share of test examples)", xlim=(-0.03, 1.03))
        ax.set_ylabel(
            "precision (share of the set)" if up == "precision" else "density (1 for equal distributions)"
        )
        top = max(1.0, float(np.nanmax(table[[up, f"{up}_high"]].to_numpy(float))))
        ax.set_ylim(-0.03 * top, 1.03 * top)
        if up == "density":
            ax.axhline(1, color="black", ls="--", lw=0.8, zorder=0)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=2)
    return fig


def _point(
    ax: Axes, row: pd.Series, across: str, up: str, label: str, look: tuple[str, str, float, float]
) -> None:
    colour, marker, size, strength = look
    ends = [
        np.nan_to_num(np.clip([[row[m] - row[f"{m}_low"]], [row[f"{m}_high"] - row[m]]], 0, None))
        for m in (across, up)
    ]
    fill = "white" if row["set"].startswith("floor") else colour
    ax.errorbar(
        row[across],
        row[up],
        xerr=ends[0],
        yerr=ends[1],
        fmt=marker,
        color=colour,
        markerfacecolor=fill,
        markersize=size,
        elinewidth=1.1,
        alpha=strength,
        label=label,
    )
