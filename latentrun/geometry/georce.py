"""Geodesics between given points by GEORCE, which needs the metric and its derivative alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import grad

from latentrun.functional.halving import halved
from latentrun.geometry.curves import resampled, straight
from latentrun.geometry.energy import Geodesics, Settings
from latentrun.geometry.surface import Surface

HALVINGS = 10  # of a step that does not lower the energy


def georce(
    surface: Surface, start: Tensor, end: Tensor, first: Tensor | None, settings: Settings
) -> Geodesics:
    """Curves of T points that minimise E = sum_t u_t' M(z_t) u_t, u_t = z_t+1 - z_t (Rygaard & Hauberg 2025,
    arXiv 2505.05961, algorithm 1): with M and its derivative held, the points that fulfil the conditions of a
    minimum are found by one linear system of d equations a curve; of the way there from the last curve the
    first of 1, 1/2, 1/4, ... that lowers the energy is gone.

    Arguments and result as those of :func:`~latentrun.geometry.energy.least_energy`; ``residual``: the share
    by which the last step lowered the energy; there are no pieces, all points are free.
    """
    points = settings.points
    curve = straight(start, end, points) if first is None else resampled(first, points).clone()
    energy = _energy(surface, curve)
    residual = torch.full_like(energy, torch.inf)
    taken = torch.zeros(len(curve), dtype=torch.long, device=curve.device)
    active = torch.arange(len(curve), device=curve.device)
    for _ in range(settings.steps):
        taken[active] += 1
        lower, trial = _searched(surface, curve[active], energy[active])
        residual[active] = 1 - lower / energy[active].clamp_min(torch.finfo(energy.dtype).tiny)
        curve[active], energy[active] = trial, lower
        active = active[residual[active] > settings.tolerance]
        if not len(active):
            break
    fine = resampled(curve, settings.fine)
    return Geodesics.judged(surface, fine, residual, residual <= settings.tolerance, taken)


def _energy(surface: Surface, curve: Tensor) -> Tensor:
    steps = curve.diff(dim=1)
    m = surface.metric(curve[:, :-1].flatten(0, 1)).unflatten(0, steps.shape[:2])
    return torch.einsum("pti,ptij,ptj->p", steps, m, steps)


def _proposed(surface: Surface, curve: Tensor) -> Tensor:
    """The points ``(P, T, d)`` that fulfil the conditions of a minimum for the metric held."""
    z, u = curve[:, :-1], curve.diff(dim=1)
    inverse, force = _held(surface, z, u)
    later = force.flip(1).cumsum(1).flip(1) - force  # sum over the points behind t
    pull = (inverse @ later.unsqueeze(-1)).squeeze(-1)
    across = 2 * (curve[:, 0] - curve[:, -1]) - pull.sum(1)
    mu = torch.linalg.solve(inverse.sum(1), across)
    steps = -0.5 * ((inverse @ mu[:, None, :, None]).squeeze(-1) + pull)
    return torch.cat([curve[:, :1], curve[:, :1] + steps.cumsum(1)], dim=1)


def _held(surface: Surface, z: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """M^-1 ``(P, T - 1, d, d)`` at the points, and the gradient ``(P, T - 1, d)`` of u' M(z) u by z."""
    shape, u_flat = z.shape[:2], u.flatten(0, 1)

    def squares(z: Tensor) -> tuple[Tensor, Tensor]:
        m = surface.metric_at_once(z)
        return torch.einsum("ni,nij,nj->", u_flat, m, u_flat), m

    force, m = grad(squares, has_aux=True)(z.flatten(0, 1))
    return torch.linalg.inv(m).unflatten(0, shape), force.unflatten(0, shape)


def _searched(surface: Surface, curve: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
    """Energy and curve of the first of the shortened steps that lowers the energy, else as they are."""
    goal = _proposed(surface, curve)

    def attempt(rows: Tensor, share: float) -> tuple[Tensor, tuple[Tensor, ...]]:
        trial = torch.lerp(curve[rows], goal[rows], share)
        return _energy(surface, trial), (trial,)

    _, lowest, (kept,) = halved(energy, (curve,), attempt, HALVINGS)
    return lowest, kept
