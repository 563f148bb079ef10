"""Many small images as one PNG within a page: each a tile of it."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
from PIL import Image

from latentrun.plotting.style import picture_colours

SIDE = 36  # pixels of the longer side of a tile; larger images are reduced
SIDES = (SIDE, 24, 16)  # the same, until the PNG is small enough
LARGEST = 1_500_000  # bytes of the PNG
LEVELS = 64  # shades of an image of one channel: more are not told apart, and cost twice the bytes
COLOURS = 256  # of all images of three channels together
CHUNK = 256  # images reduced together


def thumbnails(
    x: Any, value_range: tuple[float, float] = (0.0, 1.0), rows: np.ndarray | None = None, side: int = SIDE
) -> np.ndarray:
    """Images ``(N, c, h, w)`` or ``(N, h, w)``, at most ``side`` pixels a side, as uint8 ``(N, c, h', w')``
    with c = 1 or 3.

    ``x``: an array or a tensor on the CPU; uint8 as it is, other numbers with ``value_range`` as 0 ... 255
    (beyond it cut, NaN as its lower end). ``rows``: only these, in this order. A smaller pixel is the mean of
    the area it covers. ValueError for what is no image.
    """
    shape = tuple(x.shape[1:])
    c, h, w = (1, *shape) if len(shape) == 2 else shape if len(shape) == 3 else (0, 0, 0)
    if c not in (1, 3):
        raise ValueError(f"arrays of shape {shape} are no pictures")
    rows = np.arange(len(x)) if rows is None else rows
    share = min(1.0, side / max(h, w))
    tall, wide = max(1, round(share * h)), max(1, round(share * w))
    down, across = _means(tall, h), _means(wide, w)
    tiles = np.empty((len(rows), c, tall, wide), np.uint8)
    for start in range(0, len(rows), CHUNK):
        part = np.asarray(x[rows[start : start + CHUNK]]).reshape(-1, c, h, w)
        if (tall, wide) == (h, w) and part.dtype == np.uint8:
            tiles[start : start + CHUNK] = part
            continue
        low, high = (0, 255) if part.dtype == np.uint8 else value_range
        grey = np.clip((np.nan_to_num(part.astype(np.float32), nan=low) - low) / (high - low), 0, 1)
        if share < 1:
            grey = down @ grey @ across.T
        tiles[start : start + CHUNK] = np.rint(255 * grey)
    return tiles


def sprite(x: np.ndarray) -> dict[str, Any]:
    """Images ``(N, c, h, w)`` uint8 as tiles of one PNG, in rows of ``columns`` tiles: ``{"sprite": data:
    address, "columns", "width", "height"}``, the size that of a tile in pixels.

    One channel is shown in the colours that the data name, as it is everywhere. Large or many images are
    reduced once more, until the PNG has at most ``LARGEST`` bytes, or they can be no smaller.
    """
    for side in SIDES:
        tiles = thumbnails(x, side=side)
        png, columns = _png(tiles)
        if len(png) <= LARGEST:
            break
    address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return {"sprite": address, "columns": columns, "width": tiles.shape[3], "height": tiles.shape[2]}


def _png(tiles: np.ndarray) -> tuple[bytes, int]:
    """The PNG of a sheet of tiles, and how many stand side by side: as many as make it about square."""
    n, c, h, w = tiles.shape
    columns = max(1, math.ceil(math.sqrt(n * h / w)))
    rows = -(-n // columns)
    sheet = np.zeros((rows * columns, h, w, c), np.uint8)
    sheet[:n] = tiles.transpose(0, 2, 3, 1)
    sheet = sheet.reshape(rows, columns, h, w, c).swapaxes(1, 2).reshape(rows * h, columns * w, c)
    if c == 1:
        image = Image.fromarray(np.rint(sheet[..., 0] * ((LEVELS - 1) / 255)).astype(np.uint8))
        colours = 255 * picture_colours()(np.linspace(0, 1, LEVELS))[:, :3]
        image.putpalette(colours.round().astype(np.uint8).tobytes())
    else:
        method, dither = Image.Quantize.FASTOCTREE, Image.Dither.NONE
        image = Image.fromarray(sheet).quantize(COLOURS, method, dither=dither)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue(), columns


def _means(n: int, m: int) -> np.ndarray:
    """Weights ``(n, m)`` with which m pixels in a row become n: the share of each in the area that a new one
    covers."""
    edges, old = np.linspace(0, m, n + 1)[:, None], np.arange(m)
    overlap = np.minimum(edges[1:], old + 1) - np.maximum(edges[:-1], old)
    return (np.clip(overlap, 0, None) * (n / m)).astype(np.float32)
