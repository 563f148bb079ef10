"""Factors as functions of the code: local linear averages over codes whose factors are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from latentrun.functional.clouds.neighbours import nearest

TREE = 6  # dimensions up to which a k-d tree finds neighbours faster than products of matrices
BLEND = 8  # local planes that a value is blended from
RIDGE = 1e-4  # weight of a slope of 1 per radius, as a share of the neighbours' weight
CELLS = 1 << 22  # numbers held at once


@dataclass(frozen=True)
class FactorField:
    """F factors as functions of a whitened code: codes ``u (N, k)``, at each a plane through ``value (N, F)``
    with ``slope (N, k, F)`` per whitened unit; ``period (F,)``, 0 for factors that do not wrap. Factors are
    in their own units, float64."""

    u: np.ndarray
    value: np.ndarray
    slope: np.ndarray
    period: np.ndarray
    near: Nearest

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Factors ``(..., F)`` at ``points (..., k)`` and the distance ``(...,)`` to the nearest code.

        Modified Shepard interpolation (Renka 1988, ACM TOMS 14, eqs. 1-3, with planes for its quadratics):
        the planes of the 8 nearest codes, weighted by ((R - r) / (R r))², r the distance to a code and R that
        to the ninth.
        """
        flat = points.reshape(-1, self.u.shape[1])
        step = max(1, CELLS // (BLEND * (flat.shape[1] + 1) * max(1, len(self.period))))
        parts = [self._blend(part) for part in np.array_split(flat, max(1, -(-len(flat) // step)))]
        value, gap = (np.concatenate(column) for column in zip(*parts, strict=True))
        return value.reshape(*points.shape[:-1], -1), gap.reshape(points.shape[:-1])

    def _blend(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Factors ``(P, F)`` and gaps ``(P,)`` of a part of the points ``(P, k)``."""
        r, rows = self.near.query(points, BLEND + 1)
        gap, edge = r[:, 0], np.maximum(r[:, -1:], 1e-12)
        if rows.shape[1] > 1:
            r, rows = r[:, :-1], rows[:, :-1]
        # A code itself counts alone; where all are equally far they count alike.
        weight = np.maximum((edge - r) / (edge * np.maximum(r, 1e-9 * edge)), 1e-9 / edge) ** 2
        apart = points[:, None] - self.u[rows]
        planes = self.value[rows] + np.einsum("pbk,pbkf->pbf", apart, self.slope[rows])
        planes = planes[:, :1] + wrapped(planes - planes[:, :1], self.period)
        return np.einsum("pb,pbf->pf", weight / weight.sum(1, keepdims=True), planes), gap


def factor_field(u: np.ndarray, y: np.ndarray, period: np.ndarray, neighbours: int) -> FactorField:
    """Planes fitted to the factors ``y (N, F)`` of the ``neighbours`` codes nearest to each of ``u (N, k)``,
    itself among them; at least three for each coefficient of a plane.

    Least squares with tricube weights (1 - (r / R)³)³, R just beyond the last neighbour (Cleveland 1979), and
    a small ridge on the slopes; cyclic factors as the short way round from the code's own value.
    """
    near = Nearest(u)
    n, k = u.shape
    r, rows = near.query(u, max(neighbours, 3 * (k + 1)))
    radius = np.maximum(1.001 * r[:, -1:], 1e-12)
    weight = (1 - (r / radius) ** 3) ** 3
    value, slope = np.empty((n, y.shape[1])), np.empty((n, k, y.shape[1]))
    for part in np.array_split(np.arange(n), max(1, n * rows.shape[1] * (k + 1) // CELLS)):
        at, w = rows[part], weight[part]
        x = np.concatenate([np.ones((*at.shape, 1)), (u[at] - u[part, None]) / radius[part, None]], 2)
        left = np.einsum("pb,pbi,pbj->pij", w, x, x, optimize=True)
        left[:, np.arange(1, k + 1), np.arange(1, k + 1)] += RIDGE * w.sum(1)[:, None]
        right = np.einsum("pb,pbi,pbf->pif", w, x, wrapped(y[at] - y[part, None], period), optimize=True)
        plane = np.linalg.solve(left, right)
        value[part], slope[part] = y[part] + plane[:, 0], plane[:, 1:] / radius[part, None]
    return FactorField(u, value, slope, period, near)


def wrapped(difference: np.ndarray, period: np.ndarray) -> np.ndarray:
    """Differences ``(..., F)`` of cyclic columns the short way round; ``period (F,)``, 0 for columns that do
    not wrap.

    >>> wrapped(np.array([350.0, 350.0]), period=np.array([360.0, 0.0]))
    array([-10., 350.])
    """
    if not period.any():
        return difference
    turn = np.where(period > 0, period, 1.0)
    return np.where(period > 0, (difference + turn / 2) % turn - turn / 2, difference)


class Nearest:
    """A search for the nearest of ``points (N, k)``: by a k-d tree in few dimensions, by products of matrices
    in many; exact either way."""

    def __init__(self, points: np.ndarray):
        self.points = points
        self.tree = cKDTree(points) if points.shape[1] <= TREE else None

    def query(self, queries: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances ``(Q, m)``, closest first, and rows ``(Q, m)`` of the m points nearest to ``queries (Q,
        k)``; m is cut to N."""
        m = min(m, len(self.points))
        if self.tree is not None:
            r, rows = self.tree.query(queries, np.arange(1, m + 1))
            return r, rows
        r, rows = nearest(torch.from_numpy(queries), torch.from_numpy(self.points), m)
        return r.numpy(), rows.numpy()
