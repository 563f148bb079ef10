"""Pictures of how probable the data are under groups of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentrun.plotting.forest import forest
from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Picture, Report

MARKS = "osD^vP"


def pictures(report: Report) -> dict[str, Picture]:
    """The values of all groups, and their differences to the reference."""
    text = (
        "Nats per example of each group, mean over seeds with its 95 % interval; higher is better. Hollow: "
        "uncorrected, no bound of anything. Dashed: log p(x) of the data's own family at the model's "
        "sigma, a panel for each."
    )
    made = {"groups": Picture(values(report.tables["values"], families(report.tables["groups"])), text)}
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


@dataclass(frozen=True)
class Family:
    """Groups that have one oracle: the settings that ``label`` names, how the groups are called, in full and
    without these, and the oracle's value, NaN where there is none."""

    label: str
    names: tuple[str, ...]
    short: tuple[str, ...]
    oracle: float


def families(groups: pd.DataFrame) -> list[Family]:
    """The groups of the table ``groups`` by their oracle; one family where they have none, or where settings
    do not tell them apart."""
    is_oracle = groups["group"].str.split(", ").str[0] == "oracle"
    names, oracles = tuple(groups.loc[~is_oracle, "group"]), groups[is_oracle]
    made = []
    for text, value in zip(oracles["group"], oracles["elbo"], strict=True):
        label = text.partition(", ")[2]
        settings = set(label.split(", ")) if label else set()
        own = tuple(name for name in names if settings <= set(name.split(", ")))
        short = tuple(", ".join(part for part in name.split(", ") if part not in settings) for name in own)
        made.append(Family(label, own, tuple(text or "all" for text in short), float(value)))
    if sorted(name for family in made for name in family.names) == sorted(names):
        return made
    return [Family("", names, names, float(oracles["elbo"].iloc[0]) if len(oracles) == 1 else np.nan)]


def values(table: pd.DataFrame, by_oracle: Sequence[Family]) -> Figure:
    """A panel for each family: a row for each group, a mark for each quantity, a line for the oracle."""
    rows = max(len(family.names) for family in by_oracle)
    letters = max(len(name) for family in by_oracle for name in family.short)
    fig, axes = figure(1, len(by_oracle), width=3.2 + 0.05 * letters, height=1.3 + 0.34 * rows)
    for ax, family in zip(axes[0], by_oracle, strict=True):
        _panel(ax, table, family)
    named: dict[str, Any] = {}  # each quantity once
    for ax in axes[0]:
        handles, labels = ax.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    fig.legend(list(named.values()), list(named), loc="outside lower center", ncols=3)
    return fig


def _panel(ax: Axes, table: pd.DataFrame, family: Family) -> None:
    quantities = list(table["quantity"].unique())
    place = {name: number for number, name in enumerate(family.names)}
    for number, quantity in enumerate(quantities):
        rows = table[(table["quantity"] == quantity) & table["group"].isin(family.names)]
        y = [place[name] + 0.5 * ((number + 0.5) / len(quantities) - 0.5) for name in rows["group"]]
        colour = PALETTE[number % len(PALETTE)]
        ax.hlines(y, rows["low"], rows["high"], color=colour, linewidth=1.2)
        fill = "white" if "uncorrected" in quantity else colour
        look = {"color": colour, "markerfacecolor": fill, "markersize": 5, "label": quantity}
        ax.plot(rows["mean"], y, MARKS[number % len(MARKS)], **look)
    if np.isfinite(family.oracle):
        ax.axvline(family.oracle, color="black", linestyle="--", linewidth=0.9)
    ax.set(xlabel="nats per example", ylim=(len(family.names) - 0.4, -0.6), title=family.label)
    ax.set_yticks(range(len(family.short)), family.short)
    ax.locator_params(axis="x", nbins=4)
