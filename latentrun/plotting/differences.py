"""Images, what a model made of them, and the signed difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from latentrun.plotting.images import canvas
from latentrun.plotting.style import DIVERGING, figure, picture_colours


def coloured(x: np.ndarray, cmap: str, low: float, high: float) -> np.ndarray:
    """Images ``(n, 1, h, w)`` under a colour map to ``(n, 3, h, w)`` in [0, 1]; colour images are only
    scaled."""
    x = np.clip((x - low) / (high - low), 0, 1)
    return x if x.shape[1] == 3 else mpl.colormaps[cmap](x[:, 0])[..., :3].transpose(0, 3, 1, 2)


def farthest(x: np.ndarray, made: np.ndarray) -> np.ndarray:
    """``made - x`` in the channel that is farthest off, pixel by pixel: ``(n, c, h, w)`` to ``(n, 1, h, w)``.

    Not the mean over channels: blue in place of red would leave nothing of it.
    """
    signed = made - x
    return np.take_along_axis(signed, np.abs(signed).argmax(1, keepdims=True), axis=1)


def differences(
    x: np.ndarray,
    made: Mapping[str, np.ndarray],
    value_range: tuple[float, float],
    columns: Sequence[str],
    tile: float = 0.6,
) -> Figure:
    """Rows: images ``x (n, c, h, w)``, then for each of ``made``, of the same shape, itself and ``made -
    x`` (see :func:`farthest`).

    ``columns`` are labels under the columns, ``tile`` the width of an image in inches. The differences share
    a diverging scale, symmetric about 0, as wide as their largest absolute value.
    """
    n, _, h, w = x.shape
    signed = [farthest(x, answer) for answer in made.values()]
    top = max(float(np.abs(signed).max()), 1e-9)
    colours = picture_colours().name
    rows, labels = [coloured(x, colours, *value_range)], ["original"]
    for (name, answer), off in zip(made.items(), signed, strict=True):
        rows += [coloured(answer, colours, *value_range), coloured(off, DIVERGING, -top, top)]
        labels += [name, "difference"]
    inches, lines = tile / w, max(label.count("\n") for label in columns) + 1
    width, height = n * (w + 1) * inches + 2.1, len(rows) * (h + 1) * inches + 0.22 + 0.13 * lines
    fig, axes = figure(1, 1, width=width, height=height)
    ax = axes[0, 0]
    ax.imshow(canvas(np.concatenate(rows), n), interpolation="nearest")
    ax.set_yticks((h + 1) * np.arange(len(rows)) + (h - 1) / 2, labels)
    ax.set_xticks((w + 1) * np.arange(n) + (w - 1) / 2, list(columns))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(-top, top), DIVERGING)
    fig.colorbar(scale, ax=ax, label="difference", ticks=[-top, 0, top], format="%.2g", pad=0.01, aspect=15)
    return fig
