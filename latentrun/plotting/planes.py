"""Values over a latent plane, in shades of grey, so that the colours of codes on them stand out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import LogLocator, NullLocator

from latentrun.functional.factors import Target
from latentrun.plotting.scatter import axis_name, draw, headed, key

GROUND = colormaps["Greys"].resampled(16)  # in few steps: a file of 256 colours has room for these
OUTER = (0.01, 0.99)  # quantiles at which the shades of a map end
WIDE_RANGE = 10.0  # greatest over least, from which on a scale is logarithmic
Map = np.ndarray | None  # values (G, G), the first coordinate along the columns; None: there are none


def maps_of(
    rows: Sequence[Sequence[Map]],
    ends: Sequence[np.ndarray],
    codes: Sequence[np.ndarray],
    names: Sequence[str],
    targets: Sequence[Target | None],
    quantities: Sequence[tuple[str, bool]],
    titles: Sequence[str] = (),
) -> Figure:
    """Maps in rows, one for each plane, and in columns, one for each quantity: its shades are the same in all
    rows.

    Of each row ``ends (2, 2)`` of its plane, low and high of both axes, ``codes (n, 2)`` that lie on it, what
    colours them (one factor for all rows) and its title; of each column its label, and whether its scale may
    be logarithmic. ``names`` of the two axes.
    """
    head_of = next((target[0] for target in targets if target is not None), None)
    shapes = [np.ptp(corners, axis=0) for corners in ends]
    tall = [float(np.clip(2.9 * height / width, 1.4, 4.5)) for width, height in shapes]
    tall[-1] += 0.9  # scales
    fig, axes, head = headed([head_of] if head_of else [], tall, len(quantities), width=3.3)
    scale = None
    for column, (label, may_be_logarithmic) in enumerate(quantities):
        values = [row[column] for row in rows]
        norm = shades([each for each in values if each is not None], may_be_logarithmic)
        images = []
        for number, (ax, map_) in enumerate(zip(axes[1:, column], values, strict=True)):
            if map_ is not None:
                images.append(_ground(ax, map_, ends[number], norm))
            scale = draw(ax, codes[number][:, 0], codes[number][:, 1], targets[number], alpha=0.9) or scale
            ax.set(xlabel=axis_name(names[0]), ylabel=axis_name(names[1]))
            ax.set(xlim=ends[number][:, 0], ylim=ends[number][:, 1], aspect="equal")
            if titles and column == 0:
                ax.set_title(titles[number], loc="left")
        bar = fig.colorbar(
            images[-1], ax=axes[-1, column], location="bottom", label=label, extend="both", aspect=30
        )
        _few_numbers(bar.ax, isinstance(norm, LogNorm))
    if head_of is not None:
        key(fig, axes[0, 0], head_of, scale, head)
    return fig


def _ground(ax: Axes, values: np.ndarray, ends: np.ndarray, norm: Normalize) -> AxesImage:
    return ax.imshow(
        np.ma.masked_invalid(values),
        norm=norm,
        cmap=GROUND,
        origin="lower",
        extent=(*ends[:, 0], *ends[:, 1]),
        interpolation="nearest",
    )


def shades(maps: Sequence[np.ndarray], logarithmic: bool) -> Normalize:
    """From light to dark between the outer quantiles of what is finite in all maps."""
    finite = np.concatenate([values[np.isfinite(values)] for values in maps])
    low, high = np.quantile(finite, OUTER) if len(finite) else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    if logarithmic and is_wide(np.array([low, high])):
        return LogNorm(low, high)
    return Normalize(low, high)


def is_wide(values: np.ndarray) -> bool:
    """Whether what is finite of them is positive and spans so much that it asks for a logarithmic scale."""
    finite = values[np.isfinite(values)]
    return len(finite) > 0 and finite.min() > 0 and finite.max() > WIDE_RANGE * finite.min()


def _few_numbers(ax: Axes, logarithmic: bool) -> None:
    """Along a scale, so that they do not run into each other."""
    if logarithmic:
        plain_numbers(ax.xaxis, ax.get_xlim())
    else:
        ax.locator_params(axis="x", nbins=5)


def plain_numbers(axis: Axis, ends: tuple[float, float]) -> None:
    """On a logarithmic axis between ``ends``: 1, 2 and 5 times powers of ten where these are few, else the
    powers alone, as 0.01 and not with an exponent where that is short."""
    decades = float(np.log10(ends[1] / ends[0]))
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,), numticks=6))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
