"""Pictures of how a latent space is laid onto factors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.style import CYCLIC, PALETTE, figure
from latentrun.types import Picture, Report


def pictures(report: Report) -> dict[str, Picture]:
    """Distances, and the closed paths of each cyclic factor."""
    made: dict[str, Picture] = {}
    if "distances" in report.arrays:
        text = (
            "Geodesic distance of the codes against the distance of the factors (along the manifold of the "
            "data, where they have one, else by shares of their ranges), a point for each pair of rows. "
            "Where the latent space is laid onto the factors evenly they lie on a line."
        )
        made["distances"] = Picture(distances(report.arrays["distances"]), text)
    if "paths" in report.tables:
        for name, rows in report.tables["paths"].groupby("factor", sort=False):
            text = (
                f"A closed path of {name}: left its code, seen in the plane of the circle it goes round, "
                "or in that in which it spreads most, and coloured by the factor, or on a line against the "
                "factor; middle the code's angle, on a line its place, against the factor, a point for each "
                "row of the data; right the length of the code's steps along the refined path, the dashed "
                "line at the largest. A tear is a step, or a few, that stand above all others."
            )
            made[f"path_{name}"] = Picture(path(str(name), rows, report.arrays), text)
    if not made:
        values = report.tables["embedding"]
        made["embedding"] = Picture(bars(values), "How good the embedding of the latent space is, by name.")
    return made


def distances(values: np.ndarray) -> Figure:
    """``(M, 2)``: of codes, of factors."""
    fig, axes = figure(width=3.6, height=3.0)
    axes[0, 0].plot(values[:, 1], values[:, 0], ".", color=PALETTE[0], markersize=3, alpha=0.4)
    axes[0, 0].set(xlabel="distance of the factors", ylabel="distance of the codes")
    return fig


def path(name: str, rows: pd.DataFrame, arrays: Mapping[str, np.ndarray]) -> Figure:
    """The first path of a factor."""
    value, step = arrays[f"value.{name}"], arrays[f"step.{name}"]
    seen, angle = arrays[f"seen.{name}"], arrays[f"angle.{name}"]
    fig, axes = figure(1, 3, width=2.9, height=2.7)
    curve, turn, steps = axes[0]
    unit = rows["unit"].fillna("").iloc[0]
    label = f"{name} ({unit})" if unit else name
    on_a_line = seen.shape[1] == 1
    if on_a_line:
        curve.scatter(value, seen[:, 0], c=value, cmap=CYCLIC, s=4)
        curve.set(xlabel=label, ylabel="code")
    else:
        curve.scatter(seen[:, 0], seen[:, 1], c=value, cmap=CYCLIC, s=4)
        curve.set(xlabel="code", aspect="equal")
    curve.set_title(f"winding number {rows['winding'].iloc[0]:.0f}")
    turn.plot(angle[:, 0], angle[:, 1], ".", color=PALETTE[0], markersize=2.5)
    turn.set(xlabel=label, ylabel="code" if on_a_line else "angle of the code (rad)")
    steps.plot(value, np.maximum(step, 1e-6 * step.max()), color=PALETTE[0], linewidth=0.9)
    if np.isfinite(rows["at"].iloc[0]):
        steps.axvline(rows["at"].iloc[0], color="black", linestyle="--", linewidth=0.7)
    steps.set(xlabel=label, ylabel="length of the step", yscale="log" if step.max() > 0 else "linear")
    state = {1: "torn", 0: "not torn"}.get(rows["torn"].iloc[0])
    moved = f"{state}: half its way on {rows['half'].iloc[0]:.1%}"
    steps.set_title(moved if state else "the code does not move")
    return fig


def bars(values: pd.DataFrame) -> Figure:
    """One for each quantity."""
    names = values["quantity"].tolist()
    fig, axes = figure(width=4.0, height=0.8 + 0.24 * len(names))
    axes[0, 0].barh(range(len(names)), values["value"], color=PALETTE[0])
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()
    return fig
