"""A cloud of codes with known factors, and what curves through it are worth: how well each moves one factor
and leaves the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentrun.functional.clouds.factor_field import FactorField
from latentrun.functional.clouds.hulls import Hull
from latentrun.functional.paths.curves import along
from latentrun.functional.paths.lines import Course, follow, variation

CELLS = 1 << 22  # numbers held at once


# ---------------------------------------------------------------- score
@dataclass(frozen=True)
class Marks:
    """What P curves do for each of F factors, ``(P, F)`` float64: ``score``, ``monotonicity``, ``leakage``,
    ``coverage``; and ``within (P,)``, 1 for a curve that stays in the data."""

    score: Tensor
    monotonicity: Tensor
    leakage: Tensor
    coverage: Tensor
    within: Tensor


def within(most: Tensor, limit: float) -> Tensor:
    """1 where the greatest distance from the data along a curve is at most ``limit``, falling to 0 at twice
    that: ``most (P,)`` in the unit of ``limit`` to ``(P,)`` float64.

    >>> within(torch.tensor([0.5, 1.5, 3.0]), 1.0)
    tensor([1.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    return (2 - most.double() / limit).clamp(0, 1)


def mark(values: Tensor, ranges: Tensor, cyclic: Tensor, course: Course, inside: Tensor) -> Marks:
    """score = |rho| c w / (1 + L) of factors ``values (P, T, F)`` along curves.

    rho: Spearman correlation with the position, 0 for a factor that covers too little (``course``). c: the
    share of the factor's range that lies between its extremes, what is beyond the range left out. L: mean
    total variation of the other factors over that of the factor within its range; 0 where there are no
    others. w: ``inside (P,)``. ``ranges (F, 2)``.
    """
    low, high = ranges.T
    width = torch.where(high > low, high - low, 1.0)
    # A factor that runs out of its range neither covers more nor excuses more leakage.
    cut = torch.where(cyclic, values, values.clamp(low, high))
    coverage = torch.where(cyclic, course.covered.clamp(max=1), (cut.amax(1) - cut.amin(1)) / width)
    in_range = torch.where(cyclic, course.variation, variation(cut, width))
    leakage = course.leakage * course.variation / in_range
    monotonicity = course.spearman.abs()
    # Single factors, and those that cover too little, have no leakage.
    score = monotonicity * coverage * inside[:, None] / (1 + leakage.nan_to_num(0.0, posinf=torch.inf))
    return Marks(score, monotonicity, leakage, coverage, inside)


# ---------------------------------------------------------------- the cloud
@dataclass(frozen=True)
class Cloud:
    """Codes with known factors: ``field``, the factors' ``ranges (F, 2)`` and which are ``cyclic (F,)``;
    ``hull`` of the codes' first coordinates, None where they have none; ``reach``, whitened units to the
    nearest code beyond which a point is outside; ``miss``, log of the distance of reconstructions from the
    data as a function of the code (None: not known), and its ``limit``."""

    field: FactorField
    ranges: Tensor
    cyclic: Tensor
    hull: Hull | None
    reach: float
    min_change: float
    miss: FactorField | None = None
    limit: float = np.inf

    def depth(self, u: np.ndarray) -> np.ndarray:
        """Distance ``(...,)`` of points ``(..., k)`` inside the hull to its surface; negative outside,
        infinite where there is no hull."""
        if self.hull is None:
            return np.full(u.shape[:-1], np.inf)
        flat, equations = u.reshape(-1, u.shape[-1])[:, : self.hull.points.shape[1]], self.hull.equations
        parts = np.array_split(flat, max(1, len(flat) * len(equations) // CELLS))
        depth = [-(part @ equations[:, :-1].T + equations[:, -1]).max(1) for part in parts]
        return np.concatenate(depth).reshape(u.shape[:-1])

    def mark(self, knots: np.ndarray, probes: int) -> Marks:
        """Marks of curves by the field, at ``probes`` points each."""
        points = along(knots, probes)
        at_points, gap = self.field.at(points)
        values, inside = torch.from_numpy(at_points), within(torch.from_numpy(gap.max(1)), self.reach)
        if self.miss is not None:
            most = np.exp(self.miss.at(points)[0].max((1, 2)))
            inside = inside * within(torch.from_numpy(most), self.limit)
        t = torch.linspace(0, 1, probes, dtype=torch.float64).expand(len(knots), probes)
        closed = torch.zeros(len(knots), dtype=torch.bool)
        course = follow(values, t, closed, self.ranges, self.cyclic, self.min_change)
        return mark(values, self.ranges, self.cyclic, course, inside)

    def worth(self, knots: np.ndarray, factor: int, probes: int) -> np.ndarray:
        """Scores ``(P,)`` for one factor; those of curves that leave the codes fall below those of all that
        do not."""
        marks = self.mark(knots, probes)
        score = marks.score[:, factor].numpy()
        return np.where(marks.within.numpy() >= 1, 1 + score, score) * (score > 0)
