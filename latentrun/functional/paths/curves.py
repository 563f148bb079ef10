"""Curves through whitened codes: points on them, variants of them, parts of them.

P curves are given by knots ``(P, K, k)`` in k whitened dimensions, evenly spaced in the parameter t in [0,
1]: two knots are a segment, more a cubic spline (not-a-knot; de Boor 1978), as one that never overshoots
would flatten where a coordinate turns.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from latentrun.functional.noise import Noise
from latentrun.functional.ties import largest

FINE = 65  # points of a curve between which it counts as straight when it is cut


def along(knots: np.ndarray, steps: int) -> np.ndarray:
    """Points ``(P, steps, k)`` of curves at even t.

    >>> along(np.array([[[0.0], [2.0]]]), 3)[0, :, 0]  # one segment on a line
    array([0., 1., 2.])
    """
    t, at = np.linspace(0, 1, knots.shape[1]), np.linspace(0, 1, steps)
    if not len(knots):
        return np.zeros((0, steps, knots.shape[2]))
    if knots.shape[1] == 2:
        return knots[:, :1] + at[:, None] * (knots[:, 1:] - knots[:, :1])
    return CubicSpline(t, knots, axis=1)(at)


def resampled(lines: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Points ``(P, K, k)`` of polylines ``(P, T, k)`` at the shares ``(P, K)`` or ``(K,)`` of their length.

    >>> resampled(np.array([[[0.0], [1.0], [4.0]]]), np.array([0.5]))  # half of the way, not of the points
    array([[[2.]]])
    """
    steps = np.linalg.norm(np.diff(lines, axis=1), axis=2)
    length = np.concatenate([np.zeros((len(lines), 1)), steps.cumsum(1)], 1)
    length /= np.maximum(length[:, -1:], 1e-300)
    share = np.broadcast_to(share, (len(lines), share.shape[-1]))
    # Row p lies in (2 p, 2 p + 1): one search in one sorted list.
    offset = 2 * np.arange(len(lines))[:, None]
    place = np.searchsorted((length + offset).ravel(), (share + offset).ravel(), side="right")
    before = np.arange(len(lines))[:, None] * length.shape[1]
    left = (place.reshape(share.shape) - 1 - before).clip(0, length.shape[1] - 2)
    start, end = (np.take_along_axis(length, left + i, 1) for i in (0, 1))
    part = np.divide(share - start, end - start, out=np.zeros_like(share), where=end > start).clip(0, 1)
    a, b = (np.take_along_axis(lines, (left + i)[..., None], 1) for i in (0, 1))
    return a + part[..., None] * (b - a)


def moved(knots: np.ndarray, copies: int, length: float, cut: float, noise: Noise) -> np.ndarray:
    """``copies`` variants of every curve, ``(P * copies, K, k)``: both ends moved by normal numbers of sd
    ``length``, what lies between with them, and up to the share ``cut`` cut off at either end. A straight
    curve stays straight."""
    noise = noise.to("cpu")
    knots = np.repeat(knots, copies, axis=0)
    n, steps, k = knots.shape
    ends = length * noise.normal("ends", (n, 2, k)).double().numpy()
    trim = cut * noise.uniform("cut", (n, 2)).double().numpy()
    t = np.linspace(0, 1, steps)[:, None]
    knots = knots + (1 - t) * ends[:, :1] + t * ends[:, 1:]
    return _between(knots, trim[:, :1], 1 - trim[:, 1:])


def longest_part(knots: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Every curve cut to its longest part inside, given that at T even points, ``inside (P, T)``; without
    those that are inside at no two points in a row."""
    t = inside.shape[1]
    total = np.concatenate([np.zeros((len(inside), 1)), inside.cumsum(1)], 1)
    a, b = np.triu_indices(t, 1)
    whole = total[:, b + 1] - total[:, a] == b - a + 1
    longest = np.where(whole, b - a, 0).argmax(1)
    has_part = whole.any(1)
    ends = np.stack([a[longest], b[longest]], 1)[has_part] / (t - 1)
    return _between(knots[has_part], ends[:, :1], ends[:, 1:])


def _between(knots: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Curves from ``start (P, 1)`` to ``end (P, 1)``, shares of their length or nearly so."""
    return resampled(along(knots, FINE), start + (end - start) * np.linspace(0, 1, knots.shape[1]))


def distinct(knots: np.ndarray, score: np.ndarray, n: int, apart: float) -> np.ndarray:
    """Rows of up to n curves of largest positive score, none of which runs within ``apart`` (root mean
    square) of a better one."""
    left, rows = np.where(score > 0, score, -np.inf), []
    while len(rows) < n and left.max(initial=-np.inf) > -np.inf:
        rows.append(largest(left))
        left[np.sqrt(((knots - knots[rows[-1]]) ** 2).sum(2).mean(1)) <= apart] = -np.inf
        left[rows[-1]] = -np.inf
    return np.array(rows, dtype=np.int64)


def traced(before: np.ndarray, tree: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """The nodes ``(P, T)`` of the ways from the root of ``tree[p]`` to ``goal[p]``, the first repeated where
    a way is shorter than the longest; where none leads there it is the goal.

    ``before (S, N)``: of S trees, the node before each; negative at roots and where no way leads.

    >>> traced(np.array([[-1, 0, 1]]), np.array([0, 0]), np.array([2, 1])).tolist()
    [[0, 1, 2], [0, 0, 1]]
    """
    nodes = [goal]
    while True:
        last = nodes[-1]
        step = before[tree, last]
        if (step < 0).all():
            return np.stack(nodes[::-1], 1)
        nodes.append(np.where(step < 0, last, step))
