"""Where there are no codes: distances to the nearest of them, and the straight segments between codes that
stay farthest from all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from latentrun.functional.ties import TIE, largest

CHUNK = 2000  # segments looked at first; then as many as so far, again and again
ROUNDS = 50  # of the local search; it ends long before
STARTS = 5  # segments from which it begins, for each that is wanted


@dataclass(frozen=True)
class Segments:
    """Straight segments between codes, emptiest first: ``ends (P, 2)`` row numbers, ``clearance (P,)`` the
    mean over a segment of the distance to the nearest code, ``widest (P,)`` the greatest such distance,
    ``length (P,)``; ``relative (P,)``: clearance as a share of what it would be if no code were nearer than
    the segment's own ends.

    ``pairs``: pairs of codes that were compared; ``bound``: no pair of eligible codes has more clearance than
    this.
    """

    ends: np.ndarray
    clearance: np.ndarray
    widest: np.ndarray
    length: np.ndarray
    relative: np.ndarray
    pairs: int
    bound: float


def spread_out(points: np.ndarray, n: int) -> tuple[np.ndarray, float]:
    """Rows ``(n,)`` of points that cover all ``(N, k)``: each the one farthest from those before it,
    beginning with the one farthest from the mean (Gonzalez 1985). Also the covering radius: no point is
    farther than that from one of them.

    >>> spread_out(np.array([[0.0], [1.0], [5.0]]), 2)
    (array([2, 0]), 1.0)
    """
    rows, distance = [], np.linalg.norm(points - points.mean(0), axis=1)
    nearest = np.full(len(points), np.inf)
    for _ in range(min(n, len(points))):
        rows.append(largest(distance))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[rows[-1]], axis=1))
        distance = nearest
    return np.array(rows), float(nearest.max())


def emptiest(
    codes: np.ndarray, eligible: np.ndarray, candidates: int, probes: int, n: int, apart: float, near: int
) -> Segments:
    """The n segments between codes ``(N, k)`` whose mean distance to the nearest code is greatest.

    The distance g is taken at ``probes`` evenly spaced points, the middles of equal parts. All pairs of
    ``candidates`` codes that cover the ``eligible`` rows are searched. Best first: g changes by at most the
    way gone, so the value in the middle and 0 at the ends bound a segment's mean, and pairs whose bound is
    below the best found are left out without loss. Then the ends of the 5 n best move, one at a time, to
    whichever of their ``near`` nearest eligible codes gives most clearance, until none gives more. A segment
    is passed over when both its ends lie within ``apart`` of those of an emptier one.
    """
    if len(eligible) < 2:
        none = np.zeros(0)
        return Segments(np.zeros((0, 2), np.int64), none, none, none, none, 0, 0.0)
    tree, points = cKDTree(codes), codes[eligible]
    t = (np.arange(probes) + 0.5) / probes
    cover, radius = spread_out(points, candidates)
    pairs = cover[np.stack(np.triu_indices(len(cover), 1), 1)]
    starts, clearance = _best_pairs(tree, points, pairs, t, STARTS * n, apart)
    neighbours = np.reshape(cKDTree(points).query(points, min(near, len(points)))[1], (len(points), -1))
    climbed = [_climb(tree, points, neighbours, ends, t) for ends in starts]
    ends = np.array(climbed, dtype=np.int64).reshape(-1, 2)
    gaps = _gaps(tree, points[ends[:, 0]], points[ends[:, 1]], t)
    # Two that were apart may have climbed the same hill.
    rows = _distinct(points[ends[:, 0]], points[ends[:, 1]], gaps.mean(1), n, apart)
    ends, gaps = ends[rows], gaps[rows]
    mean, widest = gaps.mean(1), gaps.max(1, initial=0.0)
    length = np.linalg.norm(points[ends[:, 1]] - points[ends[:, 0]], axis=1)
    most = np.minimum(t, 1 - t).mean() * length
    relative = np.divide(mean, most, out=np.zeros_like(most), where=most > 0).clip(max=1)
    bound = clearance.max(initial=0.0) + radius
    return Segments(eligible[ends], mean, widest, length, relative, len(pairs), float(bound))


def _best_pairs(
    tree: cKDTree, points: np.ndarray, pairs: np.ndarray, t: np.ndarray, n: int, apart: float
) -> tuple[np.ndarray, np.ndarray]:
    """The n of ``pairs (P, 2)`` with the greatest clearance, apart from each other, and that clearance."""
    start, end = points[pairs[:, 0]], points[pairs[:, 1]]
    length = np.linalg.norm(end - start, axis=1)
    middle = tree.query((start + end) / 2)[0]
    reach = np.minimum(t, 1 - t) * length[:, None]
    bound = np.minimum(reach, middle[:, None] + np.abs(t - 0.5) * length[:, None]).mean(1)
    order = np.argsort(-bound, kind="stable")
    clearance = np.full(len(pairs), -np.inf)
    best: list[int] = []
    done = 0
    while done < len(order) and (len(best) < n or bound[order[done]] >= clearance[best[-1]]):
        rows = order[done : max(CHUNK, 2 * done)]
        clearance[rows] = _gaps(tree, start[rows], end[rows], t).mean(1)
        best = _distinct(start, end, clearance, n, apart)
        done += len(rows)
    return pairs[best], clearance[best]


def _gaps(tree: cKDTree, start: np.ndarray, end: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Distance to the nearest code at the shares t of the way, ``(P, T)``."""
    return tree.query(start[:, None] + t[:, None] * (end - start)[:, None])[0]


def _distinct(start: np.ndarray, end: np.ndarray, clearance: np.ndarray, n: int, apart: float) -> list[int]:
    """Rows of the n largest clearances, without segments whose ends both lie near those of one already
    taken."""
    left, rows = clearance.copy(), []
    while len(rows) < n and left.max(initial=-np.inf) > -np.inf:
        row = largest(left)
        rows.append(row)
        for a, b in ((start, end), (end, start)):
            near_start = np.linalg.norm(a - start[row], axis=1) <= apart
            left[near_start & (np.linalg.norm(b - end[row], axis=1) <= apart)] = -np.inf
    return rows


def _climb(
    tree: cKDTree, points: np.ndarray, neighbours: np.ndarray, ends: np.ndarray, t: np.ndarray
) -> np.ndarray:
    """Ends ``(2,)`` of a segment that no exchange of one of them for a near code improves."""
    best = _gaps(tree, points[ends[:1]], points[ends[1:]], t).mean()
    for _ in range(ROUNDS):
        moves = [
            np.stack(np.broadcast_arrays(*pair), 1)
            for pair in ((neighbours[ends[0]], ends[1]), (ends[0], neighbours[ends[1]]))
        ]
        pairs = np.concatenate(moves)
        clearance = _gaps(tree, points[pairs[:, 0]], points[pairs[:, 1]], t).mean(1)
        if not clearance.max() > best * (1 + TIE):
            break
        best, ends = clearance.max(), pairs[largest(clearance)]
    return ends
