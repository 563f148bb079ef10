"""The nearest members of a family that is the image of a manifold."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentrun.manifolds import Manifold

KEPT = 3  # searches that are made for an example, from the nearest of these
STEPS = 40  # of Levenberg and Marquardt's method
CHUNK = 512  # examples at a time


@torch.no_grad()
def nearest_points(
    manifold: Manifold,
    map_: Callable[[Tensor], Tensor],
    slopes: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    starts: Tensor,
) -> Tensor:
    """The points z ``(N, a)`` of ``manifold`` whose images ``map_(z)`` come nearest to ``x (N, D)`` float64.

    From the ``KEPT`` nearest of ``starts (M, a)``, points spread over the manifold, ``STEPS`` damped
    Gauss-Newton steps each along geodesics; a step that brings no gain is not made and shortens the next.
    ``slopes(z, directions)``: derivatives ``(N, K, D)`` of the map along ``directions (N, K, a)``.
    """
    images = map_(starts)
    return torch.cat([_search(manifold, map_, slopes, part, starts, images) for part in x.split(CHUNK)])


def _search(manifold, map_, slopes, x: Tensor, starts: Tensor, images: Tensor) -> Tensor:
    near = torch.cdist(x, images).topk(min(KEPT, len(starts)), largest=False).indices
    z = starts[near].flatten(0, 1)  # (N KEPT, a)
    goal = x.repeat_interleave(near.shape[1], dim=0)
    miss = (map_(z) - goal).square().sum(-1)
    damping = torch.full_like(miss, 1e-3)
    for _ in range(STEPS if manifold.dim else 0):
        frame = manifold.frame(z)
        jacobian = slopes(z, frame)
        slope = (jacobian @ (map_(z) - goal).unsqueeze(-1)).squeeze(-1)
        square = jacobian @ jacobian.mT
        scale = square.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True)
        floor = torch.finfo(x.dtype).eps * scale + torch.finfo(x.dtype).tiny
        damped = square + torch.diag_embed((damping.unsqueeze(-1) * scale + floor).expand_as(slope))
        step = -torch.linalg.solve(damped, slope)
        tried = manifold.exp(z, (step.unsqueeze(-2) @ frame).squeeze(-2))
        missed = (map_(tried) - goal).square().sum(-1)
        better = missed < miss
        z, miss = torch.where(better.unsqueeze(-1), tried, z), torch.where(better, missed, miss)
        damping = torch.where(better, damping / 5, damping * 4).clamp(1e-12, 1e12)
    best = miss.view(near.shape).argmin(1)
    return z.view(*near.shape, -1)[torch.arange(len(x), device=x.device), best]
