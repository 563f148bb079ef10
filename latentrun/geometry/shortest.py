"""Shortest curves from several beginnings, and the distances between many points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from latentrun.geometry.energy import Geodesics, Settings, least_energy
from latentrun.geometry.graph import Graph
from latentrun.geometry.surface import Surface

PAIRS = 1024  # whose curves are held at once where only their lengths are wanted


def shortest(
    surface: Surface, start: Tensor, end: Tensor, settings: Settings, graph: Graph | None = None
) -> Geodesics:
    """Of each pair ``(P, d)`` the curve of least energy that a straight line and, with a ``graph``, its way
    through the codes lead to. One that has not converged is kept where it is shorter all the same: the other
    is then none of least energy."""
    found = least_energy(surface, start, end, None, settings)
    if graph is None:
        return found
    other = least_energy(surface, start, end, graph.ways(start, end, settings.points), settings)
    return better(found, other)


def better(one: Geodesics, other: Geodesics) -> Geodesics:
    """Of each pair the curve of less energy."""
    take = (other.energy < one.energy) | ~torch.isfinite(one.energy)
    pairs = ((getattr(one, f.name), getattr(other, f.name)) for f in fields(Geodesics))
    return Geodesics(*(torch.where(_shaped(take, a), b, a) for a, b in pairs))


def _shaped(rows: Tensor, like: Tensor) -> Tensor:
    return rows.view(-1, *[1] * (like.dim() - 1))


@dataclass(frozen=True)
class Distances:
    """``length (A, B)`` of the shortest curves from A points to B, and which have ``converged (A, B)``; where
    one has not, the length is that of the curve it came to."""

    length: Tensor
    converged: Tensor


def distances(
    surface: Surface,
    a: Tensor,
    b: Tensor | None,
    settings: Settings,
    graph: Graph | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> Distances:
    """Between all of ``a (A, d)`` and all of ``b (B, d)``, as :func:`shortest` finds them; where b is None
    among the points of a, each pair once and the matrix symmetric. No more than ``PAIRS`` curves are held.

    ``tell``: is told how many of how many pairs are done.

    >>> from latentrun.geometry.surface import Immersed
    >>> plane = Immersed(lambda z: 2 * z, dim=2)
    >>> distances(plane, torch.tensor([[0.0, 0.0], [3.0, 4.0]]), None, Settings()).length
    tensor([[ 0., 10.],
            [10.,  0.]])
    """
    count = len(a), len(a if b is None else b)
    length = torch.zeros(count, dtype=a.dtype, device=a.device)
    converged = torch.ones(count, dtype=torch.bool, device=a.device)
    if b is None:
        rows, columns = torch.triu_indices(*count, offset=1, device=a.device)
    else:
        rows, columns = (index.flatten() for index in torch.ones(count, device=a.device).nonzero().T)
    for begin in range(0, len(rows), PAIRS):  # over chunks that fit memory, not over pairs
        i, j = rows[begin : begin + PAIRS], columns[begin : begin + PAIRS]
        found = shortest(surface, a[i], (a if b is None else b)[j], settings, graph)
        for row, column in [(i, j), (j, i)][: 2 if b is None else 1]:
            length[row, column], converged[row, column] = found.length, found.converged
        if tell is not None:
            tell(min(begin + PAIRS, len(rows)), len(rows))
    return Distances(length, converged)
