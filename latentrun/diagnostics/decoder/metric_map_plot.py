"""Pictures of a decoder's metric: maps over a plane, on the data against off them, and of random draws."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.functional.factors import Target, read_factors
from latentrun.plotting.histogram import STYLES
from latentrun.plotting.planes import is_wide, maps_of, plain_numbers
from latentrun.plotting.scatter import axis_name, draw, headed, key
from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Picture, Report

# What is drawn: its label, and whether its scale may be logarithmic.
DRAWN = {
    "magnification": ("magnification $\\log\\sqrt{\\det M}$", False),
    "deviation": ("standard deviation of x (data units)", True),
}


def pictures(report: Report, kinds: Mapping[str, str]) -> dict[str, Picture]:
    """``kinds``: what points are called, by their kind in the table."""
    made = {"map": map_picture(report), "separation": separation(report.tables["points"], kinds)}
    table = report.tables.get("concentration")
    if table is not None and table["cv"].gt(0).any():
        made["concentration"] = concentration_picture(table)
    return made


# ---------------------------------------------------------------- maps
def map_picture(report: Report) -> Picture:
    """Magnification and, where it changes, standard deviation, with codes on them."""
    arrays = report.arrays
    target = None
    if "colour" in report.tables and len(arrays["codes"]):
        target = (read_factors(report.tables["colour"])[0], arrays["values"])
    names = [name for name in DRAWN if f"map_{name}" in arrays]
    maps = {name: arrays[f"map_{name}"] for name in names}
    axes = [str(name) for name in arrays["names"]]
    is_plane = arrays["ends"].shape[1] > 1
    what = "the logarithm of the data volume that a unit of latent volume is decoded to"
    second = ", and the standard deviation of x given z" if len(names) > 1 else ""
    ends = "; colours end at 1 and 99 % of the map" if is_plane else ""
    if target is not None:
        codes = f"Points: held-out codes, coloured by {target[0].name.replace('_', ' ')}"
    else:
        codes = "Points: held-out codes"
    drawn = planes if is_plane else curves
    return Picture(
        drawn(maps, arrays["ends"], arrays["codes"], axes, target),
        f"Magnification, {what}{second}, over the latent space{ends}. {codes}.",
    )


def planes(
    maps: Mapping[str, np.ndarray],
    ends: np.ndarray,
    codes: np.ndarray,
    names: list[str],
    target: Target | None,
) -> Figure:
    """Maps ``(G, G)`` side by side over ``ends (2, 2)``, with ``codes (n, 2)``."""
    drawn = [DRAWN[name] for name in maps]
    return maps_of([list(maps.values())], [ends], [codes], names, [target], drawn)


def curves(
    maps: Mapping[str, np.ndarray],
    ends: np.ndarray,
    codes: np.ndarray,
    names: list[str],
    target: Target | None,
) -> Figure:
    """Values ``(G,)`` along one latent variable, with ``codes (n, 1)`` at the bottom, shaken a little."""
    fig, axes, head = headed([target[0]] if target else [], [2.6], len(maps), width=3.3)
    shake = np.random.default_rng(0).uniform(0.0, 1.0, len(codes))
    scale = None
    for (name, values), ax in zip(maps.items(), axes[1], strict=True):
        low, high = ends[:, 0]
        z = low + (high - low) * (np.arange(len(values)) + 0.5) / len(values)
        ax.plot(z, values, color="black", lw=1.2)
        label, may_be_logarithmic = DRAWN[name]
        if may_be_logarithmic and is_wide(values):
            ax.set_yscale("log")
        ax.margins(y=0.2)  # room for the codes
        ax.set(xlabel=axis_name(names[0]), ylabel=label.replace(" (", "\n("), xlim=(low, high))
        bottom = ax.inset_axes((0.0, 0.01, 1.0, 0.12), sharex=ax)
        bottom.axis("off")
        scale = draw(bottom, codes[:, 0], shake, target)
    if target is not None:
        key(fig, axes[0, 0], target[0], scale, head)
    return fig


# ---------------------------------------------------------------- on and off the data
def separation(points: pd.DataFrame, kinds: Mapping[str, str]) -> Picture:
    """The share of held-out codes, and of points off the data, above every value."""
    names = [name for name in DRAWN if name in points]
    fig, axes = figure(1, len(names), width=3.3, height=2.7, sharey=True)
    for name, ax in zip(names, axes[0], strict=True):
        for i, (kind, words) in enumerate(kinds.items()):
            values = np.sort(points.loc[points["kind"] == kind, name].dropna().to_numpy())
            above = 1 - np.arange(1, len(values) + 1) / max(1, len(values))
            ax.step(values, above, where="post", color=PALETTE[i], ls=STYLES[i], lw=1.4, label=words)
        label, may_be_logarithmic = DRAWN[name]
        if may_be_logarithmic and is_wide(points[name].to_numpy()):
            ax.set_xscale("log")
        ax.set(xlabel=label, ylim=(0, 1.02))
    axes[0, 0].set_ylabel("share of points above")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return Picture(
        fig,
        "How far held-out codes and points off the data (in the enlarged box of the codes, away from all of "
        "them) can be told apart by what the decoder does there: the share of each above every value. Curves "
        "that lie on one another: not at all.",
    )


# ---------------------------------------------------------------- random draws
def concentration_picture(table: pd.DataFrame) -> Picture:
    """How the coefficient of variation falls with the number of data dimensions."""
    fig, axes = figure(1, 1, width=3.6, height=2.8)
    ax, known = axes[0, 0], table[table["cv"] > 0]
    x, cv = known["dimensions"].to_numpy(float), known["cv"].to_numpy()
    ax.fill_between(x, known["cv_low"], known["cv_high"], color=PALETTE[0], alpha=0.25, linewidth=0)
    ax.plot(x, cv, "o-", color=PALETTE[0], ms=4, lw=1.3, label="measured")
    ax.plot(x, cv[-1] * np.sqrt(x[-1] / x), color="0.4", ls="--", lw=1, label="$\\propto D^{-1/2}$")
    ax.set(xlabel="number D of data dimensions", ylabel="coefficient of variation of M")
    ax.set_xscale("log")
    ax.set_yscale("log")
    plain_numbers(ax.xaxis, ax.get_xlim())
    plain_numbers(ax.yaxis, ax.get_ylim())
    ax.legend()
    return Picture(
        fig,
        "How much the metric of a random draw of the decoder scatters about the expected one, from growing "
        "parts of the data dimensions in random order: mean over held-out codes (shaded: its 95 % interval). "
        "Dashed: as it falls where all dimensions are alike.",
    )
