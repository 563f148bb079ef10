"""The convex hull of codes with paths along it, flat and to be turned."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from latentrun.plotting.scatter import points
from latentrun.plotting.style import DIVERGING, PALETTE, figure

Paths = Mapping[str, np.ndarray]  # by name, (T, 2) or (T, 3)


def hull_flat(
    axes: np.ndarray,
    codes: np.ndarray,
    colour: np.ndarray | None,
    label: str,
    shell: np.ndarray,
    facets: np.ndarray,
    paths: Paths,
    knots: np.ndarray,
) -> Figure:
    """Codes ``(N, 2)`` of the latents ``axes (2,)``, coloured by ``colour (N,)``, the hull's corners ``shell (V, 2)`` joined by
    ``facets (F, 2)``, paths, and the codes ``knots`` that paths go through."""
    fig, (panel,) = figure(1, 1, width=4.8, height=4.0)
    ax = panel[0]
    if colour is None:
        ax.scatter(*codes.T, color="0.75", **points(len(codes)))
    else:
        most = np.abs(colour).max()
        dots = ax.scatter(*codes.T, c=colour, cmap=_greyed(), vmin=-most, vmax=most, **points(len(codes)))
        fig.colorbar(dots, ax=ax, label=label.replace("_", " "), shrink=0.8)
    ax.add_collection(LineCollection(shell[facets], colors="0.4", linewidths=0.9))
    for (name, path), line in zip(paths.items(), PALETTE, strict=False):
        ax.plot(*path.T, "-o", color=line, markersize=3, linewidth=1.6, label=name)
    ax.scatter(*knots.T, s=14, color="black", zorder=3)
    ax.set(xlabel=f"$z_{{{axes[0]}}}$", ylabel=f"$z_{{{axes[1]}}}$")
    if paths:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return fig


def hull_solid(
    axes: np.ndarray,
    codes: np.ndarray,
    colour: np.ndarray | None,
    label: str,
    shell: np.ndarray,
    facets: np.ndarray,
    paths: Paths,
    knots: np.ndarray,
):
    """As :func:`hull_flat` for three latents: a plotly figure to turn, whose legend hides and shows each part."""
    import plotly.graph_objects as go

    def xyz(points: np.ndarray) -> dict:
        return dict(zip("xyz", np.round(points.T.astype(float), 4).tolist(), strict=True))

    marker = {"size": 2.2, "opacity": 0.8, "color": "#B0B0B0"}
    if colour is not None:
        most, shades = float(np.abs(colour).max()), _greyed()
        scale = [[float(t), mpl.colors.to_hex(shades(t))] for t in np.linspace(0, 1, 21)]
        bar = {"title": {"text": label.replace("_", " "), "side": "top"}, "len": 0.6, "y": 0.3}
        marker |= {"color": np.round(colour.astype(float), 3).tolist(), "colorscale": scale, "cmin": -most, "cmax": most, "colorbar": bar}
    parts = [
        go.Scatter3d(**xyz(codes), mode="markers", marker=marker, name="codes", hoverinfo="skip", showlegend=True),
        go.Mesh3d(
            **xyz(shell), **dict(zip("ijk", facets.T.tolist(), strict=True)), opacity=0.12, color="#56B4E9", name="hull",
            hoverinfo="skip", showlegend=True, flatshading=True,
        ),
    ]  # fmt: skip
    for (name, path), line in zip(paths.items(), PALETTE, strict=False):
        style = {"line": {"color": line, "width": 7}, "marker": {"color": line, "size": 4}}
        parts.append(go.Scatter3d(**xyz(path), mode="lines+markers", **style, name=name))
    if len(knots):
        parts.append(go.Scatter3d(**xyz(knots), mode="markers", marker={"size": 4.5, "color": "black"}, name="hull points of bins"))
    fig = go.Figure(parts)
    fig.update_layout(
        scene={"camera": {"eye": {"x": 1.5, "y": 1.5, "z": 0.9}}}
        | {f"{side}axis": {"title": {"text": f"z{i}"}} for side, i in zip("xyz", axes.tolist(), strict=True)},
        legend={"x": 0, "y": 1}, margin={"l": 0, "r": 0, "t": 20, "b": 0}, width=800, height=650, template="plotly_white",
    )  # fmt: skip
    return fig


def _greyed() -> mpl.colors.Colormap:
    """Diverging, its light middle dulled to grey: points as light as the page would not be seen."""
    return mpl.colors.ListedColormap(np.minimum(mpl.colormaps[DIVERGING](np.linspace(0, 1, 256))[:, :3], 0.8))
