"""Pictures of the aggregated posterior beside the prior."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from latentrun.plotting.bars import breadth, name_ticks
from latentrun.plotting.density import survival
from latentrun.plotting.style import PALETTE, blank, figure
from latentrun.types import Picture, Report

COLUMNS = 4  # panels in a row
PRIOR = "black"
MOMENTS = (
    "Moments of the aggregated posterior of each latent variable, with 95 % intervals over examples; dashed: "
    "those of the prior N(0, 1)."
)
BUDGET = (
    "Where the divergence goes. Left: the mean KL(q(z|x) || N(0, I)) is the information of the code about "
    "which example it is of, plus KL(q(z) || N(0, I)) of the aggregate, in turn what the moments of q(z) are "
    "off and what is not normal about it. Right: both when only so many examples are taken; the information "
    "cannot exceed ln N (dotted). Shaded: where the information lies for the source of the examples."
)
PLANE = (
    "Codes z ~ q(z|x) and draws from the prior, in the two latent variables of smallest mean σ²; the "
    "circles hold 50 % and 95 % of the prior's mass. Right, orange: draws without a code nearby, in all "
    "variables in use."
)


# ---------------------------------------------------------------- pictures of a report
def pictures(report: Report, shown: int, quantile: float) -> dict[str, Picture]:
    """``shown``: variables drawn at most; ``quantile`` of distances by which regions are empty."""
    arrays, variables = report.arrays, report.tables["variables"]
    value = {name: estimate.value for name, estimate in report.metrics.items()}
    marginal = (
        "The aggregated posterior of each latent variable (bars: exact masses of the mixture of all "
        "posteriors in each bin, as densities) over the density of the prior N(0, 1) (line). In brackets: KL "
        "of the binned density in nats."
    )
    if len(variables) > shown:
        marginal += f" The {shown} variables of {len(variables)} that are farthest from it."
    drawn = {
        "marginals": Picture(
            marginals(arrays["edges"], arrays["masses"], arrays["shown"], variables), marginal
        ),
        "moments": Picture(moments(variables), MOMENTS),
        "budget": Picture(budget(value, report.tables["rows"]), BUDGET),
        "distances": distances(arrays, value["empty.prior"], 1 - quantile),
    }
    if "plane" in arrays:
        drawn["plane"] = Picture(
            plane(arrays["plane_codes"], arrays["plane_prior"], arrays["plane_empty"], arrays["plane"]), PLANE
        )
    return drawn


def distances(arrays: Mapping[str, np.ndarray], empty: float, share: float) -> Picture:
    """Distances to the nearest; ``empty``: share of the prior draws without a code nearby, ``share`` of them
    without another draw nearby."""
    limit = float(arrays["limits"][0])
    gaps = {
        "prior draw to nearest code": arrays["gap_prior_codes"],
        "code to nearest other code": arrays["gap_codes_codes"],
        "prior draw to nearest other": arrays["gap_prior_prior"],
    }
    return Picture(
        survival(gaps, "Euclidean distance (latent units)", "share that is farther", (limit,)),
        f"How far the nearest is, {len(arrays['gap_prior_codes']):,} of each kind. Where the codes follow "
        f"the prior the lines agree. Dotted: {limit:.3g}, exceeded by {share:.0%} of prior draws among "
        f"themselves and by {empty:.1%} of prior draws to codes: the share of the prior's mass in regions "
        "without codes.",
    )


# ---------------------------------------------------------------- drawings
def marginals(edges: np.ndarray, masses: np.ndarray, shown: np.ndarray, variables: pd.DataFrame) -> Figure:
    """A panel for each of the variables ``shown (k,)``: densities of ``masses (k, B + 2)`` (the outer two lie
    beyond the edges)."""
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    fig, axes = figure(
        rows, columns, width=1.75 if columns > 1 else 3.4, height=1.45 if columns > 1 else 2.4, sharex=True
    )
    density = masses[:, 1:-1] / np.diff(edges)
    at = np.linspace(edges[0], edges[-1], 201)
    normal = np.exp(-(at**2) / 2) / np.sqrt(2 * np.pi)
    kl = variables.set_index("variable")["kl_marginal"]
    for i, (ax, variable) in enumerate(zip(axes.flat, shown, strict=False)):
        ax.stairs(density[i], edges, fill=True, color=PALETTE[5])
        ax.plot(at, normal, color=PRIOR, lw=1)
        ax.set_title(f"z{variable} ({kl[variable]:.2g})", pad=2)
        ax.set(yticks=[], ylim=(0, 1.08 * max(density[i].max(), normal.max())), xlim=(edges[0], edges[-1]))
        ax.spines["left"].set_visible(False)
        # Panels over empty places of the last row carry the axis too.
        ax.tick_params(labelbottom=i + columns >= len(shown))
        if i + columns >= len(shown):
            ax.set_xlabel("value")
    blank(axes.flat[len(shown) :])
    return fig


def moments(variables: pd.DataFrame) -> Figure:
    """Mean, variance, skewness, excess kurtosis of each variable with intervals, and the prior's as dashed
    lines."""
    panels = {"mean": 0.0, "variance": 1.0, "skewness": 0.0, "kurtosis": 0.0}
    fig, axes = figure(len(panels), 1, width=max(4.2, breadth(len(variables))), height=1.15, sharex=True)
    at = np.arange(len(variables))
    for ax, (name, truth) in zip(axes[:, 0], panels.items(), strict=True):
        value, low, high = (variables[name + end].to_numpy() for end in ("", "_low", "_high"))
        ax.axhline(truth, color=PRIOR, ls="--", lw=0.8)
        reach = np.nan_to_num(np.clip([value - low, high - value], 0, None))
        ax.errorbar(
            at, value, yerr=reach, fmt="o", color=PALETTE[0], markersize=3, elinewidth=0.9, capsize=1.5
        )
        # Small deviations should look small.
        bottom, top = min(truth - 0.1, np.nanmin([low, value])), max(truth + 0.1, np.nanmax([high, value]))
        room = 0.05 * (top - bottom)
        ax.set(ylabel="excess\nkurtosis" if name == "kurtosis" else name, ylim=(bottom - room, top + room))
    name_ticks(axes[-1, 0], variables["variable"].tolist())
    axes[-1, 0].set_xlabel("latent variable")
    fig.align_ylabels(axes[:, 0])
    return fig


def budget(value: Mapping[str, float], rows: pd.DataFrame) -> Figure:
    """The mean KL in its parts, and how information and KL of the aggregate change with the number of
    examples."""
    parts = {
        "information I(n; z)": (value["information"], PALETTE[0]),
        "aggregate: mean and covariance": (value["kl_aggregate.gaussian"], PALETTE[4]),
        "aggregate: not normal": (value["negentropy"], PALETTE[1]),
    }
    fig, axes = figure(1, 2, width=3.5, height=2.9)
    left, right = axes[0]
    for i, (_, (part, colour)) in enumerate(parts.items()):
        left.barh(i, part, color=colour, height=0.6)
        left.annotate(
            f"{part:.3g}", (max(part, 0), i), (3, 0), textcoords="offset points", va="center", fontsize=8
        )
    left.set_yticks(range(len(parts)), [name.replace(": ", ":\n").replace(" I(", "\nI(") for name in parts])
    left.set(ylim=(len(parts) - 0.5, -0.5), xlabel=f"nats per example, of a mean KL of {value['kl']:.3g}")
    left.axvline(0, color="black", lw=0.6)
    left.margins(x=0.18)
    right.plot(rows["n"], rows["log_n"], color="0.5", ls=":", lw=1.2, label="ln N")
    right.fill_between(
        rows["n"], rows["information"], rows["information_upper"], color=PALETTE[0], alpha=0.15, linewidth=0
    )
    for name, words, colour, mark in (
        ("information", "information", PALETTE[0], "o"),
        ("kl_aggregate", "KL of the aggregate", PALETTE[1], "s"),
    ):
        reach = np.nan_to_num(
            np.clip([rows[name] - rows[f"{name}_low"], rows[f"{name}_high"] - rows[name]], 0, None)
        )
        right.errorbar(
            rows["n"],
            rows[name],
            yerr=reach,
            fmt=f"{mark}-",
            color=colour,
            markersize=4,
            lw=1.2,
            capsize=2,
            label=words,
        )
    right.set_xscale("log")
    right.set_xticks(rows["n"], [f"{n:,}" for n in rows["n"]])
    right.set_xticks([], minor=True)
    right.set(xlabel="examples N", ylabel="nats", ylim=(min(0, 1.1 * rows["kl_aggregate_low"].min()), None))
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, handlelength=1.4, columnspacing=0.9)
    return fig


def plane(codes: np.ndarray, prior: np.ndarray, empty: np.ndarray, pair: np.ndarray) -> Figure:
    """Codes ``(n, 2)`` and prior draws ``(n, 2)`` of the variables ``pair``; those of the latter that are
    ``empty (n,)`` stand out."""
    fig, axes = figure(1, 2, width=3.1, height=3.1, sharex=True, sharey=True)
    reach = max(3.5, 1.05 * np.abs(np.concatenate([codes, prior])).max())
    for ax, points, title in zip(axes[0], (codes, prior), ("codes", "draws from the prior"), strict=True):
        off = empty if points is prior else np.zeros(len(points), bool)
        for rows, colour, size in ((~off, PALETTE[0], 3), (off, PALETTE[1], 5)):
            ax.scatter(*points[rows].T, s=size, color=colour, linewidths=0, alpha=0.7, rasterized=True)
        for share in (0.5, 0.95):
            ax.add_patch(
                Circle((0, 0), np.sqrt(-2 * np.log(1 - share)), fill=False, color=PRIOR, lw=0.9, ls="--")
            )
        ax.set(xlabel=f"z{pair[0]}", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=title)
    axes[0, 0].set_ylabel(f"z{pair[1]}")
    return fig
