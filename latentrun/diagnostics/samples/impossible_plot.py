"""Pictures of which rules of the data samples break."""

from __future__ import annotations

import numpy as np
import pandas as pd

from latentrun.plotting.style import PALETTE, figure, legible
from latentrun.types import Picture

MARKERS = "osD^v"
COLOURS = {"samples": 0, "draws": 5, "reconstructions": 2, "shuffled": 1, "test": 7}  # of the palette


def rule_picture(table: pd.DataFrame, origin: str) -> Picture:
    """Shares with their intervals, a row for each rule. ``table``: ``source, rule, share, share_low,
    share_high``; ``origin``: where samples come from."""
    rules, sources = list(dict.fromkeys(table["rule"])), list(dict.fromkeys(table["source"]))
    fig, axes = figure(1, 1, width=4.2, height=1.0 + 0.36 * len(rules))
    ax = axes[0, 0]
    for i, source in enumerate(sources):
        rows = table[table["source"] == source]
        y = np.arange(len(rules)) + 0.13 * (i - (len(sources) - 1) / 2)
        colour = PALETTE[COLOURS[source]]
        ax.hlines(y, rows["share_low"], rows["share_high"], color=colour, lw=1.2)
        ax.plot(rows["share"], y, MARKERS[i], color=colour, markersize=4, label=source)
    ax.set_yticks(range(len(rules)), [rule.replace("_", " ") for rule in rules])
    ax.set_ylim(len(rules) - 0.4, -0.6)
    ax.axhline(len(rules) - 1.5, color="#BBBBBB", lw=0.6)
    ax.set_xlim(-0.02, min(1.02, 1.15 * max(float(table["share_high"].max()), 0.1)))
    ax.set_xlabel("share of examples that break the rule")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=legible(4.2, 7))
    return Picture(
        fig,
        "How often each rule of the data is broken, with 95 % intervals; below, any of them. Samples: means "
        f"of p(x|z) ({origin}); draws: from p(x|z); shuffled: test rows whose columns were permuted "
        "independently of each other; test rows break none.",
    )
