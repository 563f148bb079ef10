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
SEQUENTIAL = "viridis"  # real and ordinal quantities
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


def paper() -> AbstractContextManager:
    """The look, for as long as pictures are drawn and saved."""
    return mpl.rc_context(RC)


def figure(
    rows: int = 1, columns: int = 1, width: float = 3.2, height: float = 2.6, **options
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes ``(rows, columns)``; ``width`` and ``height`` in inches are those of one
    panel."""
    with paper():
        fig = Figure(figsize=(width * columns, height * rows), layout="constrained")
        axes = fig.subplots(rows, columns, squeeze=False, **options)
    return fig, axes


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
