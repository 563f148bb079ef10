"""Codes as a cloud to turn: coloured by any factor from a menu, with the picture of each point, paths and
hulls as layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from html import escape
from typing import Any, Literal

import matplotlib as mpl
import numpy as np

from latentrun.functional.factors import Target
from latentrun.plotting.scatter import caption, category_names, colours_of
from latentrun.plotting.sprite import sprite, thumbnails
from latentrun.plotting.style import PALETTE
from latentrun.types import Factor

TURNED = 3000  # points that a browser turns smoothly
SYMBOLS = (
    ("circle", ""),
    ("diamond", " \u25c6"),
    ("square", " \u25a0"),
    ("x", " \u2715"),
)  # of classes beyond the palette, with their sign
LINES = tuple(
    colour for colour in PALETTE if colour not in ("#56B4E9", "#7F7F7F", "#000000")
)  # the others are of surfaces and points
DASHES = ("solid", "dash", "dot")  # paths beyond the colours repeat them with another
SURFACE = "#56B4E9"


@dataclass(frozen=True)
class Layer:
    """Something drawn into a cloud, which a click on its name in the legend hides and shows.

    ``kind``: ``path``, a line through the points in their order, whose first one is larger; ``surface``,
    translucent triangles ``facets (m, 3)``, rows of ``xyz``; ``points``; ``rings`` around points. ``xyz (n,
    d)`` in all latents, or ``(n, 3)`` in those drawn. Paths and points can be touched, what lies within
    surfaces and rings too. ``texts``: what each point then says, lines parted by a line feed. ``pictures (n,
    c, h, w)``: the picture of each point, of the same kind and size as those of the codes. ``shown``: whether
    it is to be seen at first.
    """

    name: str
    kind: Literal["path", "surface", "points", "rings"]
    xyz: np.ndarray
    facets: np.ndarray | None = None
    texts: Sequence[str] = ()
    pictures: np.ndarray | None = None
    colour: str | None = None
    shown: bool = True


def drawn_latents(codes: np.ndarray) -> list[int]:
    """The three latents of highest variance of ``codes (N, d)``, d >= 3, in their order."""
    return sorted(np.argsort(-codes.var(0), kind="stable")[:3].tolist())


def cloud(
    codes: np.ndarray,
    targets: Sequence[Target],
    *,
    pictures: np.ndarray | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    layers: Sequence[Layer] = (),
    axes: Sequence[int] | None = None,
):
    """A plotly figure of ``codes (N, d)``, d >= 3, in the latents ``axes`` (None: see :func:`drawn_latents`),
    every code a point.

    ``targets``: the factors in the menu "colour by" with their values ``(N,)``. ``pictures (N, c, h, w)`` or
    ``(N, h, w)``: the picture of each code, uint8, or other numbers within ``value_range``; a page shows that
    of the point under the cursor, enlarged, with the values of its factors. Classes beyond the palette's
    eight repeat its colours with another symbol, shown beside their names. ValueError where numbers of
    points, pictures and texts differ.
    """
    import plotly.graph_objects as go

    axes = drawn_latents(codes) if axes is None else [int(i) for i in axes]
    names = [f"z{i}" for i in axes]
    if pictures is not None and len(pictures) != len(codes):
        raise ValueError(f"{len(pictures)} pictures of {len(codes)} codes")
    tiles, meta = _sprite([pictures, *(layer.pictures for layer in layers)], value_range)
    xyz = _drawn(codes, axes)
    said = _joined([_placed(names, xyz), *(_valued(factor, values) for factor, values in targets)])
    markers = [_marker(target) for target in targets] or [{"color": PALETTE[0]}]
    # Fainter where there are layers, which are to be seen through it.
    look = {"size": 2.5 if len(codes) > 500 else 4, "opacity": 0.65 if layers else 0.85}
    traces = [
        go.Scatter3d(
            **_xyz(xyz),
            mode="markers",
            marker={**look, **markers[0]},
            name="codes",
            **_touched(said, tiles[0], len(xyz)),
        )
    ]
    number = 0
    for layer, first in zip(layers, tiles[1:], strict=True):
        traces.append(_trace(go, layer, _drawn(layer.xyz, axes), names, first, number))
        number += layer.kind == "path"
    fig = go.Figure(traces)
    fig.update_traces(showlegend=bool(layers))
    buttons = [
        # The colours of the codes alone, trace 0: without a number all layers would change.
        {
            "label": _plain(factor.name),
            "method": "restyle",
            "args": [{f"marker.{key}": [value] for key, value in _flat(marker)}, [0]],
        }
        for (factor, _), marker in zip(targets, markers, strict=False)
    ]
    menu = {
        "buttons": buttons,
        "x": 0,
        "xanchor": "left",
        "y": 1.0,
        "yanchor": "bottom",
        "showactive": True,
        "pad": {"l": 62, "b": 8},
    }
    words = {
        "text": "colour by",
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": 1.0,
        "yref": "paper",
        "yanchor": "bottom",
        "yshift": 14,
    }
    fig.update_layout(
        scene={"camera": {"eye": {"x": 1.45, "y": 1.45, "z": 0.95}, "center": {"x": 0, "y": 0, "z": -0.12}}}
        | {f"{side}axis": {"title": {"text": name}} for side, name in zip("xyz", names, strict=True)},
        updatemenus=[menu] if buttons else [], annotations=[words | {"showarrow": False}] if buttons else [],
        legend={"x": 0, "y": 0.99, "itemsizing": "constant", "bgcolor": "rgba(255,255,255,0.7)"},
        margin={"l": 0, "r": 0, "t": 60, "b": 0}, width=800, height=650, template="plotly_white", meta=meta,
    )  # fmt: skip
    return fig


# ---------------------------------------------------------------- points and what they say
def _drawn(points: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Points ``(n, d)`` or ``(n, 3)`` in the latents that are drawn, ``(n, 3)``."""
    points = np.asarray(points)
    return points if points.shape[1] == 3 and max(axes) > 2 else points[:, list(axes)]


def _xyz(points: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip("xyz", np.round(points.T, 4).astype(np.float32), strict=True))


def _number(values: np.ndarray) -> np.ndarray:
    return np.char.mod("%.3g", np.asarray(values, dtype=float))


def _placed(names: Sequence[str], xyz: np.ndarray) -> np.ndarray:
    """``z0 0.12, z1 -1, z2 3``, one a point."""
    parts = [np.char.add(f"{name} ", _number(values)) for name, values in zip(names, xyz.T, strict=True)]
    return reduce(lambda a, b: np.char.add(np.char.add(a, ", "), b), parts)


def _valued(factor: Factor, values: np.ndarray) -> np.ndarray:
    """``variance_x: 1.3 px``, one a point; classes by their names."""
    if factor.kind == "categorical":
        names = np.asarray(category_names(factor), dtype=str)
        return np.char.add(f"{factor.name}: ", names[np.rint(values).astype(int)])
    unit = f" {factor.unit}" if factor.unit else ""
    return np.char.add(np.char.add(f"{factor.name}: ", _number(values)), unit)


def _joined(lines: Iterable[np.ndarray]) -> np.ndarray:
    return reduce(lambda a, b: np.char.add(np.char.add(a, "\n"), b), lines)


def _plain(text: str) -> str:
    """Text that plotly, which knows some markup and fills in ``%{...}``, shows as it is."""
    return escape(text, quote=False).replace("%{", "&#37;{")


def _touched(said: np.ndarray, first: int | None, n: int) -> dict[str, Any]:
    """What n points show when touched: where they have pictures, which begin with the tile ``first``, the
    page shows text and picture together; else plotly the text."""
    if len(said) != n:
        raise ValueError(f"{len(said)} texts of {n} points")
    if first is not None:
        return {"hoverinfo": "none", "customdata": said.tolist(), "meta": {"tile": first}}
    return {"hoverinfo": "text", "text": [_plain(text).replace("\n", "<br>") for text in said.tolist()]}


def _sprite(
    pictures: Sequence[np.ndarray | None], value_range: tuple[float, float]
) -> tuple[list[int | None], dict | None]:
    """Where the tiles of each group of pictures begin, and the sheet that holds them all (see
    :func:`sprite`)."""
    small = [None if some is None or not len(some) else thumbnails(some, value_range) for some in pictures]
    there = [some for some in small if some is not None]
    if not there:
        return [None] * len(small), None
    if len({some.shape[1:] for some in there}) > 1:
        raise ValueError(
            f"pictures of different shapes: {', '.join(sorted({str(some.shape[1:]) for some in there}))}"
        )
    ends = np.cumsum([0 if some is None else len(some) for some in small])
    return [
        None if some is None else int(end) - len(some) for some, end in zip(small, ends, strict=True)
    ], sprite(np.concatenate(there))


# ---------------------------------------------------------------- layers
def _trace(go, layer: Layer, xyz: np.ndarray, names: Sequence[str], first: int | None, number: int):
    """A layer; ``number`` counts paths."""
    shared = {**_xyz(xyz), "name": _plain(layer.name), "visible": True if layer.shown else "legendonly"}
    if layer.kind == "surface":
        facets = dict(zip("ijk", np.asarray(layer.facets).T.tolist(), strict=True))
        return go.Mesh3d(
            **shared, **facets, color=layer.colour or SURFACE, opacity=0.1, flatshading=True, hoverinfo="skip"
        )
    if layer.kind == "rings":
        ring = {"size": 7, "color": layer.colour or "#000000", "symbol": "circle-open", "line": {"width": 1}}
        return go.Scatter3d(**shared, mode="markers", marker=ring, hoverinfo="skip")
    if layer.pictures is not None and len(layer.pictures) != len(xyz):
        raise ValueError(f"{len(layer.pictures)} pictures of {len(xyz)} points of {layer.name!r}")
    placed = _placed(names, xyz)
    said = np.char.add(
        f"{layer.name}\n",
        placed if not len(layer.texts) else _joined([np.asarray(layer.texts, dtype=str), placed]),
    )
    shared |= _touched(said, first, len(xyz))
    if layer.kind == "points":
        return go.Scatter3d(
            **shared, mode="markers", marker={"size": 4.5, "color": layer.colour or "#000000"}
        )
    colour = layer.colour or LINES[number % len(LINES)]
    sizes = [11.0] + [6.0] * (len(xyz) - 1)
    line = {"color": colour, "width": 6, "dash": DASHES[number // len(LINES) % len(DASHES)]}
    return go.Scatter3d(
        **shared,
        mode="lines+markers",
        line=line,
        marker={"color": colour, "size": sizes, "line": {"width": 0}},
    )


# ---------------------------------------------------------------- colours
def _marker(target: Target) -> dict:
    """Plotly's description of a colouring, in plain lists: a browser reads no numpy, nor matplotlib's colour
    maps by name."""
    factor, values = target
    bar = {
        "title": {"text": _plain(caption(factor)), "side": "top"},
        "tickvals": None,
        "ticktext": None,
        "len": 0.7,
        "thickness": 18,
    }
    if factor.kind == "categorical":
        names = category_names(factor)
        colours, n = [mpl.colors.to_hex(PALETTE[i % len(PALETTE)]) for i in range(len(names))], len(names)
        scale = [[edge / n, colour] for i, colour in enumerate(colours) for edge in (i, i + 1)]
        solid = [SYMBOLS[i // len(PALETTE) % len(SYMBOLS)] for i in range(n)]
        bar |= {
            "tickvals": list(range(n)),
            "ticktext": [_plain(name) + sign for name, (_, sign) in zip(names, solid, strict=True)],
        }
        classes = np.rint(values).astype(int)
        symbols = (
            np.array([symbol for symbol, _ in solid])[classes].tolist() if n > len(PALETTE) else "circle"
        )
        colouring = {"color": classes.tolist(), "cmin": -0.5, "cmax": n - 0.5, "symbol": symbols}
        return {**colouring, "colorscale": scale, "colorbar": bar}
    cmap = colours_of(factor)
    scale = [[float(t), mpl.colors.to_hex(cmap(t))] for t in np.linspace(0, 1, 21)]
    colours = np.round(np.asarray(values, dtype=float), 4).tolist()
    colouring = {"color": colours, "cmin": float(factor.low), "cmax": float(factor.high), "symbol": "circle"}
    return {**colouring, "colorscale": scale, "colorbar": bar}


def _flat(marker: dict) -> Iterator[tuple[str, Any]]:
    """Keys of a colouring as restyle wants them: ``colorbar.title.text`` instead of nested dictionaries."""
    for key, value in marker.items():
        if key == "colorbar":
            yield "colorbar.title.text", value["title"]["text"]
            yield "colorbar.tickvals", value["tickvals"]
            yield "colorbar.ticktext", value["ticktext"]
        else:
            yield key, value
