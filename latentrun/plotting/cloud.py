"""Codes as a cloud to turn: coloured by any factor from a menu, with the image of each point, paths and hulls
as layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from html import escape
from typing import Any, Literal

import matplotlib as mpl
import numpy as np

from latentrun.functional.factors import Target
from latentrun.plotting.scatter import caption, colours_of
from latentrun.plotting.sprite import sprite, thumbnails
from latentrun.plotting.style import PALETTE, palette_of
from latentrun.types import Factor

TURNED = 1000  # points with a picture each: more make large pages, and hide each other
# Of classes beyond the palette, with their signs.
SYMBOLS = (("circle", ""), ("diamond", " \u25c6"), ("square", " \u25a0"), ("x", " \u2715"))
# Of paths; the other colours are of surfaces and points.
LINES = tuple(colour for colour in PALETTE if colour not in ("#56B4E9", "#7F7F7F", "#000000"))
DASHES = ("solid", "dash", "dot")  # paths beyond the colours repeat them with another
SURFACE = "#56B4E9"


@dataclass(frozen=True)
class Layer:
    """Something drawn into a cloud, which a click on its name in the legend hides and shows.

    ``kind``: ``path``, a line through the points in their order, whose first one is larger; ``surface``,
    translucent triangles ``facets (m, 3)``, rows of ``xyz``; ``points``; ``rings`` around points. ``xyz (n,
    d)`` in all latents, or ``(n, 3)`` in those drawn. Paths and points can be touched, what lies within
    surfaces and rings too. ``texts``: what each point then says, lines parted by a line feed. ``images (n, c,
    h, w)``: the image of each point, of the same kind and size as those of the codes. ``shown``: whether it
    is to be seen at first.
    """

    name: str
    kind: Literal["path", "surface", "points", "rings"]
    xyz: np.ndarray
    facets: np.ndarray | None = None
    texts: Sequence[str] = ()
    images: np.ndarray | None = None
    colour: str | None = None
    shown: bool = True


def drawn_latents(codes: np.ndarray) -> list[int]:
    """The three latents of highest variance of ``codes (N, d)``, d >= 3, in their order."""
    return sorted(np.argsort(-codes.var(0), kind="stable")[:3].tolist())


def cloud(
    codes: np.ndarray,
    targets: Sequence[Target],
    *,
    images: np.ndarray | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    layers: Sequence[Layer] = (),
    axes: Sequence[int] | None = None,
    outline: np.ndarray | None = None,
):
    """A plotly figure of ``codes (N, d)``, d >= 3, in the latents ``axes`` (None: see :func:`drawn_latents`),
    every code a point.

    ``targets``: the factors in the menu "colour by" with their values ``(N,)``. ``images (N, c, h, w)`` or
    ``(N, h, w)``: the image of each code, uint8, or other numbers within ``value_range``; a page shows that
    of the point under the cursor, enlarged, with the values of its factors. Classes beyond the palette's
    eight repeat its colours with another symbol, shown beside their names. ValueError where numbers of
    points, images and texts differ.

    ``outline (K, T, 3)``: curves of a space on which the codes ``(N, 3)`` lie; its scale is then one in all
    directions, and coordinates are not named.
    """
    import plotly.graph_objects as go

    axes = drawn_latents(codes) if axes is None else [int(i) for i in axes]
    if images is not None and len(images) != len(codes):
        raise ValueError(f"{len(images)} pictures of {len(codes)} codes")
    tiles, sheet = _sprite([images, *(layer.images for layer in layers)], value_range)
    markers = [_marker(target) for target in targets] or [{"color": PALETTE[0]}]
    fig = go.Figure(
        [
            _codes(go, codes, targets, axes, markers[0], tiles[0], bool(layers), outline is None),
            *_layers(go, layers, axes, tiles[1:]),
            *([] if outline is None else [_wires(go, outline)]),
        ]
    )
    fig.update_traces(showlegend=bool(layers))
    fig.update_layout(_layout(axes, [factor for factor, _ in targets], markers), meta=sheet)
    if outline is not None:
        plain = {f"{side}axis": {"visible": False} for side in "xyz"}
        fig.update_scenes(aspectmode="data", **plain)
    return fig


def _codes(
    go,
    codes: np.ndarray,
    targets: Sequence[Target],
    axes: Sequence[int],
    marker: dict,
    first: int | None,
    faint: bool,
    placed: bool,
):
    """The codes as points, ``faint`` where layers are to be seen through them; with their coordinates in what
    they say where they are ``placed`` or there is nothing else."""
    xyz = _drawn(codes, axes)
    lines = [_valued(factor, values) for factor, values in targets]
    texts = _joined([_placed(axes, xyz), *lines] if placed or not lines else lines)
    look = {"size": 2.5 if len(codes) > 500 else 4, "opacity": 0.65 if faint else 0.85}
    touch = _touched(texts, first, len(xyz))
    return go.Scatter3d(**_xyz(xyz), mode="markers", marker={**look, **marker}, name="codes", **touch)


def _layout(axes: Sequence[int], factors: Sequence[Factor], markers: Sequence[dict]) -> dict[str, Any]:
    """Camera and axes, and the menu of the factors that colour the codes."""
    titles = {f"{side}axis": {"title": {"text": f"z{i}"}} for side, i in zip("xyz", axes, strict=True)}
    camera = {"eye": {"x": 1.45, "y": 1.45, "z": 0.95}, "center": {"x": 0, "y": 0, "z": -0.12}}
    layout = {
        "scene": {"camera": camera} | titles,
        "legend": {"x": 0, "y": 0.99, "itemsizing": "constant", "bgcolor": "rgba(255,255,255,0.7)"},
        "margin": {"l": 0, "r": 0, "t": 60, "b": 0},
        "width": 800,
        "height": 650,
        "template": "plotly_white",
        "updatemenus": [],
        "annotations": [],
    }
    if not factors:
        return layout
    corner = {"x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom"}
    place = {"showactive": True, "pad": {"l": 62, "b": 8}}
    label = {"text": "colour by", "xref": "paper", "yref": "paper", "yshift": 14, "showarrow": False}
    buttons = [_button(factor, marker) for factor, marker in zip(factors, markers, strict=True)]
    return layout | {
        "updatemenus": [{"buttons": buttons, **corner, **place}],
        "annotations": [{**corner, **label}],
    }


def _button(factor: Factor, marker: dict) -> dict[str, Any]:
    """Colours the codes by a factor: trace 0 alone, for without a number all layers would change."""
    changes = {f"marker.{key}": [value] for key, value in _flat(marker)}
    return {"label": _plain(factor.name), "method": "restyle", "args": [changes, [0]]}


# ---------------------------------------------------------------- points and what they say
def _drawn(points: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Points ``(n, d)`` or ``(n, 3)`` in the latents that are drawn, ``(n, 3)``."""
    points = np.asarray(points)
    return points if points.shape[1] == 3 and max(axes) > 2 else points[:, list(axes)]


def _xyz(points: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip("xyz", np.round(points.T, 4).astype(np.float32), strict=True))


def _number(values: np.ndarray) -> np.ndarray:
    return np.char.mod("%.3g", np.asarray(values, dtype=float))


def _placed(axes: Sequence[int], xyz: np.ndarray) -> np.ndarray:
    """``z0 0.12, z1 -1, z2 3``, one a point."""
    texts = [np.char.add(f"z{i} ", _number(values)) for i, values in zip(axes, xyz.T, strict=True)]
    return reduce(lambda a, b: np.char.add(np.char.add(a, ", "), b), texts)


def _valued(factor: Factor, values: np.ndarray) -> np.ndarray:
    """``variance_x: 1.3 px``, one a point; classes by their names."""
    if factor.kind == "categorical":
        names = np.asarray(factor.classes, dtype=str)
        return np.char.add(f"{factor.name}: ", names[np.rint(values).astype(int)])
    unit = f" {factor.unit}" if factor.unit else ""
    return np.char.add(np.char.add(f"{factor.name}: ", _number(values)), unit)


def _joined(lines: Iterable[np.ndarray]) -> np.ndarray:
    return reduce(lambda a, b: np.char.add(np.char.add(a, "\n"), b), lines)


def _plain(text: str) -> str:
    """Text that plotly, which knows some markup and fills in ``%{...}``, shows as it is."""
    return escape(text, quote=False).replace("%{", "&#37;{")


def _touched(texts: np.ndarray, first: int | None, n: int) -> dict[str, Any]:
    """What n points show when touched: where they have images, which begin with the tile ``first``, the page
    shows text and image together; else plotly the text."""
    if len(texts) != n:
        raise ValueError(f"{len(texts)} texts of {n} points")
    if first is not None:
        return {"hoverinfo": "none", "customdata": texts.tolist(), "meta": {"tile": first}}
    return {"hoverinfo": "text", "text": [_plain(text).replace("\n", "<br>") for text in texts.tolist()]}


def _sprite(
    groups: Sequence[np.ndarray | None], value_range: tuple[float, float]
) -> tuple[list[int | None], dict | None]:
    """Where the tiles of each group of images begin, None for a group without, and the sheet that holds them
    all (see :func:`sprite`)."""
    firsts, tiles, count = [], [], 0
    for images in groups:
        if images is None or not len(images):
            firsts.append(None)
            continue
        firsts.append(count)
        tiles.append(thumbnails(images, value_range))
        count += len(images)
    shapes = {group.shape[1:] for group in tiles}
    if len(shapes) > 1:
        raise ValueError(f"pictures of different shapes: {', '.join(sorted(map(str, shapes)))}")
    return firsts, sprite(np.concatenate(tiles)) if tiles else None


# ---------------------------------------------------------------- layers
def _layers(go, layers: Sequence[Layer], axes: Sequence[int], firsts: Sequence[int | None]) -> Iterator:
    """The traces of all layers; ``firsts``: where their images begin."""
    paths = 0
    for layer, first in zip(layers, firsts, strict=True):
        xyz = _drawn(layer.xyz, axes)
        shared = {**_xyz(xyz), "name": _plain(layer.name), "visible": layer.shown or "legendonly"}
        match layer.kind:
            case "surface":
                yield _surface(go, layer, shared)
            case "rings":
                edge = {"symbol": "circle-open", "line": {"width": 1}}
                ring = {"size": 7, "color": layer.colour or "#000000", **edge}
                yield go.Scatter3d(**shared, mode="markers", marker=ring, hoverinfo="skip")
            case "points":
                dot = {"size": 4.5, "color": layer.colour or "#000000"}
                touch = _touched_layer(layer, xyz, axes, first)
                yield go.Scatter3d(**shared, **touch, mode="markers", marker=dot)
            case "path":
                touch = _touched_layer(layer, xyz, axes, first)
                yield _path(go, layer, shared | touch, paths)
                paths += 1


def _surface(go, layer: Layer, shared: dict[str, Any]):
    facets = dict(zip("ijk", np.asarray(layer.facets).T.tolist(), strict=True))
    look = {"color": layer.colour or SURFACE, "opacity": 0.1, "flatshading": True, "hoverinfo": "skip"}
    return go.Mesh3d(**shared, **facets, **look)


def _wires(go, outline: np.ndarray):
    """Curves ``(K, T, 3)`` as one thin grey trace: a gap parts each from the next."""
    gap = np.full((len(outline), 1, 3), np.nan)
    xyz = np.concatenate([outline, gap], axis=1).reshape(-1, 3)
    look = {"color": "#bbbbbb", "width": 1.5}
    return go.Scatter3d(**_xyz(xyz), mode="lines", line=look, name="space", hoverinfo="skip")


def _path(go, layer: Layer, shared: dict[str, Any], number: int):
    """The ``number``-th path; its first point is larger."""
    colour = layer.colour or LINES[number % len(LINES)]
    line = {"color": colour, "width": 6, "dash": DASHES[number // len(LINES) % len(DASHES)]}
    sizes = [11.0] + [6.0] * (len(layer.xyz) - 1)
    marker = {"color": colour, "size": sizes, "line": {"width": 0}}
    return go.Scatter3d(**shared, mode="lines+markers", line=line, marker=marker)


def _touched_layer(layer: Layer, xyz: np.ndarray, axes: Sequence[int], first: int | None) -> dict[str, Any]:
    """What the points of a layer show when touched."""
    if layer.images is not None and len(layer.images) != len(xyz):
        raise ValueError(f"{len(layer.images)} pictures of {len(xyz)} points of {layer.name!r}")
    texts = _placed(axes, xyz)
    if len(layer.texts):
        texts = _joined([np.asarray(layer.texts, dtype=str), texts])
    return _touched(np.char.add(f"{layer.name}\n", texts), first, len(xyz))


# ---------------------------------------------------------------- colours
def _marker(target: Target) -> dict:
    """Plotly's description of a colouring, in plain lists: a browser reads no numpy, nor matplotlib's colour
    maps by name."""
    factor, values = target
    title = {"text": _plain(caption(factor)), "side": "top"}
    bar = {"title": title, "tickvals": None, "ticktext": None, "len": 0.7, "thickness": 18}
    if factor.kind == "categorical":
        return _class_marker(factor, np.rint(values).astype(int), bar)
    cmap = colours_of(factor)
    return {
        "color": np.round(np.asarray(values, dtype=float), 4).tolist(),
        "cmin": float(factor.low),
        "cmax": float(factor.high),
        "symbol": "circle",
        "colorscale": [[float(t), mpl.colors.to_hex(cmap(t))] for t in np.linspace(0, 1, 21)],
        "colorbar": bar,
    }


def _class_marker(factor: Factor, classes: np.ndarray, bar: dict) -> dict:
    """A colour for each class, beyond the palette's with another symbol."""
    names = factor.classes
    n = len(names)
    palette = palette_of(n)
    colours = [mpl.colors.to_hex(palette[i % len(palette)]) for i in range(n)]
    symbols = [SYMBOLS[i // len(palette) % len(SYMBOLS)] for i in range(n)]
    ticks = [_plain(name) + sign for name, (_, sign) in zip(names, symbols, strict=True)]
    symbol = "circle"
    if n > len(palette):
        symbol = np.array([name for name, _ in symbols])[classes].tolist()
    return {
        "color": classes.tolist(),
        "cmin": -0.5,
        "cmax": n - 0.5,
        "symbol": symbol,
        "colorscale": [[edge / n, colour] for i, colour in enumerate(colours) for edge in (i, i + 1)],
        "colorbar": bar | {"tickvals": list(range(n)), "ticktext": ticks},
    }


def _flat(marker: dict) -> Iterator[tuple[str, Any]]:
    """Keys of a colouring as restyle wants them: ``colorbar.title.text`` instead of nested dictionaries."""
    for key, value in marker.items():
        if key == "colorbar":
            yield "colorbar.title.text", value["title"]["text"]
            yield "colorbar.tickvals", value["tickvals"]
            yield "colorbar.ticktext", value["ticktext"]
        else:
            yield key, value
