"""The search for curves through a cloud of codes that move one factor and leave the others, from codes with
known factors alone: no decoder and no oracle takes part.

Here the codes lie on a grid, and the two factors are their coordinates: the best straight path for the first
runs along the first axis.

>>> import torch
>>> from latentrun.functional.clouds.factor_field import factor_field
>>> side = np.linspace(-1, 1, 9)
>>> u = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
>>> field = factor_field(u, u, period=np.zeros(2), neighbours=9)
>>> ranges, cyclic = torch.tensor([[-1.0, 1.0]] * 2), torch.tensor([False, False])
>>> cloud = Cloud(field, ranges, cyclic, hull=None, reach=0.5, min_change=0.1)
>>> effort = Effort(ends=81, pairs=200, probes=9, wanted=1, apart=0.2, depth=0.1, links=4, knots=3)
>>> path = straight(cloud, 0, effort, Noise(0)).knots[0]
>>> along_first, along_second = np.abs(path[1] - path[0])
>>> bool(along_first > 1.9), bool(along_second < 0.1)
(True, True)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra

from latentrun.functional.clouds.factor_field import Nearest, wrapped
from latentrun.functional.noise import Noise
from latentrun.functional.paths.cloud import CELLS, Cloud
from latentrun.functional.paths.curves import FINE, along, distinct, moved, resampled, traced

COUNTS = (3, 5, 9, 17, 33)  # knots of splines along a hull: fewer are smoother, more keep nearer to the codes
LENGTH = 1e-3  # cost of a whitened unit, in ranges of a factor: of paths that leak alike, the shorter
ROUNDS, ELITES, MOVES = 8, 12, 24  # local search: rounds, curves kept, moves of each
FIRST, LAST = 0.5, 0.05  # whitened units by which ends move in the first and last round


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
class Curves:
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

    find: Callable[[Cloud, int, Effort, Noise], Curves]
    confine: Callable[[Cloud, np.ndarray, Effort], np.ndarray]


# ---------------------------------------------------------------- straight
def straight(cloud: Cloud, factor: int, effort: Effort, noise: Noise) -> Curves:
    """Segments between codes, then between points near them (:func:`_improve`).

    Of all pairs of ``ends`` random codes in which the factor rises, the ends bound the score of a monotone
    path from above: the others move at least as far as the ends differ. ``pairs`` of them are tried, densest
    where the bound is high.
    """
    noise = noise.to("cpu")
    u, value = cloud.field.u, cloud.field.value
    rows = noise.permutation("ends", len(u)).numpy()[: effort.ends]
    rise, others = _differences(cloud, value[rows][:, None], value[rows][None], factor)
    bound = np.where(rise >= cloud.min_change, rise / (1 + others / np.maximum(rise, 1e-12)), 0.0).ravel()
    order = np.argsort(-bound, kind="stable")[: (bound > 0).sum()]
    if not len(order):
        return Curves(np.zeros((0, 2, u.shape[1])), 0, "no two codes differ in it")
    share = np.linspace(0, 1, min(effort.pairs, len(order))) ** 3
    tried = order[np.unique((share * (len(order) - 1)).astype(np.int64))]
    knots = u[rows][np.stack(np.unravel_index(tried, rise.shape), 1)]
    knots, worth = _improve(cloud, knots, factor, effort, noise, anywhere)
    return _best(knots, worth, len(tried), effort, "no segment between codes moves it")


# ---------------------------------------------------------------- along the hull
def hull(cloud: Cloud, factor: int, effort: Effort, noise: Noise) -> Curves:
    """Splines through codes of the hull's shell along which the factor only rises and the others move least.

    The shell: codes at most ``depth`` beneath the hull of all. Each is linked to its ``links`` nearest in the
    shell, upwards in the factor and where a code is near the middle of the link. A link costs what the other
    factors move on it, mean over them, in shares of their ranges; so the cheapest way (Dijkstra 1959) between
    two codes between which the factor rises by r has, of all ways through the shell, the greatest r / (1 +
    cost / r), its score. Splines through few and many points, evenly spaced on the way, are compared; then
    moved (:func:`_improve`); they stay near the hull (:func:`near_hull`).
    """
    k = cloud.field.u.shape[1]
    none = np.zeros((0, effort.knots, k))
    if k < 2:
        return Curves(none, 0, "there is one direction: the hull is two points")
    if cloud.hull is None:
        return Curves(none, 0, "the codes have no hull to run along")
    shell = np.flatnonzero(cloud.depth(cloud.field.u) <= effort.depth)
    if len(shell) < 3:
        return Curves(none, 0, "fewer than three codes lie near the hull")
    ways, compared = _ways(cloud, shell, factor, effort)
    if not len(ways):
        return Curves(none, 0, "no way through the codes near the hull moves it")
    counts = sorted({min(count, effort.knots) for count in COUNTS})
    splines = [along(resampled(ways, np.linspace(0, 1, count)), effort.knots) for count in counts]
    knots = near_hull(cloud, np.concatenate(splines), effort)
    knots, worth = _improve(cloud, knots, factor, effort, noise, near_hull)
    why = "every way through the codes near the hull leaves it or does not move it"
    return _best(knots, worth, compared, effort, why)


def _ways(cloud: Cloud, shell: np.ndarray, factor: int, effort: Effort) -> tuple[np.ndarray, int]:
    """The best of the cheapest ways through the codes ``shell``, as polylines ``(P, T, k)``, and how many
    were compared."""
    u, y = cloud.field.u[shell], cloud.field.value[shell]
    # A spread of beginnings, most of them where the factor is low; of a cyclic one everywhere.
    share = np.linspace(0, 1, min(effort.ends, len(shell)))
    share = share if cloud.cyclic[factor] else 0.6 * share**2
    start = np.argsort(y[:, factor], kind="stable")[np.unique((share * (len(shell) - 1)).astype(np.int64))]
    links = _links(cloud, u, y, factor, effort.links)
    cost, before = dijkstra(links, indices=start, return_predecessors=True)
    rise, _ = _differences(cloud, y[start][:, None], y[None], factor)
    if cloud.cyclic[factor]:
        rise = rise % 1.0
    fits = np.isfinite(cost) & (rise >= cloud.min_change)
    score = np.where(fits, rise / (1 + np.where(fits, cost, 0.0) / np.maximum(rise, 1e-12)), 0.0)
    top = np.argsort(-score, axis=None, kind="stable")[: min(effort.pairs, int((score > 0).sum()))]
    if not len(top):
        return np.zeros((0, 2, u.shape[1])), 0
    row, end = np.unravel_index(top, score.shape)
    ends = np.stack([u[start[row]], u[end]], 1)
    best = distinct(ends, score[row, end], 4 * effort.wanted, effort.apart)
    return u[traced(before, row[best], end[best])], int(fits.sum())


def near_hull(cloud: Cloud, knots: np.ndarray, effort: Effort) -> np.ndarray:
    """Curves whose knots outside the hull are drawn towards its centre onto its surface; without those that
    still leave it by more than a tenth of ``depth`` or run more than twice ``depth`` beneath it."""
    hull, knots = cloud.hull, knots.copy()
    if hull is None:
        return knots[:0]
    m = hull.points.shape[1]
    inward = knots[..., :m] - hull.centre
    # n·(centre + s inward) + b = 0 for the nearest facet met.
    offset = hull.equations[:, :-1] @ hull.centre + hull.equations[:, -1]
    flat = inward.reshape(-1, m)
    parts = np.array_split(flat, max(1, len(flat) * len(offset) // CELLS))
    furthest = np.concatenate([(part @ hull.equations[:, :-1].T / -offset).max(1) for part in parts])
    knots[..., :m] = hull.centre + inward / np.maximum(furthest.reshape(inward.shape[:-1]), 1.0)[..., None]
    depth = cloud.depth(along(knots, FINE))
    return knots[(depth.min(1) >= -effort.depth / 10) & (depth.max(1) <= 2 * effort.depth)]


def _links(cloud: Cloud, u: np.ndarray, y: np.ndarray, factor: int, links: int) -> csr_array:
    """Costs of the links between codes of the shell, upwards in the factor."""
    near = Nearest(u).query(u, links + 1)[1][:, 1:]
    a, b = np.repeat(np.arange(len(u)), near.shape[1]), near.ravel()
    a, b = np.concatenate([a, b]), np.concatenate([b, a])
    a, b = np.unique(np.stack([a, b]), axis=1)
    rise, others = _differences(cloud, y[a], y[b], factor)
    up = (rise > 0) & (cloud.field.near.query((u[a] + u[b]) / 2, 1)[0][:, 0] <= cloud.reach)
    a, b = a[up], b[up]
    cost = others[up] + LENGTH * np.linalg.norm(u[a] - u[b], axis=1)
    return coo_array((cost, (a, b)), shape=(len(u), len(u))).tocsr()


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
        copies = confine(cloud, moved(knots, MOVES, length, length / 2, noise.at("move", step)), effort)
        worth = np.concatenate([worth, cloud.worth(copies, factor, effort.probes)])
        knots = np.concatenate([knots, copies])
    return knots, worth


def _best(knots: np.ndarray, worth: np.ndarray, compared: int, effort: Effort, why: str) -> Curves:
    """``compared`` without the moved copies, which are counted here."""
    rows = distinct(knots, worth, effort.wanted, effort.apart)
    return Curves(knots[rows], compared + ROUNDS * ELITES * MOVES, "" if len(rows) else why)
