"""Pictures of which latent space fits which data."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Picture, Report

LOOK = {
    "best": (PALETTE[2], PALETTE[2]),
    "loses": (PALETTE[0], PALETTE[0]),
    "undecided": (PALETTE[0], "white"),
}


def pictures(report: Report) -> dict[str, Picture]:
    """How far each space lies behind the best, and which space was the best how often."""
    made = {
        "ranking": Picture(
            behind(report.tables["ranking"]),
            "How far each latent space lies behind the best on the same data (right of 0 is worse), in nats "
            "per example, with the 95 % interval over seeds and examples. Filled: it "
            "is beaten; hollow: undecided. In bold: the manifold that the data lie on.",
        )
    }
    if len(report.tables["confusion"]) > 1:
        text = (
            "For each data set (rows, with the manifold that the data lie on) the share of seeds in which "
            "each latent space was the best; framed: the space that wins over all."
        )
        made["confusion"] = Picture(confusion(report.tables["confusion"]), text)
    return made


def behind(table: pd.DataFrame) -> Figure:
    """A panel for each data set."""
    panels = [rows for _, rows in table.groupby("data", sort=False)]
    longest = max(table["space"].map(len))
    most = max(map(len, panels))
    columns = min(3, len(panels))
    rows_of_panels = -(-len(panels) // columns)
    width, height = 2.6 + 0.05 * longest, 1.1 + 0.26 * most
    fig, axes = figure(rows_of_panels, columns, width=width, height=height)
    for ax in axes.flat[len(panels) :]:
        ax.axis("off")
    for ax, rows in zip(axes.flat, panels, strict=False):
        for y, row in enumerate(rows.itertuples()):
            edge, fill = LOOK[row.verdict]
            ax.plot([row.behind_low, row.behind_high], [y, y], color=edge, linewidth=1.2)
            ax.plot(row.behind, y, "o", markeredgecolor=edge, markerfacecolor=fill, markersize=5)
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set_yticks(range(len(rows)), rows["space"])
        for label, is_true in zip(ax.get_yticklabels(), rows["true"], strict=True):
            label.set_fontweight("bold" if is_true else "normal")
        ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="nats behind the best", title=rows["data"].iloc[0])
    return fig


def confusion(table: pd.DataFrame) -> Figure:
    """Shares of seeds, data sets by spaces."""
    tried = [column.removeprefix("best.") for column in table.columns if column.startswith("best.")]
    # The spaces of the data in their order, so that what is right stands on the diagonal.
    names = [name for name in dict.fromkeys([*table["truth"], *tried]) if name in tried]
    counts = table[[f"best.{name}" for name in names]].to_numpy(float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    labels = [truth or data for truth, data in zip(table["truth"], table["data"], strict=True)]
    fig, axes = figure(width=1.8 + 0.5 * len(names), height=1.2 + 0.42 * len(labels))
    ax = axes[0, 0]
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (y, x), share in np.ndenumerate(shares):
        ax.text(x, y, f"{share:.2g}", ha="center", va="center", color="white" if share > 0.6 else "black")
    for y, winner in enumerate(table["winner"]):
        if winner in names:
            place = (names.index(winner) - 0.47, y - 0.47)
            ax.add_patch(frame(place))
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(labels)), labels)
    ax.set(xlabel="latent space", ylabel="data")
    return fig


def frame(corner: tuple[float, float]):
    """A frame around a cell."""
    from matplotlib.patches import Rectangle

    return Rectangle(corner, 0.94, 0.94, fill=False, edgecolor=PALETTE[1], linewidth=1.8)
