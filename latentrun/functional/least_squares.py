"""Many small nonlinear least-squares problems solved at once, in a box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Normal = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]

DAMPING = (1e-12, 1e12)  # beyond the upper end no step can lower the cost any more: roundoff, or a kink


@dataclass(frozen=True)
class Fit:
    """Solutions, one per problem: ``theta (N, p)``; ``cost (N,)`` = 1/2 ||r||^2; ``cosine (N,)`` the largest
    |cosine| between r and a column of J no bound holds, 0 at a smooth minimum, and large where the cost has a
    kink (MINPACK's gtol); ``converged (N,)`` bool; ``iterations``, how many the slowest problem took."""

    theta: Tensor
    cost: Tensor
    cosine: Tensor
    converged: Tensor
    iterations: int


def levenberg_marquardt(
    normal: Normal,
    start: Tensor,
    low: Tensor,
    high: Tensor,
    iterations: int = 100,
    tolerance: float = 1e-10,
    reach: float = 2.0,
) -> Fit:
    """Minimise 1/2 ||r_i(theta_i)||^2 over low <= theta_i <= high for every row i of ``start (N, p)`` at
    once.

    A step solves (J^T J + lambda diag(J^T J)) delta = -J^T r, is shortened to at most ``reach`` in any
    coordinate and projected into the box; coordinates on a bound whose gradient points outwards are held.
    Each row has its own damping lambda, divided by up to 9 after a good step and multiplied by 4 after one
    that did not lower the cost. A row leaves the active set when its step is shorter than ``tolerance * (1 +
    |theta|)``, or when a nearly undamped step promises less than ``tolerance^2`` of its cost, or when lambda
    overflows. A cost or gradient that is not finite counts as no improvement, so theta stays finite. The
    answer is a local minimum: bring several starts.

    ``normal(theta (n, p), rows (n,)) -> (cost (n,), J^T r (n, p), J^T J (n, p, p))`` evaluates the problems
    ``rows``; ``low``, ``high``: ``(p,)``, infinite where free; dtype and device are those of ``start``.

    Levenberg (1944); Marquardt (1963); active bounds held as in Kanzow, Yamashita & Fukushima (2004), without
    their line search.
    """
    theta = start.clamp(low, high)
    rows = torch.arange(len(theta), device=theta.device)
    best, cost = theta.clone(), theta.new_full((len(theta),), torch.inf)
    cosine, converged = torch.zeros_like(cost), torch.zeros_like(rows, dtype=torch.bool)
    if not len(theta):
        return Fit(best, cost, cosine, converged, 0)
    now, g, h = normal(theta, rows)
    cost[rows] = now
    damping = theta.new_full((len(theta),), 1e-3)
    count = 0
    while count < iterations and len(rows):
        count += 1
        step, solved = _step(theta, g, h, damping, low, high)
        step = step * (reach / step.abs().amax(1, keepdim=True).clamp_min(reach))
        step = (theta + step).clamp(low, high) - theta
        promise = -(g * step).sum(1) - 0.5 * torch.einsum("np,npq,nq->n", step, h, step)
        # The promise of a step bent by the box can be negative: that asks for more damping, it is no sign of
        # a minimum.
        little = (promise >= 0) & (promise <= tolerance**2 * now) & (damping < 1)
        short = solved & (little | (step.abs() <= tolerance * (1 + theta.abs())).all(1))
        trial, trial_g, trial_h = normal(theta + step, rows)
        good = trial < now
        # A full gain divides the damping by 9, half of it leaves the damping alone.
        gain = ((now - trial) / promise.clamp_min(torch.finfo(theta.dtype).tiny)).nan_to_num(0.0)
        damping = (damping * torch.where(good, 9.0 ** (1 - 2 * gain.clamp(0.25, 1)), 4.0)).clamp_min(
            DAMPING[0]
        )
        theta = torch.where(good[:, None], theta + step, theta)
        now = torch.where(good, trial, now)
        g = torch.where(good[:, None], trial_g, g)
        h = torch.where(good[:, None, None], trial_h, h)
        done = short | (damping > DAMPING[1])
        if count == iterations or bool(done.any()):
            best[rows], cost[rows], converged[rows] = theta, now, done
            size = (2 * now[:, None] * h.diagonal(dim1=1, dim2=2)).sqrt()
            cosine[rows] = (g.abs() * _free(theta, g, low, high) / size).nan_to_num(0.0, 0.0).amax(1)
            kept = (~done).nonzero()[:, 0]
            rows, theta, now, g, h, damping = (part[kept] for part in (rows, theta, now, g, h, damping))
    return Fit(best, cost, cosine, converged, count)


def _free(theta: Tensor, g: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """1 for coordinates that may move, 0 for those on a bound with the gradient pointing out of the box."""
    return (~(((theta <= low) & (g > 0)) | ((theta >= high) & (g < 0)))).to(theta.dtype)


def _step(
    theta: Tensor, g: Tensor, h: Tensor, damping: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """The damped Gauss-Newton step ``(n, p)`` in the coordinates that no bound holds, and whether it could be
    computed (it is zero where not)."""
    free = _free(theta, g, low, high)
    h = h * free[:, :, None] * free[:, None, :]
    diagonal = h.diagonal(dim1=1, dim2=2)
    # A coordinate the residual hardly depends on is still damped, relative to the others.
    scale = diagonal.clamp_min(1e-7 * diagonal.amax(1, keepdim=True)) * free + (1 - free)
    scale = scale.clamp_min(torch.finfo(theta.dtype).tiny ** 0.5)
    root = scale.rsqrt()
    # In units of the scale the matrix has a diagonal near 1, so the factorisation keeps its digits.
    scaled = h * root[:, :, None] * root[:, None, :] + torch.diag_embed(damping[:, None] + 1 - free)
    factor, failed = torch.linalg.cholesky_ex(scaled)
    step = -root * torch.cholesky_solve((g * free * root)[:, :, None], factor)[:, :, 0]
    solved = (failed == 0) & step.isfinite().all(1)
    return step.where(solved[:, None], torch.zeros_like(step)), solved
