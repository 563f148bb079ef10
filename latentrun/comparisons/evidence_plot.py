"""Pictures of how probable the data are under groups of runs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.forest import forest
from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Picture, Report

MARKS = "osD^vP"


def pictures(report: Report) -> dict[str, Picture]:
    """The values of all groups, and their differences to the reference."""
    oracles = {key: e.value for key, e in report.metrics.items() if key.partition(".")[0] == "oracle"}
    text = (
        "Nats per example of each group, mean over seeds with its 95 % interval; higher is better. Hollow: "
        "uncorrected, no bound of anything. Dashed: log p(x) of the data's own family at the model's sigma."
    )
    made = {"groups": Picture(values(report.tables["values"], list(oracles.values())), text)}
    if "differences" in report.tables:
        drawn, _ = forest(report.tables["differences"], 6)
        text = (
            "Difference of each group to its reference (table `differences` says which) in nats per "
            "example, a panel for each quantity, with the interval that holds both those over seeds and over "
            "examples. Filled: it "
            "leaves 0 out; hollow: it does not, and the two are undecided; grey: there is none."
        )
        made["differences"] = Picture(drawn, text)
    return made


def values(table: pd.DataFrame, oracles: Sequence[float]) -> Figure:
    """A row for each group, a mark for each quantity; lines for the oracles."""
    names, quantities = list(table["group"].unique()), list(table["quantity"].unique())
    fig, axes = figure(width=4.2 + 0.04 * max(map(len, names)), height=1.3 + 0.34 * len(names))
    ax = axes[0, 0]
    for number, quantity in enumerate(quantities):
        rows = table[table["quantity"] == quantity]
        y = [names.index(name) + 0.5 * ((number + 0.5) / len(quantities) - 0.5) for name in rows["group"]]
        colour = PALETTE[number % len(PALETTE)]
        ax.hlines(y, rows["low"], rows["high"], color=colour, linewidth=1.2)
        fill = "white" if "uncorrected" in quantity else colour
        look = {"color": colour, "markerfacecolor": fill, "markersize": 5, "label": quantity}
        ax.plot(rows["mean"], y, MARKS[number % len(MARKS)], **look)
    for value in oracles:
        ax.axvline(value, color="black", linestyle="--", linewidth=0.9)
    ax.set(xlabel="nats per example", ylim=(len(names) - 0.4, -0.6))
    ax.set_yticks(range(len(names)), names)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
