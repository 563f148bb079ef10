"""Training curves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from latentrun.plotting.evolution import PANELS, over_training
from latentrun.plotting.style import PALETTE, blank, figure
from latentrun.types import Picture

# No panels of their own: drawn with the loss, where all objectives have one, or numbers of states.
APART = ("monitor", "noise_stage", "noise_variable")
WIDE = 20  # values that span more than this ratio are drawn on a log axis


def training_pictures(table: pd.DataFrame) -> dict[str, Picture]:
    """What is drawn of ``tables/train.csv``: the terms of the loss and, where it has columns of them, the
    latent variables."""
    pictures = {"": training_curves(table)}
    if any(column.startswith("latent/") for column in table):
        pictures["latents"] = latent_variables(table)
    return pictures


def training_curves(table: pd.DataFrame) -> Picture:
    """Every term of ``tables/train.csv`` against the epoch: training and validation in one panel, a line a
    phase."""
    terms = [column.partition("/")[2] for column in table if column.startswith(("train/", "val/"))]
    names = [name for name in dict.fromkeys(terms) if name not in APART]
    chosen_by = "loss" if "loss" in names or "val/monitor" not in table else "monitor"
    names += ["monitor"] if chosen_by == "monitor" else []
    panels = [*names, "learning_rate"]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    fig, axes = figure(rows, columns, width=2.9, height=2.2)
    x = np.arange(1, len(table) + 1)
    starts = [start for start, _ in phases_of(table)]
    parts = [slice(start - 1, end - 1) for start, end in pairwise([*starts, len(x) + 1])]
    mark = "." if min(part.stop - part.start for part in parts) < 3 else None

    def draw(ax: Axes, values: pd.Series, **style) -> None:
        for i, part in enumerate(parts):
            ax.plot(x[part], values[part], marker=mark, **style if i == 0 else {**style, "label": None})

    for ax, name in zip(axes.flat, panels, strict=False):
        lines = {"train": f"train/{name}", "validation": "val/monitor" if name == "loss" else f"val/{name}"}
        for colour, (label, column) in zip(PALETTE, lines.items(), strict=False):
            if column in table:
                draw(ax, table[column], color=colour, label=label)
        if name == "learning_rate":
            draw(ax, table[name], color=PALETTE[6])
            ax.set_yscale("log")
        for start in starts[1:]:
            ax.axvline(start - 0.5, color="0.7", lw=0.8, ls=":")
        ax.set(title=name.replace("_", " "), xlabel="epoch")
        if _wide(table[[column for column in lines.values() if column in table]]):
            ax.set_yscale("log")
    for i in {0, names.index(chosen_by) if chosen_by in names else 0}:
        axes.flat[i].legend()
    blank(list(axes.flat)[len(panels) :])
    caption = (
        "Terms of the loss after each epoch: mean over the training rows during the epoch, mean over the "
        f"validation rows after it. The validation line in the panel {chosen_by} is the value by which "
        "stopping and the best weights are chosen."
    )
    return Picture(fig, caption)


def _wide(values: pd.DataFrame) -> bool:
    """Whether positive values span a wide range."""
    least, most = values.min().min(), values.max().max()
    return bool(len(values.columns) and least > 0 and most > WIDE * least)


def latent_variables(table: pd.DataFrame) -> Picture:
    """The columns ``latent/<quantity>.<variable>`` of ``tables/train.csv`` against the epoch; phases in which
    the codes rest have none."""
    table = table[table["latent/var_mean.0"].notna()]
    values = {}
    for name in PANELS:
        columns = [column for column in table if column.rpartition(".")[0] == f"latent/{name}"]
        if columns:
            values[name] = table[sorted(columns, key=_variable)].to_numpy()
    d = values["var_mean"].shape[1]
    scaled = "mean_scale2" in values
    phases = phases_of(table)
    fig = over_training(np.arange(1, len(table) + 1), values, phases if len(phases) > 1 else ())
    what, by = "variance of its code", "its variance"
    if scaled:
        what, by = (
            "variance of μ, mean σ², their sum (by the law 1, dotted) and mean KL(q(z_i|x) || N(0, 1))",
            "its KL",
        )
    caption = (
        f"Of each of {d} latent variables after each epoch, over the same training rows: {what}; coloured by "
        f"{by} at the end."
    )
    if len(phases) > 1:
        caption += f" Phases: {', '.join(f'{name} from epoch {start}' for start, name in phases)}."
    return Picture(fig, caption)


def _variable(column: str) -> int:
    """The number of the variable of a column ``latent/<quantity>.<variable>``."""
    return int(column.rpartition(".")[2])


def phases_of(table: pd.DataFrame) -> list[tuple[int, str]]:
    """The first epoch of each phase, counted through all of them, and its name."""
    begins = np.flatnonzero(table["phase"].ne(table["phase"].shift()))
    return [(int(row) + 1, str(table["phase"].iloc[row])) for row in begins]
