"""Flat space R^d."""

from __future__ import annotations

from torch import Tensor

from latentrun.manifolds.base import Flat


class Euclidean(Flat):
    """R^dim with the usual distance, ``e<dim>`` in short.

    >>> import torch
    >>> Euclidean(2).distance(torch.zeros(2), torch.tensor([3.0, 4.0]))
    tensor(5.)
    """

    betti = (1,)

    def __init__(self, dim: int):
        self.dim = self.ambient_dim = dim
        self.name = f"e{dim}"

    def project(self, z: Tensor) -> Tensor:
        return z

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).norm(dim=-1)
