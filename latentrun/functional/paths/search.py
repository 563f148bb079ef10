"""Paths through a cloud of codes that move one factor and leave the others, found from codes with known
factors alone.

Curves live in whitened codes and are given by knots ``(P, K, k)``, evenly spaced in the parameter t in [0,
1]: two knots are a segment, more a cubic spline (not-a-knot; de Boor 1978), as one that never overshoots
would flatten where a coordinate turns. No decoder and no oracle is asked here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from latentrun.functional.clouds.factor_field import FactorField, Nearest, wrapped
from latentrun.functional.clouds.hulls import Hull
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import Course, follow, variation

COUNTS = (
    3,
    5,
    9,
    17,
    33,
)  # knots of splines along a hull, as far as wanted: fewer are smoother, more keep nearer to the codes
FINE = 65  # points of a curve between which it counts as straight when it is cut
CELLS = 1 << 22  # numbers held at once
LENGTH = (
    1e-3  # of paths along a hull that leak alike, the shorter: cost of a whitened unit, in ranges of a factor
)
ROUNDS, ELITES, MOVES = 8, 12, 24  # local search: rounds, curves kept, moves of each
FIRST, LAST = 0.5, 0.05  # whitened units by which ends move in the first and last round


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
    that."""
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
    held = torch.where(cyclic, values, values.clamp(low, high))
    coverage = torch.where(cyclic, course.covered.clamp(max=1), (held.amax(1) - held.amin(1)) / width)
    own = torch.where(cyclic, course.variation, variation(held, width))
    leakage = course.leakage * course.variation / own
    monotonicity = course.spearman.abs()
    # Single factors, and those that cover too little, have no leakage.
    score = monotonicity * coverage * inside[:, None] / (1 + leakage.nan_to_num(0.0, posinf=torch.inf))
    return Marks(score, monotonicity, leakage, coverage, inside)


# ---------------------------------------------------------------- curves
def along(knots: np.ndarray, steps: int) -> np.ndarray:
    """Points ``(P, steps, k)`` of curves at even t."""
    t, at = np.linspace(0, 1, knots.shape[1]), np.linspace(0, 1, steps)
    if not len(knots):
        return np.zeros((0, steps, knots.shape[2]))
    if knots.shape[1] == 2:
        return knots[:, :1] + at[:, None] * (knots[:, 1:] - knots[:, :1])
    return CubicSpline(t, knots, axis=1)(at)


def resampled(lines: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Points ``(P, K, k)`` of polylines ``(P, T, k)`` at the shares ``(P, K)`` or ``(K,)`` of their
    length."""
    steps = np.linalg.norm(np.diff(lines, axis=1), axis=2)
    length = np.concatenate([np.zeros((len(lines), 1)), steps.cumsum(1)], 1)
    length /= np.maximum(length[:, -1:], 1e-300)
    share = np.broadcast_to(share, (len(lines), share.shape[-1]))
    # Row p lies in (2 p, 2 p + 1): one search in one sorted list.
    offset = 2 * np.arange(len(lines))[:, None]
    place = np.searchsorted((length + offset).ravel(), (share + offset).ravel(), side="right").reshape(
        share.shape
    )
    left = (place - 1 - np.arange(len(lines))[:, None] * length.shape[1]).clip(0, length.shape[1] - 2)
    start, end = (np.take_along_axis(length, left + i, 1) for i in (0, 1))
    part = np.divide(share - start, end - start, out=np.zeros_like(share), where=end > start).clip(0, 1)[
        ..., None
    ]
    a, b = (np.take_along_axis(lines, (left + i)[..., None], 1) for i in (0, 1))
    return a + part * (b - a)


def moved(knots: np.ndarray, each: int, length: float, cut: float, noise: Noise) -> np.ndarray:
    """``each`` variants of every curve, ``(P * each, K, k)``: both ends moved by normal numbers of sd
    ``length``, what lies between with them, and up to the share ``cut`` cut off at either end. A straight
    curve stays straight."""
    noise = noise.to("cpu")
    knots = np.repeat(knots, each, axis=0)
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
    best = np.where(whole, b - a, 0).argmax(1)
    kept = whole.any(1)
    ends = np.stack([a[best], b[best]], 1)[kept] / (t - 1)
    return _between(knots[kept], ends[:, :1], ends[:, 1:])


def _between(knots: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Curves from ``start (P, 1)`` to ``end (P, 1)``, shares of their length or nearly so."""
    return resampled(along(knots, FINE), start + (end - start) * np.linspace(0, 1, knots.shape[1]))


def distinct(knots: np.ndarray, score: np.ndarray, n: int, apart: float) -> np.ndarray:
    """Rows of up to n curves of largest positive score, none of which runs within ``apart`` (root mean
    square) of a better one."""
    left, chosen = np.where(score > 0, score, -np.inf), []
    while len(chosen) < n and left.max(initial=-np.inf) > -np.inf:
        chosen.append(int(left.argmax()))
        left[np.sqrt(((knots - knots[chosen[-1]]) ** 2).sum(2).mean(1)) <= apart] = -np.inf
        left[chosen[-1]] = -np.inf
    return np.array(chosen, dtype=np.int64)


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
        """Distance ``(...,)`` of points ``(..., k)`` inside the hull to its surface; negative outside."""
        flat, equations = u.reshape(-1, u.shape[-1])[:, : self.hull.points.shape[1]], self.hull.equations
        parts = np.array_split(flat, max(1, len(flat) * len(equations) // CELLS))
        return np.concatenate(
            [-(part @ equations[:, :-1].T + equations[:, -1]).max(1) for part in parts]
        ).reshape(u.shape[:-1])

    def mark(self, knots: np.ndarray, probes: int) -> Marks:
        """Marks of curves by the field, at ``probes`` points each."""
        points = along(knots, probes)
        values, gap = self.field.at(points)
        values, inside = torch.from_numpy(values), within(torch.from_numpy(gap.max(1)), self.reach)
        if self.miss is not None:
            inside = inside * within(
                torch.from_numpy(np.exp(self.miss.at(points)[0].max((1, 2)))), self.limit
            )
        t = torch.linspace(0, 1, probes, dtype=torch.float64).expand(len(knots), probes)
        course = follow(
            values, t, torch.zeros(len(knots), dtype=torch.bool), self.ranges, self.cyclic, self.min_change
        )
        return mark(values, self.ranges, self.cyclic, course, inside)

    def worth(self, knots: np.ndarray, factor: int, probes: int) -> np.ndarray:
        """Scores ``(P,)`` for one factor; those of curves that leave the codes fall below those of all that
        do not."""
        marks = self.mark(knots, probes)
        score = marks.score[:, factor].numpy()
        return np.where(marks.within.numpy() >= 1, 1 + score, score) * (score > 0)


@dataclass(frozen=True)
class Effort:
    """How hard is searched: ``ends`` codes at which paths begin, ``pairs`` segments, ``probes`` points of a
    curve, ``wanted`` curves, ``apart`` whitened units between them; paths of the hull: ``depth`` beneath it,
    ``links`` of a code, ``knots``."""

    ends: int
    pairs: int
    probes: int
    wanted: int
    apart: float
    depth: float
    links: int
    knots: int


@dataclass(frozen=True)
class Found:
    """Curves ``(P, K, k)``, best first by the field, how many were ``compared``, and ``why`` there are
    none."""

    knots: np.ndarray
    compared: int
    why: str = ""


@dataclass(frozen=True)
class Finder:
    """A kind of path. ``find(cloud, factor, effort, noise)`` looks for curves that move a factor;
    ``confine(cloud, knots, effort)`` brings curves that were moved back to their kind and leaves out those
    for which that fails."""

    find: Callable[[Cloud, int, Effort, Noise], Found]
    confine: Callable[[Cloud, np.ndarray, Effort], np.ndarray]


# ---------------------------------------------------------------- straight
def straight(cloud: Cloud, factor: int, effort: Effort, noise: Noise) -> Found:
    """Segments between codes, then between points near them (:func:`_improve`).

    Of all pairs of ``ends`` random codes in which the factor rises, the ends bound the score of a monotone
    path from above: the others move at least as far as the ends differ. ``pairs`` of them are tried, densest
    where the bound is high.
    """
    noise = noise.to("cpu")
    u, value = cloud.field.u, cloud.field.value
    some = noise.permutation("ends", len(u)).numpy()[: effort.ends]
    rise, others = _differences(cloud, value[some][:, None], value[some][None], factor)
    bound = np.where(rise >= cloud.min_change, rise / (1 + others / np.maximum(rise, 1e-12)), 0.0).ravel()
    order = np.argsort(-bound, kind="stable")[: (bound > 0).sum()]
    if not len(order):
        return Found(np.zeros((0, 2, u.shape[1])), 0, "no two codes differ in it")
    order = order[
        np.unique((np.linspace(0, 1, min(effort.pairs, len(order))) ** 3 * (len(order) - 1)).astype(np.int64))
    ]
    knots = u[some][np.stack(np.unravel_index(order, rise.shape), 1)]
    knots, worth = _improve(cloud, knots, factor, effort, noise, anywhere)
    return _best(knots, worth, len(order), effort, "no segment between codes moves it")


# ---------------------------------------------------------------- along the hull
def hull(cloud: Cloud, factor: int, effort: Effort, noise: Noise) -> Found:
    """Splines through codes of the hull's shell along which the factor only rises and the others move least.

    The shell: codes at most ``depth`` beneath the hull of all. Each is linked to its ``links`` nearest in the
    shell, upwards in the factor and where a code is near the middle of the link. A link costs what the other
    factors move on it, mean over them, in shares of their ranges; so the cheapest way (Dijkstra 1959) between
    two codes between which the factor rises by r has, of all ways through the shell, the greatest r / (1 +
    cost / r), its score. Splines through few and many points, evenly spaced on the way, are compared; then
    moved (:func:`_improve`); they stay near the hull (:func:`near_hull`).
    """
    u, value = cloud.field.u, cloud.field.value
    none = np.zeros((0, effort.knots, u.shape[1]))
    if cloud.hull is None or u.shape[1] < 2:
        return Found(
            none,
            0,
            "the codes have no hull to run along"
            if u.shape[1] > 1
            else "there is one direction: the hull is two points",
        )
    shell = np.flatnonzero(cloud.depth(u) <= effort.depth)
    if len(shell) < 3:
        return Found(none, 0, "fewer than three codes lie near the hull")
    own, y = u[shell], value[shell]
    # A spread of beginnings, most of them where the factor is low; of a cyclic one everywhere.
    share = np.linspace(0, 1, min(effort.ends, len(shell)))
    rank = np.argsort(y[:, factor], kind="stable")
    start = rank[
        np.unique(((share if cloud.cyclic[factor] else 0.6 * share**2) * (len(shell) - 1)).astype(np.int64))
    ]
    cost, before = dijkstra(
        _links(cloud, own, y, factor, effort.links), indices=start, return_predecessors=True
    )
    rise, _ = _differences(cloud, y[start][:, None], y[None], factor)
    if cloud.cyclic[factor]:
        rise = rise % 1.0
    fits = np.isfinite(cost) & (rise >= cloud.min_change)
    score = np.where(fits, rise / (1 + np.where(fits, cost, 0.0) / np.maximum(rise, 1e-12)), 0.0)
    top = np.argsort(-score, axis=None, kind="stable")[: min(effort.pairs, int((score > 0).sum()))]
    if not len(top):
        return Found(none, 0, "no way through the codes near the hull moves it")
    row, end = np.unravel_index(top, score.shape)
    ends = np.stack([own[start[row]], own[end]], 1)
    best = distinct(ends, score[row, end], 4 * effort.wanted, effort.apart)
    lines = own[_ways(before, row[best], end[best])]
    counts = sorted({min(count, effort.knots) for count in COUNTS})
    knots = np.concatenate(
        [along(resampled(lines, np.linspace(0, 1, count)), effort.knots) for count in counts]
    )
    knots, worth = _improve(cloud, near_hull(cloud, knots, effort), factor, effort, noise, near_hull)
    return _best(
        knots,
        worth,
        int(fits.sum()),
        effort,
        "every way through the codes near the hull leaves it or does not move it",
    )


def near_hull(cloud: Cloud, knots: np.ndarray, effort: Effort) -> np.ndarray:
    """Curves whose knots outside the hull are drawn towards its centre onto its surface; without those that
    still leave it by more than a tenth of ``depth`` or run more than twice ``depth`` beneath it."""
    hull, knots = cloud.hull, knots.copy()
    m = hull.points.shape[1]
    inward = knots[..., :m] - hull.centre
    # n·(centre + s inward) + b = 0 for the nearest facet met.
    offset = hull.equations[:, :-1] @ hull.centre + hull.equations[:, -1]
    flat = inward.reshape(-1, m)
    parts = np.array_split(flat, max(1, len(flat) * len(offset) // CELLS))
    furthest = np.concatenate([(part @ hull.equations[:, :-1].T / -offset).max(1) for part in parts]).reshape(
        inward.shape[:-1]
    )
    knots[..., :m] = hull.centre + inward / np.maximum(furthest, 1.0)[..., None]
    depth = cloud.depth(along(knots, FINE))
    return knots[(depth.min(1) >= -effort.depth / 10) & (depth.max(1) <= 2 * effort.depth)]


def _links(cloud: Cloud, own: np.ndarray, y: np.ndarray, factor: int, links: int) -> coo_array:
    """Costs of the links between codes of the shell, upwards in the factor."""
    near = Nearest(own).query(own, links + 1)[1][:, 1:]
    a, b = np.repeat(np.arange(len(own)), near.shape[1]), near.ravel()
    a, b = np.concatenate([a, b]), np.concatenate([b, a])
    a, b = np.unique(np.stack([a, b]), axis=1)
    rise, others = _differences(cloud, y[a], y[b], factor)
    up = (rise > 0) & (cloud.field.near.query((own[a] + own[b]) / 2, 1)[0][:, 0] <= cloud.reach)
    a, b = a[up], b[up]
    cost = others[up] + LENGTH * np.linalg.norm(own[a] - own[b], axis=1)
    return coo_array((cost, (a, b)), shape=(len(own), len(own))).tocsr()


def _ways(before: np.ndarray, row: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The nodes of the cheapest ways to ``end (P,)`` in the trees ``before[row]``, ``(P, T)`` from beginning
    to end; the beginning is repeated where a way is shorter than the longest."""
    steps = [end]
    while True:
        last = steps[-1]
        step = before[row, last]
        if (step < 0).all():
            return np.stack(steps[::-1], 1)
        steps.append(np.where(step < 0, last, step))


# ---------------------------------------------------------------- both
def anywhere(cloud: Cloud, knots: np.ndarray, effort: Effort) -> np.ndarray:
    """All curves: moved segments are segments."""
    return knots


FINDERS: dict[str, Finder] = {"straight": Finder(straight, anywhere), "hull": Finder(hull, near_hull)}


def _differences(cloud: Cloud, a: np.ndarray, b: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """How far the factor rises from ``a (..., F)`` to ``b`` and how far the others move, mean over them, in
    shares of ranges."""
    low, high = cloud.ranges.numpy().T
    change = wrapped(b - a, cloud.field.period) / np.where(high > low, high - low, 1.0)
    rest = np.delete(np.abs(change), factor, axis=-1)
    return change[..., factor], rest.mean(-1) if rest.shape[-1] else np.zeros(rest.shape[:-1])


def _improve(
    cloud: Cloud,
    knots: np.ndarray,
    factor: int,
    effort: Effort,
    noise: Noise,
    confine: Callable[[Cloud, np.ndarray, Effort], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Curves and what they are worth after rounds in which copies of the best, moved at random by less and
    less, compete with them."""
    worth = cloud.worth(knots, factor, effort.probes)
    for step, length in enumerate(np.geomspace(FIRST, LAST, ROUNDS)):
        best = distinct(knots, worth, ELITES, max(length, effort.apart))
        knots, worth = knots[best], worth[best]
        if not len(best):
            break
        fresh = confine(cloud, moved(knots, MOVES, length, length / 2, noise.at("move", step)), effort)
        knots, worth = (
            np.concatenate([knots, fresh]),
            np.concatenate([worth, cloud.worth(fresh, factor, effort.probes)]),
        )
    return knots, worth


def _best(knots: np.ndarray, worth: np.ndarray, compared: int, effort: Effort, why: str) -> Found:
    """``compared`` without the moved copies, which are counted here."""
    rows = distinct(knots, worth, effort.wanted, effort.apart)
    return Found(knots[rows], compared + ROUNDS * ELITES * MOVES, "" if len(rows) else why)
