"""Many small nonlinear least-squares problems solved at once, in a box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

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

    >>> def line(theta, rows):  # r = 2 theta - 6
    ...     r = 2 * theta - 6
    ...     return (r**2 / 2)[:, 0], 2 * r, torch.full((len(theta), 1, 1), 4.0)
    >>> low, high = torch.tensor([-10.0]), torch.tensor([10.0])
    >>> fit = levenberg_marquardt(line, torch.zeros(1, 1), low, high)
    >>> [round(value, 4) for value in (fit.theta.item(), fit.cost.item())]
    [3.0, 0.0]
    """
    state = _State.at(normal, start.clamp(low, high))
    fit = state.fit()
    count = 0
    while count < iterations and len(state.rows):
        count += 1
        done = state.advance(normal, low, high, tolerance, reach)
        if count == iterations or bool(done.any()):
            state.record(fit, done, low, high)
            state.keep((~done).nonzero()[:, 0])
    return replace(fit, iterations=count)


@dataclass
class _State:
    """The problems still at work: their ``rows (n,)``, ``theta (n, p)``, ``cost (n,)``, ``gradient (n, p)`` =
    J^T r, ``gram (n, p, p)`` = J^T J, ``damping (n,)``."""

    rows: Tensor
    theta: Tensor
    cost: Tensor
    gradient: Tensor
    gram: Tensor
    damping: Tensor

    @classmethod
    def at(cls, normal: Normal, theta: Tensor) -> _State:
        """All problems, at their starts."""
        rows, n, p = torch.arange(len(theta), device=theta.device), *theta.shape
        blank = theta.new_zeros(n), theta.new_zeros(n, p), theta.new_zeros(n, p, p)
        terms = normal(theta, rows) if n else blank
        return cls(rows, theta, *terms, theta.new_full((n,), 1e-3))

    def fit(self) -> Fit:
        """Where the solutions will be written: as yet the starts and their costs."""
        converged = torch.zeros_like(self.rows, dtype=torch.bool)
        return Fit(self.theta.clone(), self.cost.clone(), torch.zeros_like(self.cost), converged, 0)

    def advance(self, normal: Normal, low: Tensor, high: Tensor, tolerance: float, reach: float) -> Tensor:
        """One step of every problem; says which of them end with it, ``(n,)`` bool."""
        theta, damping = self.theta, self.damping
        step, solved = _step(theta, self.gradient, self.gram, damping, low, high)
        step = step * (reach / step.abs().amax(1, keepdim=True).clamp_min(reach))
        step = (theta + step).clamp(low, high) - theta
        promise = -(self.gradient * step).sum(1) - 0.5 * torch.einsum("np,npq,nq->n", step, self.gram, step)
        # The promise of a step bent by the box can be negative: that asks for more damping, it is no sign of
        # a minimum.
        little = (promise >= 0) & (promise <= tolerance**2 * self.cost) & (damping < 1)
        short = solved & (little | (step.abs() <= tolerance * (1 + theta.abs())).all(1))
        cost, gradient, gram = normal(theta + step, self.rows)
        good = cost < self.cost
        # A full gain divides the damping by 9, half of it leaves the damping alone.
        gain = ((self.cost - cost) / promise.clamp_min(torch.finfo(theta.dtype).tiny)).nan_to_num(0.0)
        factor = torch.where(good, 9.0 ** (1 - 2 * gain.clamp(0.25, 1)), 4.0)
        self.damping = (damping * factor).clamp_min(DAMPING[0])
        self.theta = torch.where(good[:, None], theta + step, theta)
        self.cost = torch.where(good, cost, self.cost)
        self.gradient = torch.where(good[:, None], gradient, self.gradient)
        self.gram = torch.where(good[:, None, None], gram, self.gram)
        return short | (self.damping > DAMPING[1])

    def record(self, fit: Fit, done: Tensor, low: Tensor, high: Tensor) -> None:
        """Write where the problems stand into ``fit``."""
        fit.theta[self.rows], fit.cost[self.rows], fit.converged[self.rows] = self.theta, self.cost, done
        size = (2 * self.cost[:, None] * self.gram.diagonal(dim1=1, dim2=2)).sqrt()
        slope = self.gradient.abs() * _free(self.theta, self.gradient, low, high)
        fit.cosine[self.rows] = (slope / size).nan_to_num(0.0, 0.0).amax(1)

    def keep(self, which: Tensor) -> None:
        """Only the given problems go on."""
        for name, values in vars(self).items():
            setattr(self, name, values[which])


def _free(theta: Tensor, gradient: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """1 for coordinates that may move, 0 for those on a bound with the gradient pointing out of the box."""
    return (~(((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0)))).to(theta.dtype)


def _step(
    theta: Tensor, gradient: Tensor, gram: Tensor, damping: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """The damped Gauss-Newton step ``(n, p)`` in the coordinates that no bound holds, and whether it could be
    computed (it is zero where not)."""
    free = _free(theta, gradient, low, high)
    gram = gram * free[:, :, None] * free[:, None, :]
    diagonal = gram.diagonal(dim1=1, dim2=2)
    # A coordinate the residual hardly depends on is still damped, relative to the others.
    scale = diagonal.clamp_min(1e-7 * diagonal.amax(1, keepdim=True)) * free + (1 - free)
    scale = scale.clamp_min(torch.finfo(theta.dtype).tiny ** 0.5)
    root = scale.rsqrt()
    # In units of the scale the matrix has a diagonal near 1, so the factorisation keeps its digits.
    scaled = gram * root[:, :, None] * root[:, None, :] + torch.diag_embed(damping[:, None] + 1 - free)
    factor, failed = torch.linalg.cholesky_ex(scaled)
    step = -root * torch.cholesky_solve((gradient * free * root)[:, :, None], factor)[:, :, 0]
    solved = (failed == 0) & step.isfinite().all(1)
    return step.where(solved[:, None], torch.zeros_like(step)), solved
