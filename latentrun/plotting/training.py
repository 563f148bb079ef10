"""Training curves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from latentrun.plotting.style import PALETTE, blank, figure
from latentrun.types import Picture


def training_curves(table: pd.DataFrame) -> Picture:
    """Every term of ``tables/train.csv`` against the epoch: training and validation in one panel, a line a phase."""
    names = [c.partition("/")[2] for c in table.columns if c.startswith(("train/", "val/"))]
    names = [n for n in dict.fromkeys(names) if n != "monitor"]
    panels = [*names, "learning_rate"]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    fig, axes = figure(rows, columns, width=2.9, height=2.2)
    x = np.arange(1, len(table) + 1)
    starts = x[table["phase"].ne(table["phase"].shift()).to_numpy()][1:]
    for ax, name in zip(axes.flat, panels, strict=False):
        lines = {"train": f"train/{name}", "validation": "val/monitor" if name == "loss" else f"val/{name}"}
        for colour, (label, column) in zip(PALETTE, lines.items(), strict=False):
            if column in table:
                ax.plot(x, table[column], color=colour, label=label, marker="." if len(x) < 3 else None)
        if name == "learning_rate":
            ax.plot(x, table[name], color=PALETTE[6], marker="." if len(x) < 3 else None)
            ax.set_yscale("log")
        for start in starts:
            ax.axvline(start - 0.5, color="0.7", lw=0.8, ls=":")
        ax.set(title=name.replace("_", " "), xlabel="epoch")
        values = [table[c] for c in lines.values() if c in table]
        if values and all((v.dropna() > 0).all() for v in values) and max(v.max() for v in values) > 20 * min(v.min() for v in values):
            ax.set_yscale("log")
    axes.flat[0].legend()
    blank(list(axes.flat)[len(panels) :])
    caption = (
        "Terms of the loss after each epoch: mean over the training rows during the epoch, mean over the validation rows "
        "after it. The validation line in the panel loss is the value by which stopping and the best weights are chosen."
    )
    return Picture(fig, caption)
