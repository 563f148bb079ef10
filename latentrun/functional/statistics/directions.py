"""Which values of a metric are better: the one meaning of ``Metric.better``.

A direction is ``lower`` or ``higher`` (better), ``zero`` or ``one`` (the nearer to it, the better), or
``none`` (a description: nothing is better, nothing is ranked).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Direction:
    """``loss(values)``, array to array: what is small where values are good; ``sign``: by which a difference
    of losses becomes one of values; ``goal`` in a search, None where there is none. In text: ``arrow``, in
    LaTeX ``tex``; ``axis``: under an axis of differences, which side of 0 is the better one."""

    loss: Callable[[np.ndarray], np.ndarray]
    sign: Literal[1, -1]
    goal: Literal["minimize", "maximize"] | None
    arrow: str
    tex: str
    axis: str


# A metric with another direction (none) is not ranked.
DIRECTIONS = {
    "lower": Direction(lambda x: x, 1, "minimize", "↓", r"$\downarrow$", "← better"),
    "higher": Direction(np.negative, -1, "maximize", "↑", r"$\uparrow$", "better →"),
    "zero": Direction(np.abs, 1, None, "→ 0", "$\\to 0$", ""),
    "one": Direction(lambda x: np.abs(x - 1), 1, None, "→ 1", "$\\to 1$", ""),
}


def arrow(direction: str) -> str:
    """The arrow of a direction with a space before it; empty for one that ranks nothing.

    >>> arrow("lower"), arrow("none")
    (' ↓', '')
    """
    return f" {DIRECTIONS[direction].arrow}" if direction in DIRECTIONS else ""
