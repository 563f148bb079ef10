"""What becomes of each latent variable while a model trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from latentrun.plotting.style import SEQUENTIAL, figure

# The bright end of the colour map vanishes on white paper.
INK = LinearSegmentedColormap.from_list("ink", colormaps[SEQUENTIAL](np.linspace(0, 0.85, 256)))
PANELS = {"var_mean": "var(μ)", "mean_scale2": "mean σ²", "sum": "var(μ) + mean σ²", "kl": "mean KL (nats)"}
FEW = 20  # variables whose lines are drawn at full width


def over_training(
    epochs: np.ndarray,
    values: Mapping[str, np.ndarray],
    phases: Sequence[tuple[float, str]] = (),
) -> Figure:
    """A panel for each of the ``values (E, d)`` against the ``epochs (E,)``, a line for each variable,
    coloured by its KL (without a KL: var(mu)) at the end. ``phases``: where each begins and its name, nothing
    for a single one."""
    panels = {name: label for name, label in PANELS.items() if name in values}
    columns = min(2, len(panels))
    rows, width = -(-len(panels) // columns), 3.2 if columns > 1 else 4.6
    fig, axes = figure(rows, columns, width=width, height=2.2, sharex=True)
    by = "kl" if "kl" in values else "var_mean"
    final = values[by][-1]
    norm = Normalize(np.nanmin(final), np.nanmax(final))
    order = np.argsort(final, kind="stable")  # those that say most lie above
    look = {"linewidth": 1.1 if len(final) <= FEW else 0.7, "marker": "." if len(epochs) == 1 else None}
    for place, (ax, (name, label)) in enumerate(zip(axes.flat, panels.items(), strict=True)):
        for i in order:
            ax.plot(epochs, values[name][:, i], color=INK(np.nan_to_num(norm(final[i]))), **look)
        ax.set(ylabel=label)
        if name != "kl" and len(panels) > 1:  # a code without sigma has no scale of its own
            ax.axhline(1, color="black", linestyle=":", linewidth=0.8)
        ax.set_ylim(bottom=-0.03 * ax.get_ylim()[1])  # room for the lines that stay at 0
        for start, _ in phases[1:]:
            ax.axvline(start - 0.5, color="0.6", linewidth=0.8, linestyle=":")
        if place < columns:
            name_phases(ax, phases, epochs[-1])
    for ax in axes[-1]:
        ax.set_xlabel("epoch")
    fig.colorbar(ScalarMappable(norm, INK), ax=axes, label=f"{PANELS[by]} at the end")
    return fig


def name_phases(ax: Axes, phases: Sequence[tuple[float, str]], last: float) -> None:
    """The names of ``phases`` above the axes, each where it begins, if it has room before the next."""
    ends = [*(start for start, _ in phases), last][1:]
    for (start, name), end in zip(phases, ends, strict=True):
        if end - start > 0.022 * len(name) * last:
            place = (start, 1), (2, 2), ax.get_xaxis_transform(), "offset points"
            look = {"va": "bottom", "fontsize": 7, "color": "0.35", "annotation_clip": False}
            ax.annotate(name.replace("_", " "), *place, **look)
