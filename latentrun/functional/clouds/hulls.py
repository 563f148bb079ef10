"""Convex hulls of point clouds: what they hold, and points drawn evenly from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial import ConvexHull, QhullError

from latentrun.functional.noise import Noise
from latentrun.functional.ties import largest, principal_axes

CELLS = 1 << 22  # numbers held at once
MOST, LEADING = 6, 3  # a cloud of more dimensions than MOST is projected onto its LEADING axes
FLAT = 1e-9  # a hull whose volume is below this share of its bounding box is flat
# Numbers that differ by less than this share of their spread are equal: codes are sums of float32 numbers,
# and the order of those sums is the processor's.
TIE = 1e-5


@dataclass(frozen=True)
class Hull:
    """The convex hull of N points in k dimensions.

    ``vertices (V,)`` and ``facets (F, k)`` are row numbers of the points, facets are simplices; ``equations
    (F, k + 1)``: n·x + b <= 0 inside, n of length 1. ``centre (k,)`` is inside; ``fan (F,)`` are the volumes
    of the simplices that join the facets to it: they fill the hull and do not overlap. ``volume`` is their
    sum.
    """

    points: np.ndarray
    vertices: np.ndarray
    facets: np.ndarray
    equations: np.ndarray
    centre: np.ndarray
    fan: np.ndarray

    @property
    def volume(self) -> float:
        """Volume in units^k (k = 1: length)."""
        return float(self.fan.sum())

    def contains(self, x: np.ndarray, slack: float = 1e-9) -> np.ndarray:
        """Whether points ``(Q, k)`` lie in the hull, ``(Q,)``; ``slack`` is a distance."""
        normals, offsets = self.equations[:, :-1].T, self.equations[:, -1] - slack
        parts = np.array_split(x, max(1, len(x) * len(offsets) // CELLS))
        return np.concatenate([(part @ normals + offsets <= 0).all(1) for part in parts])

    def uniform(self, n: int, noise: Noise) -> np.ndarray:
        """n points ``(n, k)`` drawn evenly from the hull: a simplex of the fan by its volume, then evenly
        from that simplex. Where more than k points lie in one face rounding decides into which simplices it
        falls, so that the same noise gives other points of the same distribution on another machine."""
        noise = noise.to("cpu")
        edges = np.cumsum(self.fan)
        volume = noise.uniform("simplex", (n,)).double().numpy() * edges[-1]
        simplex = np.searchsorted(edges, volume, side="right").clip(max=len(edges) - 1)
        corners = self.points[self.facets[simplex]]
        # Exponential numbers divided by their sum are uniform barycentric coordinates.
        share = -np.log1p(-noise.uniform("barycentric", (n, corners.shape[1] + 1)).double().numpy())
        share /= share.sum(1, keepdims=True)
        return np.einsum("nf,nfk->nk", share[:, 1:], corners) + share[:, :1] * self.centre


def convex_hull(points: np.ndarray) -> Hull | None:
    """The hull of ``points (N, k)``, k >= 1; None where it is flat. Qhull (Barber, Dobkin & Huhdanpaa 1996),
    whose time and memory grow exponentially with k: 10,000 normal points take 0.4 s for k = 6.

    >>> square = convex_hull(np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0], [1.0, 1.0]]))
    >>> square.volume, square.contains(np.array([[1.5, 0.5], [3.0, 0.5]]))
    (4.0, array([ True, False]))
    """
    points = np.asarray(points, dtype=np.float64)
    n, k = points.shape
    if n <= k:
        return None
    if k == 1:
        ends = np.array([largest(-points[:, 0]), largest(points[:, 0])])
        low, high = points[ends, 0]
        vertices, facets, equations = ends, ends[:, None], np.array([[-1.0, low], [1.0, -high]])
    else:
        try:
            qhull = ConvexHull(points)
        except QhullError:  # all points in one plane
            return None
        vertices, facets, equations = qhull.vertices, qhull.simplices, qhull.equations
    centre = points[vertices].mean(0)
    fan = np.abs(np.linalg.det(points[facets] - centre)) / math.factorial(k)
    if not fan.sum() > FLAT * np.ptp(points, axis=0).prod():
        return None
    return Hull(points, vertices, facets, equations, centre, fan)


def measurable(u: np.ndarray) -> tuple[np.ndarray, str]:
    """Whitened codes ``(N, k)``, largest variance first, in as many dimensions as a hull can be made in, and
    a note where those are fewer than k."""
    k = u.shape[1]
    if k <= MOST:
        return u, ""
    return u[:, :LEADING], (
        f"hulls of more than {MOST} dimensions are out of reach: it is that of the projection of {k} "
        f"dimensions onto the {LEADING} leading principal axes"
    )


# ---------------------------------------------------------------- paths along hulls
def bounding_line(a: np.ndarray, b: np.ndarray) -> tuple[float, float] | None:
    """Slope and height of the line b = height + slope·a that no point ``(N,)``, ``(N,)`` is above and whose
    mean distance to them is least: the edge of their hull over the mean; of edges that are equally near, the
    flattest. None where they are flat."""
    hull = convex_hull(np.stack([a, b], 1))
    if hull is None:
        return None
    normal, offset = hull.equations[:, :2], hull.equations[:, 2]
    upper = normal[:, 1] > FLAT
    slope, height = -normal[upper, 0] / normal[upper, 1], -offset[upper] / normal[upper, 1]
    distance = height + slope * a.mean()
    nearest = np.flatnonzero(distance <= distance.min() + TIE * np.ptp(b))
    edge = nearest[np.abs(slope[nearest]).argmin()]
    return float(slope[edge]), float(height[edge])


def bounding_path(z: np.ndarray, a: int, b: int, sign: int, support: float, steps: int) -> np.ndarray | None:
    """A straight path ``(steps, d)`` in the tightest plane z_b = height + slope·z_a above (``sign`` 1) or
    below (-1) all codes ``(N, d)``.

    It runs where codes are near the plane: over the z_a of the share ``support`` of codes nearest to it and
    of those as near as the last of these, from their 5 % to their 95 % quantile, the other coordinates by
    least squares on z_a over the same codes. None where the codes are flat.
    """
    line = bounding_line(z[:, a], sign * z[:, b])
    if line is None:
        return None
    slope, height = line
    below = height + slope * z[:, a] - sign * z[:, b]
    last = np.sort(below)[min(len(z), max(2, round(support * len(z)))) - 1]
    near = z[below <= last + TIE * np.ptp(z[:, b])]
    low, high = np.quantile(near[:, a], [0.05, 0.95])
    t = np.linspace(low, high, steps)
    centred = near[:, a] - near[:, a].mean()
    path = near.mean(0) + np.outer(t - near[:, a].mean(), centred @ near / (centred @ centred))
    path[:, a], path[:, b] = t, sign * (height + slope * t)
    return path


def strip_edges(z: np.ndarray, along: int, bins: int, steps: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The two edges of a strip of codes ``(N, d)``, d >= 2: rows ``(2, B)`` of the codes that are extreme in
    each bin, and curves ``(2, steps, d)`` through them. None where fewer than 2 of the ``bins`` of equal
    width over coordinate ``along`` hold two codes.

    Extreme: along the first principal axis of the bin's other coordinates; of two neighbouring bins those are
    joined that lie nearer to each other. The curves give the other coordinates as functions of ``along``:
    cubic splines that do not overshoot (PCHIP; Fritsch & Carlson 1980).
    """
    if len(z) < 2:
        return None
    t, rest = z[:, along], np.delete(z, along, axis=1)
    cuts = np.linspace(t.min(), t.max(), bins + 1)[1:-1]
    bin_of = np.searchsorted(cuts, t, side="right")
    pairs: list[np.ndarray] = []
    for number in np.flatnonzero(np.bincount(bin_of) > 1):
        rows = np.flatnonzero(bin_of == number)
        centred = rest[rows] - rest[rows].mean(0)
        across = centred @ principal_axes(centred.T @ centred)[1][:, 0]
        pair = rows[[largest(-across), largest(across)]]
        crossed = pairs and _apart(rest[pairs[-1]], rest[pair[::-1]]) < _apart(rest[pairs[-1]], rest[pair])
        pairs.append(pair[::-1] if crossed else pair)
    if len(pairs) < 2:
        return None
    knots, curves = np.stack(pairs, 1), np.empty((2, steps, z.shape[1]))
    for rows, curve in zip(knots, curves, strict=True):
        at = np.linspace(t[rows[0]], t[rows[-1]], steps)
        curve[:] = np.insert(PchipInterpolator(t[rows], rest[rows])(at), along, at, axis=1)
    return knots, curves


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of squared distances between rows."""
    return float(((a - b) ** 2).sum())
