"""Pictures of examples: grids and labelled strips."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.textpath import TextPath

from latentrun.plotting.style import SEQUENTIAL, figure


def canvas(
    x: np.ndarray, columns: int, pad: int = 1, value_range: tuple[float, float] = (0.0, 1.0), gap: float = 1.0
) -> np.ndarray:
    """Tile pictures ``(n, c, h, w)`` into one array ``(H, W)`` (one channel) or ``(H, W, 3)``, scaled to [0,
    1].

    Gaps of ``pad`` pixels and missing tiles of the last row hold ``gap``: 1 is white in grey and colour
    pictures, NaN is transparent under a colour map.
    """
    low, high = value_range
    x = np.clip((np.asarray(x, dtype=np.float32) - low) / (high - low), 0, 1)
    n, c, h, w = x.shape
    rows = -(-n // columns)
    sheet = np.full((rows, columns, h + pad, w + pad, c), gap, np.float32)
    sheet.reshape(rows * columns, h + pad, w + pad, c)[:n, :h, :w] = x.transpose(0, 2, 3, 1)
    sheet = sheet.transpose(0, 2, 1, 3, 4).reshape(rows * (h + pad), columns * (w + pad), c)[
        : -pad or None, : -pad or None
    ]
    return sheet[..., 0] if c == 1 else sheet


def _draw(ax: Axes, sheet: np.ndarray) -> None:
    """A sheet of pictures into an axes without frame or ticks; one channel under the sequential colour
    map."""
    ax.imshow(
        sheet,
        cmap=SEQUENTIAL if sheet.ndim == 2 else None,
        vmin=0,
        vmax=1,
        interpolation="nearest",
        interpolation_stage="data",
    )
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def show(ax: Axes, x: np.ndarray, columns: int, value_range=(0.0, 1.0)) -> None:
    """Draw tiled pictures ``(n, c, h, w)`` into an axes without frame or ticks."""
    _draw(ax, canvas(x, columns, value_range=value_range, gap=np.nan if x.shape[1] == 1 else 1.0))


def grid(x: np.ndarray, value_range=(0.0, 1.0), width: float = 5.0):
    """A figure of pictures ``(n, c, h, w)`` in about as many rows as columns, ``width`` inches wide."""
    columns = math.ceil(math.sqrt(len(x)))
    rows = -(-len(x) // columns)
    fig, axes = figure(1, 1, width=width, height=width / columns * rows * x.shape[2] / x.shape[3])
    show(axes[0, 0], x, columns, value_range)
    return fig


def strips(
    rows: Sequence[tuple[str, np.ndarray]],
    value_range=(0.0, 1.0),
    tile: float = 0.55,
    columns: Sequence[str] = (),
    lead: int = 0,
    under: Sequence[Sequence[str]] = (),
):
    """A figure of labelled rows of pictures: each ``(label, (n, c, h, w))``; ``tile`` inches the width of a
    picture.

    ``columns``: labels under the columns (empty strings for none). ``lead``: so many first pictures of each
    row stand apart from the rest by a third of a picture. ``under``: for each row a text beneath each of its
    pictures. Shorter rows end early.
    """
    n = max(len(x) for _, x in rows)
    c, h, w = rows[0][1].shape[1:]
    empty = np.nan if c == 1 else 1.0
    short = np.full((len(rows), n, c, h, w), np.nan, np.float32)
    for i, (_, x) in enumerate(rows):
        short[i, : len(x)] = x
    pad = max(1, round(w / 20))
    sheet = canvas(short.reshape(-1, c, h, w), n, pad, value_range, empty)
    if c > 1:
        sheet = np.nan_to_num(sheet, nan=1.0)
    space = max(1, w // 3) if lead else 0
    sheet = np.insert(sheet, [lead * (w + pad)] * space, empty, axis=1)
    inches = tile / w
    band = math.ceil(0.13 / inches) if under else 0  # room for a line of text
    sheet = np.insert(sheet, np.repeat((h + pad) * np.arange(len(rows)) + h, band), empty, axis=0)
    size = 8
    # Exact places instead of a layout engine: engines fail for pictures of fixed shape beside long labels.
    left = 0.1 + max(TextPath((0, 0), label or " ", size=size).get_extents().width for label, _ in rows) / 72
    below = 0.08 + 0.14 * max(label.count("\n") + 1 for label in columns) if any(columns) else 0.04
    width, height = left + inches * sheet.shape[1] + 0.04, below + inches * sheet.shape[0] + 0.04
    fig, axes = figure(1, 1, width=width, height=height)
    fig.set_layout_engine("none")
    ax = axes[0, 0]
    ax.set_position(
        (left / width, below / height, inches * sheet.shape[1] / width, inches * sheet.shape[0] / height)
    )
    _draw(ax, sheet)
    at = (w + pad) * np.arange(n) + (w - 1) / 2 + space * (np.arange(n) >= lead)
    top = (h + pad + band) * np.arange(len(rows))
    ax.set_yticks(top + (h - 1) / 2, [label for label, _ in rows])
    for y, texts in zip(top + h - 0.5 + band / 2, under, strict=False):
        for x, text in zip(at, texts, strict=False):
            ax.text(x, y, text, ha="center", va="center", fontsize=6.5)
    if any(columns):
        ax.set_xticks(at[: len(columns)], list(columns))
    ax.tick_params(length=0, labelsize=size)
    return fig


def squares(x: np.ndarray, value_range: tuple[float, float], titles: Sequence[str], axes: Sequence[str]):
    """A figure of S squares of pictures ``(S, rows, columns, c, h, w)`` side by side, each with its title;
    ``axes``: what runs along columns and, where there are two, up the rows."""
    count, rows, columns, _, h, w = x.shape
    width = max(1.4, min(6.0, 0.32 * columns)) if count == 1 else 1.9
    fig, panels = figure(1, count, width=width, height=width * (rows * h) / (columns * w) + 0.35)
    for ax, pictures, title in zip(panels[0], x, titles, strict=True):
        show(ax, pictures.reshape(rows * columns, *pictures.shape[2:]), columns, value_range)
        ax.set(title=title, xlabel=axes[0])
    if len(axes) > 1:
        panels[0, 0].set_ylabel(axes[1])
    return fig
