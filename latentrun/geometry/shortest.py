"""Shortest curves from several beginnings."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from latentrun.geometry.energy import Geodesics, Settings, least_energy
from latentrun.geometry.graph import Graph
from latentrun.geometry.surface import Surface


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
