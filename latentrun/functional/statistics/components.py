"""Principal components of a table of numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentrun.functional.spacing import evenly
from latentrun.functional.ties import TIE, settled

CHUNK = 4096  # rows turned to float64 at a time
NOTHING = 1e-12  # share of the largest eigenvalue below which others are rounding
BEYOND = 64  # eigenvalues after those wanted that are looked at for equals
EXACT = 2048  # the side of a matrix of which all eigenvectors are computed


@dataclass(frozen=True)
class Components:
    """``mean (D,)`` and orthonormal ``axes (k, D)`` of largest variance, float64, fitted to ``rows`` rows, of
    whose variance the ``share`` lies in their plane (1 where there is none)."""

    mean: Tensor
    axes: Tensor
    rows: int
    share: float

    def coordinates(self, x: Tensor) -> Tensor:
        """Of the rows ``x (N, D)`` along the axes, ``(N, k)``, float64, from the mean."""
        return (x.double() - self.mean) @ self.axes.T

    def reconstruct(self, x: Tensor) -> Tensor:
        """The nearest points ``(N, D)`` of the plane through the mean along the axes, in the type of x."""
        return (self.mean + self.coordinates(x) @ self.axes).to(x.dtype)


def principal_components(x: Tensor, k: int) -> Components:
    """The k directions of largest variance of the rows ``x (N, D)``; fewer where the rows span fewer.

    From the covariance of all rows where D is at most 2,048, else from the inner products of at most as many
    rows, evenly spaced: each is exact for the rows it sees.

    >>> found = principal_components(torch.tensor([[0.0, 0.0], [2.0, 2.0], [4.0, 4.0]]), 1)
    >>> found.reconstruct(torch.tensor([[1.0, 3.0]]))
    tensor([[2., 2.]])
    """
    n, size = x.shape
    if size > EXACT:
        n = min(n, EXACT)
        x = x[evenly(len(x), n).to(x.device)]
    mean = torch.stack([part.double().sum(0) for part in x.split(CHUNK)]).sum(0) / n
    if size <= EXACT:
        covariance = torch.zeros(size, size, dtype=torch.float64, device=x.device)
        for part in x.split(CHUNK):
            centred = part.double() - mean
            covariance += centred.T @ centred
        axes = leading_axes(covariance, k).T
        whole, within = covariance.trace(), ((axes @ covariance) * axes).sum()
    else:
        centred = x.double() - mean
        directions = centred.T @ leading_axes(centred @ centred.T, k)
        axes = (directions / directions.norm(dim=0)).T
        # Their squared lengths are the eigenvalues.
        whole, within = centred.square().sum(), directions.square().sum()
    share = (within / whole).clamp(max=1).item() if whole > 0 else 1.0
    return Components(mean, axes, n, share)


def leading_axes(gram: Tensor, k: int) -> Tensor:
    """The k eigenvectors of largest eigenvalue of the symmetric ``gram (m, m)``, in columns ``(m, k)``; fewer
    where fewer are above 0. Equal ones as :func:`~latentrun.functional.ties.settled` has them."""
    values, axes = np.linalg.eigh(gram.cpu().numpy())
    values, axes = values[::-1], axes[:, ::-1]
    k = min(k, int((values > NOTHING * values[0]).sum()))
    equal = values[:-1] - values[1:] <= TIE * np.abs(values).max(initial=0.0)
    last = next((i for i in range(max(k, 1), len(values)) if not equal[i - 1]), len(values))
    last = min(last, k + BEYOND)
    found = settled(values[:last], axes[:, :last])[:, :k]
    return torch.from_numpy(np.ascontiguousarray(found)).to(gram.device)
