"""Fewer steps of an iteration that converges slowly: what its last steps say of the next."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DEPTH = 4  # steps that are remembered
LONGEST = 20.0  # times as long as the iteration's own step, at most


@dataclass
class Memory:
    """Anderson's acceleration (Walker & Ni 2011, SIAM J. Numer. Anal. 49, algorithm AA) of P iterations theta
    <- theta + s(theta), each on its own: of the mixtures of the last steps, as if s were linear, the one
    whose step would be least. Gauss-Newton steps, which leave second derivatives out, go on as it were in a
    straight line; this sees how they bend.

    ``moves`` and ``changes (P, DEPTH, n)``: differences of theta, and of s, between one step and the next;
    ``count (P,)`` of them; ``theta`` and ``step (P, n)`` of the last.
    """

    moves: Tensor
    changes: Tensor
    count: Tensor
    theta: Tensor
    step: Tensor

    @classmethod
    def of(cls, theta: Tensor) -> Memory:
        """Without any step yet, of iterations that are at ``theta (P, ...)``."""
        flat = theta.flatten(1)
        rows = flat.new_zeros(len(flat), DEPTH, flat.shape[1])
        count = torch.full((len(flat),), -1, device=flat.device)  # the first step has none to differ from
        return cls(rows, rows.clone(), count, flat.clone(), torch.zeros_like(flat))

    def proposal(self, rows: Tensor, theta: Tensor, step: Tensor) -> Tensor:
        """What the iterations ``rows`` should go by in place of ``step``, both of theta's shape; their steps
        are remembered."""
        self._add(rows, theta.flatten(1), step.flatten(1))
        own, changes = step.flatten(1), self.changes[rows]
        square = changes @ changes.mT
        size = square.diagonal(dim1=1, dim2=2).amax(1).clamp_min(torch.finfo(own.dtype).tiny)
        ridge = torch.eye(DEPTH, dtype=own.dtype, device=own.device) * (1e-6 * size)[:, None, None]
        share = torch.linalg.solve_ex(square + ridge, changes @ own.unsqueeze(-1))[0]
        mixed = own - ((self.moves[rows] + changes).mT @ share).squeeze(-1)
        good = mixed.norm(dim=1) <= LONGEST * own.norm(dim=1)  # not where it is NaN
        return torch.where(good.unsqueeze(1), mixed, own).view_as(step)

    def _add(self, rows: Tensor, theta: Tensor, step: Tensor) -> None:
        move, change = theta - self.theta[rows], step - self.step[rows]
        new = (self.count[rows] < 0) | (move != 0).any(1)
        known = new & (self.count[rows] >= 0)
        place = self.count[rows[known]] % DEPTH
        self.moves[rows[known], place], self.changes[rows[known], place] = move[known], change[known]
        self.count[rows[new]] += 1
        self.theta[rows], self.step[rows] = theta, step

    def forget(self, rows: Tensor) -> None:
        """All steps of some iterations but the last."""
        self.moves[rows], self.changes[rows], self.count[rows] = 0.0, 0.0, 0
