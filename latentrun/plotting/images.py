"""Images of examples: grids and labelled strips."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from PIL import Image, ImageChops

from latentrun.plotting.style import figure, legible, picture_colours

LABEL = 8  # points, of the text beside strips
# By how much of 255 a picture of 256 colours may differ from the whole one: on average; anywhere but in a
# hundred-thousandth of the pixels, so that no small mark loses its colour.
UNSEEN, UNSEEN_ANYWHERE, RARE = 1.5, 64, 1e-5
# A mark of a legend is few pixels, all of one colour, by which it is told from the next.
MARK, UNSEEN_IN_MARK = 16, 16
HALF = 2.0**15  # the largest number of half precision is a little below twice this
SMALL = 48_000  # bytes of a PNG of which nothing is to be gained


def canvas(
    x: np.ndarray, columns: int, pad: int = 1, value_range: tuple[float, float] = (0.0, 1.0), gap: float = 1.0
) -> np.ndarray:
    """Tile images ``(n, c, h, w)`` into one array ``(H, W)`` (one channel) or ``(H, W, 3)``, scaled to [0,
    1].

    Gaps of ``pad`` pixels and missing tiles of the last row hold ``gap``: 1 is white in grey and colour
    images, NaN is transparent under a colour map.
    """
    low, high = value_range
    x = np.clip((np.asarray(x, dtype=np.float32) - low) / (high - low), 0, 1)
    n, c, h, w = x.shape
    rows = -(-n // columns)
    sheet = np.full((rows, columns, h + pad, w + pad, c), gap, np.float32)
    sheet.reshape(rows * columns, h + pad, w + pad, c)[:n, :h, :w] = x.transpose(0, 2, 3, 1)
    sheet = sheet.transpose(0, 2, 1, 3, 4).reshape(rows * (h + pad), columns * (w + pad), c)
    sheet = sheet[: -pad or None, : -pad or None]
    return sheet[..., 0] if c == 1 else sheet


def halved(x: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Pictures for the disk: half-precision numbers where these are exact to less than half of one of 256
    shades of the ``value_range``, else as they are."""
    low, high = value_range
    return x.astype(np.float16) if max(abs(low), abs(high)) <= min(2 * (high - low), HALF) else x


def _draw(ax: Axes, sheet: np.ndarray) -> None:
    """A sheet of images into an axes without frame or ticks; one channel in the colours that the data
    name."""
    ax.imshow(
        sheet,
        cmap=picture_colours() if sheet.ndim == 2 else None,
        vmin=0,
        vmax=1,
        interpolation="nearest",
        interpolation_stage="data",
    )
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def show(ax: Axes, x: np.ndarray, columns: int, value_range=(0.0, 1.0)) -> None:
    """Draw tiled images ``(n, c, h, w)`` into an axes without frame or ticks."""
    _draw(ax, canvas(x, columns, value_range=value_range, gap=np.nan if x.shape[1] == 1 else 1.0))


def grid(x: np.ndarray, value_range=(0.0, 1.0), width: float = 5.0) -> Figure:
    """A figure of images ``(n, c, h, w)`` in about as many rows as columns, ``width`` inches wide."""
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
) -> Figure:
    """A figure of labelled rows of images: each ``(label, (n, c, h, w))``; ``tile`` inches the width of an
    image.

    ``columns``: labels under the columns (empty strings for none). ``lead``: so many first images of each
    row stand apart from the rest by a third of an image. ``under``: for each row a text beneath each of its
    images. Shorter rows end early.
    """
    tiles, pad = _rows_of_tiles([x for _, x in rows])
    count, n, c, h, w = tiles.shape
    empty = np.nan if c == 1 else 1.0
    sheet = canvas(tiles.reshape(-1, c, h, w), n, pad, value_range, empty)
    if c > 1:
        sheet = np.nan_to_num(sheet, nan=1.0)
    inches = tile / w
    space = max(1, w // 3) if lead else 0
    labels = [label for label, _ in rows]
    left = _beside(labels)
    letters = legible(left + inches * (n * (w + pad) + space), 6.5)
    lines = max((text.count("\n") + 1 for texts in under for text in texts), default=0)
    band = math.ceil(lines * letters / 50 / inches)  # room for lines of text
    sheet = np.insert(sheet, [lead * (w + pad)] * space, empty, axis=1)
    sheet = np.insert(sheet, np.repeat((h + pad) * np.arange(count) + h, band), empty, axis=0)
    fig, ax = _exact_axes(left, inches * sheet.shape[1], inches * sheet.shape[0], columns)
    _draw(ax, sheet)
    x_middle = (w + pad) * np.arange(n) + (w - 1) / 2 + space * (np.arange(n) >= lead)
    y_top = (h + pad + band) * np.arange(count)
    ax.set_yticks(y_top + (h - 1) / 2, labels)
    for y, texts in zip(y_top + h - 0.5 + band / 2, under, strict=False):
        for x, text in zip(x_middle, texts, strict=False):
            ax.text(x, y, text, ha="center", va="center", fontsize=letters)
    if any(columns):
        ax.set_xticks(x_middle[: len(columns)], list(columns))
    ax.tick_params(length=0, labelsize=LABEL)
    return fig


def _rows_of_tiles(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """Rows of images ``(n, c, h, w)`` as one array ``(rows, most, c, h, w)``, NaN where a row ends early; and
    the pixels between two images."""
    tiles = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), np.nan, np.float32)
    for i, x in enumerate(rows):
        tiles[i, : len(x)] = x
    return tiles, max(1, round(tiles.shape[-1] / 20))


def _beside(labels: Sequence[str]) -> float:
    """Inches that labels take beside what they name."""
    widest = max(TextPath((0, 0), label or " ", size=LABEL).get_extents().width for label in labels)
    return 0.1 + widest / 72


def _exact_axes(left: float, width: float, height: float, columns: Sequence[str]) -> tuple[Figure, Axes]:
    """Axes of a size in inches, with so many ``left`` of them and room for labels of ``columns`` below. Exact
    places instead of a layout engine: engines fail for images of fixed shape beside long labels."""
    below = 0.04
    if any(columns):
        below = 0.08 + 0.14 * max(label.count("\n") + 1 for label in columns)
    whole = left + width + 0.04, below + height + 0.04
    fig, axes = figure(1, 1, width=whole[0], height=whole[1])
    fig.set_layout_engine("none")
    ax = axes[0, 0]
    ax.set_position((left / whole[0], below / whole[1], width / whole[0], height / whole[1]))
    return fig, ax


def squares(
    x: np.ndarray, value_range: tuple[float, float], titles: Sequence[str], axes: Sequence[str]
) -> Figure:
    """A figure of S squares of images ``(S, rows, columns, c, h, w)`` side by side, each with its title;
    ``axes``: what runs along columns and, where there are two, up the rows."""
    count, rows, columns, _, h, w = x.shape
    width = max(1.4, min(6.0, 0.32 * columns)) if count == 1 else 1.9
    fig, panels = figure(1, count, width=width, height=width * (rows * h) / (columns * w) + 0.35)
    for ax, images, title in zip(panels[0], x, titles, strict=True):
        show(ax, images.reshape(rows * columns, *images.shape[2:]), columns, value_range)
        ax.set(title=title, xlabel=axes[0])
    if len(axes) > 1:
        panels[0, 0].set_ylabel(axes[1])
    return fig


def smaller(png: bytes) -> bytes:
    """The picture in a PNG, with 256 colours and so in half the bytes where the eye sees no difference; else
    with all that it has, and so one that is small already."""
    if len(png) < SMALL:
        return png
    with Image.open(io.BytesIO(png)) as picture:
        whole, info = picture.convert("RGB"), picture.info
    few = whole.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    difference = ImageChops.difference(whole, few.convert("RGB"))
    counts = np.array(difference.histogram()).reshape(3, 256)
    pixels = whole.width * whole.height
    seen = (counts @ np.arange(256)).max() > UNSEEN * pixels
    seen |= counts[:, UNSEEN_ANYWHERE + 1 :].sum() > RARE * pixels
    if not seen:
        changed = np.asarray(whole, np.int32)[(np.asarray(difference) > UNSEEN_IN_MARK).any(axis=2)]
        seen = np.unique(changed @ [65536, 256, 1], return_counts=True)[1].max(initial=0) >= MARK
    content = io.BytesIO()
    (whole if seen else few).save(content, "png", dpi=info.get("dpi"))
    return min(png, content.getvalue(), key=len)
