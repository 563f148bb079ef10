"""Where there are no codes: distances to the nearest of them, and the straight segments between codes that
stay farthest from all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

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
    """Rows of n points that cover all ``(N, k)``: each the one farthest from those before it, beginning with
    the one farthest from the mean (Gonzalez 1985). Also the covering radius: no point is farther than that
    from a chosen one."""
    chosen, distance = [], np.linalg.norm(points - points.mean(0), axis=1)
    nearest = np.full(len(points), np.inf)
    for _ in range(min(n, len(points))):
        chosen.append(int(distance.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
        distance = nearest
    return np.array(chosen), float(nearest.max())


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
    tree, own = cKDTree(codes), codes[eligible]
    some, radius = spread_out(own, candidates)
    pairs = np.stack(np.triu_indices(len(some), 1), 1)
    start, end = own[some[pairs[:, 0]]], own[some[pairs[:, 1]]]
    t = (np.arange(probes) + 0.5) / probes
    length = np.linalg.norm(end - start, axis=1)
    middle = tree.query((start + end) / 2)[0]
    reach = np.minimum(t, 1 - t) * length[:, None]
    bound = np.minimum(reach, middle[:, None] + np.abs(t - 0.5) * length[:, None]).mean(1)
    order = np.argsort(-bound, kind="stable")
    clearance = np.full(len(pairs), -np.inf)
    best: list[int] = []
    done = 0
    while done < len(order) and (len(best) < STARTS * n or bound[order[done]] >= clearance[best[-1]]):
        rows = order[done : max(CHUNK, 2 * done)]
        clearance[rows] = _gaps(tree, start[rows], end[rows], t).mean(1)
        best = _distinct(start, end, clearance, STARTS * n, apart)
        done += len(rows)
    neighbours = np.reshape(cKDTree(own).query(own, min(near, len(own)))[1], (len(own), -1))
    moved = np.array(
        [_climb(tree, own, neighbours, some[pairs[row]], t) for row in best], dtype=np.int64
    ).reshape(-1, 2)
    gaps = _gaps(tree, own[moved[:, 0]], own[moved[:, 1]], t)
    # Two that were apart may have climbed the same hill.
    rows = _distinct(own[moved[:, 0]], own[moved[:, 1]], gaps.mean(1), n, apart)
    moved, gaps = moved[rows], gaps[rows]
    top = clearance[best].max(initial=0.0) + radius
    length = np.linalg.norm(own[moved[:, 1]] - own[moved[:, 0]], axis=1)
    most = np.minimum(t, 1 - t).mean() * length
    relative = np.divide(gaps.mean(1), most, out=np.zeros_like(most), where=most > 0).clip(max=1)
    return Segments(
        eligible[moved], gaps.mean(1), gaps.max(1, initial=0.0), length, relative, len(pairs), float(top)
    )


def _gaps(tree: cKDTree, start: np.ndarray, end: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Distance to the nearest code at the shares t of the way, ``(P, T)``."""
    return tree.query(start[:, None] + t[:, None] * (end - start)[:, None])[0]


def _distinct(start: np.ndarray, end: np.ndarray, clearance: np.ndarray, n: int, apart: float) -> list[int]:
    """Rows of the n largest clearances, without segments whose ends both lie near those of one already
    taken."""
    left, chosen = clearance.copy(), []
    while len(chosen) < n and left.max(initial=-np.inf) > -np.inf:
        row = int(left.argmax())
        chosen.append(row)
        for a, b in ((start, end), (end, start)):
            same = (np.linalg.norm(a - start[row], axis=1) <= apart) & (
                np.linalg.norm(b - end[row], axis=1) <= apart
            )
            left[same] = -np.inf
    return chosen


def _climb(
    tree: cKDTree, own: np.ndarray, neighbours: np.ndarray, ends: np.ndarray, t: np.ndarray
) -> np.ndarray:
    """Ends ``(2,)`` of a segment that no exchange of one of them for a near code improves."""
    best = _gaps(tree, own[ends[:1]], own[ends[1:]], t).mean()
    for _ in range(ROUNDS):
        moves = [
            np.stack(np.broadcast_arrays(*pair), 1)
            for pair in ((neighbours[ends[0]], ends[1]), (ends[0], neighbours[ends[1]]))
        ]
        pairs = np.concatenate(moves)
        clearance = _gaps(tree, own[pairs[:, 0]], own[pairs[:, 1]], t).mean(1)
        if not clearance.max() > best + 1e-12:
            break
        best, ends = clearance.max(), pairs[clearance.argmax()]
    return ends
