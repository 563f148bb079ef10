"""Where a closed path is torn: steps that do not shrink when the path is refined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Continuity:
    """Of P closed paths, each ``(P,)`` float64. ``coarse``, ``fine``: the largest step over the median step
    (infinite where most points do not move) before and after refinement. ``persistence``: the largest fine
    step over the largest coarse one: 1 / refinement where the path goes evenly, 1 where it is torn.
    ``size``: the largest fine step as a share of the distance between the two points farthest apart, and
    ``at`` the share of the way where it begins, in [0, 1). ``half``: the least share of the fine steps that
    make half of the path's length, 1/2 where it goes evenly, near 0 where it jumps, however steep a
    continuous map makes the jump. NaN where nothing moves."""

    coarse: Tensor
    fine: Tensor
    persistence: Tensor
    size: Tensor
    at: Tensor
    half: Tensor


def closed_steps(points: Tensor, distance: Distance) -> Tensor:
    """Lengths ``(P, T)`` of the steps along closed paths ``(P, T, d)``; the last leads to the first point."""
    return distance(points, points.roll(-1, dims=1)).double()


def diameter(points: Tensor, distance: Distance, most: int = 256) -> Tensor:
    """The largest distance ``(P,)`` of two points of each path ``(P, T, d)``, among ``most`` of them, evenly
    spaced."""
    some = points[:, :: max(1, points.shape[1] // most)]
    return torch.stack([distance(path[:, None], path[None]).double().amax((0, 1)) for path in some])


def continuity(points: Tensor, refinement: int, distance: Distance) -> Continuity:
    """Closed paths ``(P, T, d)``, of which every ``refinement``-th point makes the coarse path; T is a
    multiple of it.

    >>> turn = torch.linspace(0, 1, 9)[:8, None].expand(1, 8, 1)  # from 0 to 7/8, and back in one step
    >>> continuity(turn, 4, lambda a, b: (a - b).norm(dim=-1)).size
    tensor([1.], dtype=torch.float64)
    """
    fine, coarse = closed_steps(points, distance), closed_steps(points[:, ::refinement], distance)
    largest, at = fine.max(1)
    before = coarse.amax(1)
    nothing = torch.where(before > 0, 0.0, torch.nan)
    return Continuity(
        coarse=before / coarse.median(1).values + nothing,
        fine=largest / fine.median(1).values + nothing,
        persistence=(largest / before).clamp_max(1.0),
        size=(largest / diameter(points, distance)).clamp_max(1.0),
        at=at.double() / points.shape[1] + nothing,
        half=half_way(fine) + nothing,
    )


def half_way(steps: Tensor) -> Tensor:
    """The least share ``(P,)`` of steps of lengths ``(P, T)`` that make half of their sum.

    >>> half_way(torch.tensor([[1.0, 1.0, 1.0, 1.0], [9.0, 1.0, 1.0, 1.0]]))
    tensor([0.5000, 0.2500], dtype=torch.float64)
    """
    longest = steps.double().sort(dim=1, descending=True).values.cumsum(1)
    short = longest < 0.5 * longest[:, -1:] * (1 - 1e-12)
    return (short.sum(1) + 1).double() / steps.shape[1]
