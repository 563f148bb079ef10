"""One look for all figures. Matplotlib through ``Figure`` objects, never pyplot: no global state, no
window."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito: eight colours that colour-blind readers tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000")
# Petroff (2021), arXiv 2107.02270: ten, told apart by colour-blind readers too; as many as there are digits.
CLASSES = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581"),
    "#92dadd",
)
SEQUENTIAL = "viridis"  # real and ordinal quantities
GREY = "gray"  # pictures of one channel, unless the data say otherwise
DIVERGING = "RdBu_r"  # quantities with a zero in the middle
CYCLIC = "twilight"  # angles

RC = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": mpl.cycler(color=PALETTE),
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "figure.dpi": 120,
    "savefig.dpi": 160,
    "pdf.fonttype": 42,  # editable text in papers
    "svg.fonttype": "none",
    "svg.hashsalt": "latentrun",  # names of clip paths are the same every time
}

COLUMN, PAGE = 3.3, 6.9  # inches: widths of a column and of a page of a paper
BROAD = 4.4  # inches: figures up to this width go into a column
LEAST = 6.0  # points: smaller letters are not read on paper


def paper(cmap: str = GREY) -> AbstractContextManager:
    """The look, for as long as pictures are drawn and saved; ``cmap``: the colours of examples that are
    pictures of one channel, which the data name."""
    return mpl.rc_context(RC | {"image.cmap": cmap})


def picture_colours() -> mpl.colors.Colormap:
    """The colours of pictures of one channel, within :func:`paper`."""
    return mpl.colormaps[mpl.rcParams["image.cmap"]]


def palette_of(count: int) -> tuple[str, ...]:
    """The colours of ``count`` classes: eight where they suffice, else ten, which are used again from there
    on.

    >>> len(palette_of(3)), len(palette_of(10)), len(palette_of(40))
    (8, 10, 10)
    """
    return PALETTE if count <= len(PALETTE) else CLASSES


def figure(
    rows: int = 1, columns: int = 1, width: float = 3.2, height: float = 2.6, **options
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes ``(rows, columns)``; ``width`` and ``height`` in inches are those of one
    panel."""
    with paper():
        fig = Figure(figsize=(width * columns, height * rows), layout="constrained")
        axes = fig.subplots(rows, columns, squeeze=False, **options)
    return fig, axes


def legible(width: float, size: float) -> float:
    """The size in points of letters that should have ``size``, in a figure so many inches wide: larger where
    they would be too small on paper."""
    return max(size, LEAST * width / (COLUMN if width <= BROAD else PAGE))


def printed(figure: Figure) -> tuple[float, str]:
    """The smallest letters of a figure that has been drawn, in points, when it is as wide as a column of a
    paper, or, where it is made wider than :data:`BROAD`, as the page; and the text that has them."""
    wide = figure.get_size_inches()[0]
    scale = min(1.0, (COLUMN if wide <= BROAD else PAGE) / wide)
    texts = [
        text
        for text in figure.findobj(mpl.text.Text)
        if text.get_visible() and text.get_text().strip() and text.axes is not None and text.axes.axison
    ]
    sizes = [(text.get_fontsize() * scale, text.get_text()) for text in texts]
    return min(sizes, default=(float("inf"), ""))


def without_formulas(figure: Figure) -> None:
    """Let texts be shown as they are that look like formulas and cannot be read as such: names of columns and
    categories may have signs of dollars in them."""
    from matplotlib.mathtext import MathTextParser
    from matplotlib.text import Text

    parser = MathTextParser("path")

    def is_wrong(text: Text) -> bool:
        try:
            parser.parse(text.get_text())
        except ValueError:
            return text.get_parse_math()
        return False

    while True:
        try:
            return figure.draw_without_rendering()
        except ValueError:
            wrong = [text for text in figure.findobj(Text) if is_wrong(text)]
            if not wrong:
                raise
        for text in wrong:
            text.set_parse_math(False)


def blank(axes: Axes | Sequence[Axes]) -> None:
    """Turn panels off that hold nothing."""
    for ax in np.atleast_1d(np.asarray(axes, dtype=object)).ravel():
        ax.axis("off")
