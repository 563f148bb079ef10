"""Codes as point clouds coloured by what is known about them: flat projections, one latent against factors, a cloud to turn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from latentrun.plotting.style import CYCLIC, DIVERGING, PALETTE, SEQUENTIAL, blank, figure
from latentrun.types import Factor

MARKERS = "o^sDvP*X"  # classes beyond the palette's eight repeat its colours with another marker

SOLIDS = (("circle", ""), ("diamond", " \u25c6"), ("square", " \u25a0"), ("x", " \u2715"))  # the same for clouds, with their sign
LEGEND = 16  # classes named in a legend at most
Target = tuple[Factor, np.ndarray]


def points(n: int) -> dict[str, Any]:
    """How n dots are drawn: a few large enough to see, thousands small enough to tell apart (areas in points²)."""
    return {"s": min(30.0, max(5.0, 2500 / max(n, 1))), "linewidths": 0, "alpha": 0.75, "rasterized": True}


def caption(factor: Factor) -> str:
    """``variance_x (px)``: name and unit of a factor as an axis label."""
    name = factor.name.replace("_", " ")
    return f"{name} ({factor.unit})" if factor.unit else name


def axis_pairs(codes: np.ndarray, most: int = 4) -> list[tuple[int, int]]:
    """All pairs of latents of ``codes (N, d)``, or, for d > ``most``, those of the ``most`` latents of highest variance."""
    return list(combinations(sorted(np.argsort(-codes.var(0), kind="stable")[:most].tolist()), 2))


def category_names(factor: Factor) -> list[str]:
    """Names of the classes 0 ... C - 1."""
    return list(factor.categories) or [str(i) for i in range(int(factor.high) + 1)]


def colours_of(factor: Factor) -> mpl.colors.Colormap:
    """Cyclic for angles, diverging for real factors whose range lies evenly about 0, else sequential. Light colours are
    dulled to grey: points as light as the page would not be seen."""
    if factor.kind == "cyclic":
        name = CYCLIC
    else:
        name = DIVERGING if factor.kind == "real" and factor.low < 0 and np.isclose(factor.low, -factor.high) else SEQUENTIAL
    if name == SEQUENTIAL:
        return mpl.colormaps[name]
    return mpl.colors.ListedColormap(np.minimum(mpl.colormaps[name](np.linspace(0, 1, 256))[:, :3], 0.8))


def draw(ax: Axes, x: np.ndarray, y: np.ndarray, target: Target | None):
    """Points ``(N,)``, ``(N,)`` coloured by a factor; gives the colour scale, None for classes and plain points."""
    if target is None:
        ax.scatter(x, y, color=PALETTE[0], **points(len(x)))
        return None
    factor, values = target
    if factor.kind == "categorical":
        classes = np.rint(values).astype(int)
        colours = np.array([mpl.colors.to_rgba(c) for c in PALETTE])[classes % len(PALETTE)]
        shape = classes // len(PALETTE) % len(MARKERS)
        for i in np.unique(shape):
            at = shape == i
            ax.scatter(x[at], y[at], c=colours[at], marker=MARKERS[i], **points(len(x)))
        return None
    return ax.scatter(x, y, c=values, cmap=colours_of(factor), vmin=factor.low, vmax=factor.high, **points(len(x)))


def legend(ax: Axes, factor: Factor) -> None:
    """Names of the classes at the bottom of an empty panel."""
    names = category_names(factor)
    shown = [
        Line2D([], [], ls="", marker=MARKERS[i // len(PALETTE) % len(MARKERS)], ms=4, color=PALETTE[i % len(PALETTE)], label=name)
        for i, name in enumerate(names[:LEGEND])
    ]
    title = caption(factor) + (f" (first {LEGEND} of {len(names)})" if len(names) > LEGEND else "")
    ax.legend(
        handles=shown, title=title, title_fontsize=9, loc="lower center", bbox_to_anchor=(0.5, -0.05), ncols=_legend_columns(names),
        handletextpad=0.1, columnspacing=0.8, borderpad=0, borderaxespad=0, labelspacing=0.3,
    )  # fmt: skip


def _legend_columns(names: Sequence[str]) -> int:
    longest = max(map(len, names[:LEGEND]))
    return min(len(names), 5 if longest <= 3 else 3 if longest <= 8 else 2 if longest <= 16 else 1)


def room_above(factors: Sequence[Factor]) -> float:
    """Inches that scales and legends of the factors want above their panels."""
    named = [category_names(factor) for factor in factors if factor.kind == "categorical"]
    lines = [1 - (-min(len(names), LEGEND) // _legend_columns(names)) for names in named]
    return max(0.55, 0.19 * max(lines, default=0)) if factors else 0.05


def projections(codes: np.ndarray, targets: Sequence[Target]) -> Figure:
    """Codes ``(N, d)``, d >= 2, on pairs of latents (rows, see :func:`axis_pairs`), coloured by each factor (columns)."""
    pairs, columns, tall = axis_pairs(codes), list(targets) or [None], 2.4
    head = room_above([factor for factor, _ in targets])
    heights = [head, *[tall] * len(pairs)]
    fig, axes = figure(len(heights), len(columns), width=2.7, height=sum(heights) / len(heights), height_ratios=heights)
    blank(axes[0])
    for j, target in enumerate(columns):
        for (a, b), ax in zip(pairs, axes[1:, j], strict=True):
            scale = draw(ax, codes[:, a], codes[:, b], target)
            ax.set(xlabel=f"$z_{{{a}}}$", ylabel=f"$z_{{{b}}}$")
        if scale is not None:
            bar = fig.colorbar(scale, cax=axes[0, j].inset_axes([0, 0, 1, 0.09 / head]), orientation="horizontal", ticklocation="top")
            bar.set_label(caption(target[0]))
            bar.solids.set(alpha=1, rasterized=True)
        elif target is not None:
            legend(axes[0, j], target[0])
    return fig


def along(codes: np.ndarray, targets: Sequence[Target]) -> Figure:
    """One latent ``(N, 1)``: its histogram, then each factor against it; classes are strips with a little vertical shake."""
    columns = min(4, 1 + len(targets))
    rows = -(-(1 + len(targets)) // columns)
    fig, axes = figure(rows, columns, width=2.7, height=2.4)
    panels, z = list(axes.ravel()), codes[:, 0]
    panels[0].hist(z, bins="auto" if np.ptp(z) > 0 else 1, color=PALETTE[0])
    panels[0].set(xlabel="$z_0$", ylabel="codes per bin")
    for ax, (factor, values) in zip(panels[1:], targets, strict=False):
        shake = np.random.default_rng(0).uniform(-0.3, 0.3, len(z)) if factor.kind == "categorical" else 0.0
        ax.scatter(z, values + shake, color=PALETTE[0], **points(len(z)))
        ax.set(xlabel="$z_0$", ylabel=caption(factor))
        if factor.kind == "categorical":
            names = category_names(factor)
            every = -(-len(names) // 20)
            ax.set_yticks(range(0, len(names), every), names[::every])
    blank(panels[1 + len(targets) :])
    return fig


def rotatable(codes: np.ndarray, targets: Sequence[Target]):
    """A plotly cloud of the three latents of highest variance with a menu of colourings; every point is drawn.

    ``codes (N, d)``, d >= 3. Classes beyond the palette's eight repeat its colours with another
    symbol, shown beside their names.
    """
    import plotly.graph_objects as go

    a, b, c = sorted(np.argsort(-codes.var(0), kind="stable")[:3].tolist())
    markers = [_marker(target) for target in targets] or [{"color": PALETTE[0]}]
    hover = "".join(f"<br>{factor.name}: %{{customdata[{i}]:.3g}}" for i, (factor, _) in enumerate(targets))
    trace = go.Scatter3d(
        x=np.round(codes[:, a], 4), y=np.round(codes[:, b], 4), z=np.round(codes[:, c], 4), mode="markers",
        marker={"size": 2.5, "opacity": 0.85, **markers[0]},
        customdata=np.column_stack([values for _, values in targets]).astype(np.float32) if targets else None,
        hovertemplate=f"z{a}: %{{x:.3g}}<br>z{b}: %{{y:.3g}}<br>z{c}: %{{z:.3g}}{hover}<extra></extra>",
    )  # fmt: skip
    fig = go.Figure(trace)
    buttons = [
        {"label": factor.name, "method": "restyle", "args": [{f"marker.{key}": [value] for key, value in _flat(marker)}]}
        for (factor, _), marker in zip(targets, markers, strict=False)
    ]
    menu = {"buttons": buttons, "x": 0.0, "xanchor": "left", "y": 1.0, "yanchor": "bottom", "showactive": True}
    fig.update_layout(
        scene={"camera": {"eye": {"x": 1.6, "y": 1.6, "z": 1.2}}}
        | {f"{axis}axis": {"title": {"text": f"z{i}"}} for axis, i in zip("xyz", (a, b, c), strict=True)},
        updatemenus=[menu] if buttons else [],
        margin={"l": 0, "r": 0, "t": 60, "b": 0}, width=800, height=650, template="plotly_white",
    )  # fmt: skip
    return fig


def _marker(target: Target) -> dict:
    """Plotly's description of a colouring, in plain lists: a browser reads no numpy, nor matplotlib's colour maps by name."""
    factor, values = target
    bar = {"title": {"text": caption(factor), "side": "top"}, "tickvals": None, "ticktext": None}
    if factor.kind == "categorical":
        names = category_names(factor)
        colours, n = [mpl.colors.to_hex(PALETTE[i % len(PALETTE)]) for i in range(len(names))], len(names)
        scale = [[edge / n, colour] for i, colour in enumerate(colours) for edge in (i, i + 1)]
        solid = [SOLIDS[i // len(PALETTE) % len(SOLIDS)] for i in range(n)]
        bar |= {"tickvals": list(range(n)), "ticktext": [name + sign for name, (_, sign) in zip(names, solid, strict=True)]}
        classes = np.rint(values).astype(int)
        symbols = np.array([symbol for symbol, _ in solid])[classes].tolist() if n > len(PALETTE) else "circle"
        colouring = {"color": classes.tolist(), "cmin": -0.5, "cmax": n - 0.5, "symbol": symbols}
        return {**colouring, "colorscale": scale, "colorbar": bar}
    cmap = colours_of(factor)
    scale = [[float(t), mpl.colors.to_hex(cmap(t))] for t in np.linspace(0, 1, 21)]
    colours = np.round(np.asarray(values, dtype=float), 4).tolist()
    colouring = {"color": colours, "cmin": float(factor.low), "cmax": float(factor.high), "symbol": "circle"}
    return {**colouring, "colorscale": scale, "colorbar": bar}


def _flat(marker: dict):
    """Keys of a colouring as restyle wants them: ``colorbar.title.text`` instead of nested dictionaries."""
    for key, value in marker.items():
        if key == "colorbar":
            yield "colorbar.title.text", value["title"]["text"]
            yield "colorbar.tickvals", value["tickvals"]
            yield "colorbar.ticktext", value["ticktext"]
        else:
            yield key, value
