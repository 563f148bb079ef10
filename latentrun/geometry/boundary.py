"""Geodesics between given points as solutions of the geodesic equation: shooting, and collocation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from latentrun.functional.halving import halved
from latentrun.functional.jacobians import jvp
from latentrun.geometry.curves import resampled, straight
from latentrun.geometry.energy import Geodesics, Settings
from latentrun.geometry.flow import followed, shoot
from latentrun.geometry.surface import Surface

HALVINGS = 8  # of a Newton step that does not bring the end nearer


def aimed(surface: Surface, start: Tensor, end: Tensor, velocity: Tensor, settings: Settings) -> Geodesics:
    """Shooting: Newton's method for the velocity ``(P, d)`` with which a geodesic from ``start`` arrives at
    ``end (P, d)``, from a guess; of each step the first of 1, 1/2, 1/4, ... that brings it nearer.

    ``residual``: distance of the arrival from the end, as a share of that of both ends, in the chart.
    ``settings.fine`` - 1 Runge-Kutta steps, an even number.
    """
    count, apart = settings.fine - 1, (end - start).norm(dim=1).clamp_min(torch.finfo(start.dtype).tiny)
    axes = torch.eye(start.shape[1], dtype=start.dtype, device=start.device)
    v, active = velocity.clone(), torch.arange(len(start), device=start.device)
    miss = _arrivals(surface, start, v, count) - end
    taken = torch.zeros(len(start), dtype=torch.long, device=start.device)
    for _ in range(settings.steps):
        active = active[miss[active].norm(dim=1) > settings.tolerance * apart[active]]
        if not len(active):
            break
        taken[active] += 1
        a, w = start[active], v[active]

        def along(direction: Tensor, a: Tensor = a, w: Tensor = w) -> Tensor:
            return jvp(lambda w: _arrivals(surface, a, w, count), (w,), (direction.expand_as(w),))[1]

        slopes = vmap(along)(axes).permute(1, 2, 0)  # (P, d of the arrival, d of the velocity)
        step = -torch.linalg.lstsq(slopes, miss[active].unsqueeze(-1)).solution.squeeze(-1)
        nearer = _nearer(surface, a, w, step, miss[active], end[active], count)
        if nearer is None:
            break
        moved, v_new, miss_new = nearer
        v[active[moved]], miss[active[moved]] = v_new[moved], miss_new[moved]
        active = active[moved]
    shots = shoot(surface, start, v, count)
    residual = miss.norm(dim=1) / apart
    return Geodesics.judged(surface, shots.curve, residual, residual <= settings.tolerance, taken)


def _arrivals(surface: Surface, start: Tensor, velocity: Tensor, steps: int) -> Tensor:
    """c(1) ``(P, d)``."""
    return followed(surface, start, velocity, steps)[-1][:, : start.shape[1]]


def _nearer(
    surface: Surface, start: Tensor, v: Tensor, step: Tensor, miss: Tensor, end: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Which of the pairs a share of the step brings nearer, their velocities and misses; None of none."""

    def attempt(rows: Tensor, share: float) -> tuple[Tensor, tuple[Tensor, ...]]:
        trial = v[rows] + share * step[rows]
        off = _arrivals(surface, start[rows], trial, count) - end[rows]
        return off.norm(dim=1), (trial, off)

    moved, _, (v_new, miss_new) = halved(miss.norm(dim=1), (v, miss), attempt, HALVINGS)
    return (moved, v_new, miss_new) if moved.any() else None


def collocated(
    surface: Surface, start: Tensor, end: Tensor, first: Tensor | None, settings: Settings
) -> Geodesics:
    """The geodesic equation as a boundary-value problem, by the collocation of scipy's ``solve_bvp``
    (Kierzenka & Shampine 2001), one pair after the other: a reference for the solvers that take all pairs at
    once. ``residual``: its largest relative residual; not converged where more than ``settings.steps`` x 100
    nodes were asked for."""
    from scipy.integrate import solve_bvp

    times = np.linspace(0, 1, settings.points)
    points = settings.points
    curves = straight(start, end, points) if first is None else resampled(first, points)
    speeds = torch.gradient(curves, spacing=1 / (settings.points - 1), dim=1)[0]
    d = start.shape[1]

    def slope(_: np.ndarray, state: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(state.T).to(start)
        bend = surface.acceleration(rows[:, :d], rows[:, d:])
        return np.concatenate([state[d:], bend.double().cpu().numpy().T])

    solutions = []
    for a, b, curve, speed in zip(start, end, curves, speeds, strict=True):
        ends = a.double().cpu().numpy(), b.double().cpu().numpy()

        def fixed(left: np.ndarray, right: np.ndarray, ends: tuple[np.ndarray, ...] = ends) -> np.ndarray:
            return np.concatenate([left[:d] - ends[0], right[:d] - ends[1]])

        guess = torch.cat([curve, speed], dim=1).T.double().cpu().numpy()
        solutions.append(
            solve_bvp(slope, fixed, times, guess, tol=settings.tolerance, max_nodes=100 * settings.steps)
        )
    fine = np.linspace(0, 1, settings.fine)
    curve = torch.from_numpy(np.stack([solution.sol(fine)[:d].T for solution in solutions])).to(start)
    return Geodesics.judged(
        surface,
        curve,
        residual=torch.tensor([solution.rms_residuals.max() for solution in solutions]).to(start),
        converged=torch.tensor([solution.success for solution in solutions], device=start.device),
        steps=torch.tensor([solution.niter for solution in solutions], device=start.device),
    )
