"""Exact Euclidean nearest neighbours by matrix products, for any number of dimensions."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

CELLS = 1 << 22  # numbers held at once
MARGIN = 8  # candidates beyond k whose exact distance is looked at
EQUAL = 1e-9  # squared distances that differ by this share are equally near


def nearest(queries: Tensor, points: Tensor, k: int, same: bool = False) -> tuple[Tensor, Tensor]:
    """The k points nearest to each query, closest first: distances ``(Q, k)`` float64 and row numbers ``(Q,
    k)`` int64.

    ``queries (Q, ...)`` and ``points (N, ...)`` are flattened to rows; distances are Euclidean, in the data's
    unit. ``same``: queries and points are the same rows and no row is its own neighbour (a duplicate row is
    one, at distance 0). ``k`` is cut to what there is.

    Candidates come from |q|² + |p|² - 2 q·p in float32, which is wrong by up to about 2⁻²³ √D (|q|² + |p|²);
    their distances are taken again as ||q - p|| in float64. Queries for which a point left out could be
    nearer than the k-th, or as near, within that error are searched again in float64, and the few for which
    that is not enough by plain differences: copies have distance 0 exactly and no neighbour is missed. Of
    points equally far (within 1e-9 of the distance) those of the lowest rows come, in their order.

    >>> nearest(torch.tensor([[2.5]]), torch.tensor([[0.0], [2.0], [4.0]]), k=2)
    (tensor([[0.5000, 1.5000]], dtype=torch.float64), tensor([[1, 2]]))
    """
    q, p = queries.flatten(1), points.flatten(1)
    k = min(k, len(p) - same)
    if k < 1 or len(q) == 0:
        shape = len(q), max(k, 0)
        return q.new_zeros(shape, dtype=torch.float64), q.new_zeros(shape, dtype=torch.int64)
    itself = torch.arange(len(q), device=q.device) if same else None
    distance, index, sure = _search(q, p, k, itself, torch.float32)
    for search in (partial(_search, dtype=torch.float64), _plain):
        doubtful = (~sure).nonzero().squeeze(1)
        if len(doubtful):
            rows = None if itself is None else itself[doubtful]
            distance[doubtful], index[doubtful], sure[doubtful] = search(q[doubtful], p, k, rows)
    return distance, index


def usual_gap(points: Tensor, share: float) -> float:
    """The distance to the nearest other point that so large a share of ``points (N, ...)`` stays within: the
    quantile ``share``; 0 for fewer than two.

    >>> usual_gap(torch.tensor([[0.0], [1.0], [3.0]]), 1.0)
    2.0
    """
    apart = nearest(points, points, 1, same=True)[0]
    return apart.quantile(share).item() if apart.numel() else 0.0


def _search(
    q: Tensor, p: Tensor, k: int, itself: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbours with the products taken in ``dtype``, and which queries are certain to miss none;
    ``itself (Q,)``: the point that a query is, which does not count."""
    wide = min(k + MARGIN + (itself is not None), len(p))
    # Centring keeps the norms, and so the rounding error of the expanded square, as small as the data allow.
    centre = p.mean(0)
    targets = (p - centre).to(dtype)
    squares = targets.square().sum(1)
    # Rounding of a dot product of D terms grows like sqrt(D); 4 leaves room for the centring and the sum of
    # squares.
    unit = 4 * torch.finfo(dtype).eps * q.shape[1] ** 0.5
    results: list[tuple[Tensor, Tensor, Tensor]] = []
    # Neither distances nor copies of the queries outgrow the memory.
    step = max(1, CELLS // max(len(p), q.shape[1]))
    for start in range(0, len(q), step):  # over chunks that fit memory, not over rows
        part = q[start : start + step]
        rows = (part - centre).to(dtype)
        norms = rows.square().sum(1, keepdim=True)
        approximate = torch.addmm(squares, rows, targets.T, alpha=-2).add_(norms)
        if itself is not None:
            approximate.scatter_(1, itself[start : start + step, None], torch.inf)
        edge, candidates = approximate.topk(wide, largest=False)
        exact = _exact(part, p, candidates)
        if itself is not None:
            exact.masked_fill_(candidates == itself[start : start + step, None], torch.inf)
        exact, rows = _in_order(exact, candidates, len(p))
        error = unit * (norms.squeeze(1) + squares.max()).double()
        sure = edge[:, -1].double() - error > exact[:, k - 1].square() * (1 + 3 * EQUAL)
        results.append((exact[:, :k], rows[:, :k], sure | (wide == len(p))))
    distance, index, sure = map(torch.cat, zip(*results, strict=True))
    return distance, index, sure


def _plain(q: Tensor, p: Tensor, k: int, itself: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbours by differences in float64, without products: slow and always right."""
    results: list[tuple[Tensor, Tensor]] = []
    points, every = p.double(), torch.arange(len(p), device=p.device)
    step = max(1, CELLS // max(len(p), q.shape[1]))
    for start in range(0, len(q), step):  # over chunks that fit memory, not over rows
        part = q[start : start + step].double()
        distance = torch.cdist(part, points, compute_mode="donot_use_mm_for_euclid_dist")
        if itself is not None:
            distance.scatter_(1, itself[start : start + step, None], torch.inf)
        distance, index = _in_order(distance, every.expand(len(part), -1), len(p))
        results.append((distance[:, :k], index[:, :k]))
    distance, index = map(torch.cat, zip(*results, strict=True))
    return distance, index, torch.ones(len(q), dtype=torch.bool, device=q.device)


def _in_order(distance: Tensor, index: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Distances ``(Q, C)`` from the smallest, and the row numbers ``index (Q, C)`` < n in the order of their
    distances, of equal ones in their own: a run of distances each within the share ``EQUAL`` of the one
    before."""
    distance, order = distance.sort(1)
    apart = ~(distance.diff(dim=1) <= EQUAL * distance[:, :-1])
    group = torch.nn.functional.pad(apart.cumsum(1), (1, 0))
    index = index.gather(1, order)
    return distance, index.gather(1, (group * n + index).argsort(1))


def _exact(q: Tensor, p: Tensor, candidates: Tensor) -> Tensor:
    """||q_i - p_j|| in float64 for the candidates j of each i, ``(Q, C)``; in chunks of bounded memory."""
    step = max(1, CELLS // (candidates.shape[1] * max(1, q.shape[1])))
    parts = zip(q.double().split(step), candidates.split(step), strict=True)
    return torch.cat([(p[index].double() - rows[:, None]).norm(dim=2) for rows, index in parts])
