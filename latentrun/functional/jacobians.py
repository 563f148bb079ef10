"""Derivatives of a map at many points at once, and which mixtures of its arguments it hardly shows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp as forward_mode
from torch.func import vmap

from latentrun.functional.ties import weakest_axis

Values = tuple[Tensor, ...]


CLEAR = 1e-5  # a singular value below this share of the greatest is taken again from J itself


@dataclass(frozen=True)
class Spectrum:
    """Of N Jacobians J ``(D, F)``: ``least (N,)`` and ``greatest (N,)`` of the F singular values (0 where D <
    F leaves some out), ``columns (N, F)`` the norms of J's columns, ``weakest (N, F)`` the unit vector v with
    ||J v|| = least, of its two signs the one whose largest component is positive. float64."""

    least: Tensor
    greatest: Tensor
    columns: Tensor
    weakest: Tensor


def derivatives(function: Callable[[Tensor], Values], y: Tensor, directions: Tensor) -> tuple[Values, Values]:
    """Values ``(N, ...)`` of a function of rows ``y (N, F)``, and its derivatives ``(K, N, ...)`` along
    ``directions (K, F)``.

    The function returns a tuple of tensors, row n of each depending on row n of y alone. Forward mode: one
    Jacobian-vector product a direction for all rows at once, exact up to rounding; what does not depend on
    the direction is computed once.
    """

    def along(direction: Tensor) -> tuple[Values, Values]:
        return jvp(function, (y,), (direction.expand_as(y),))

    out_dims: Any = (None, 0)  # values once, slopes a row each; torch's annotation lacks the None
    return vmap(along, out_dims=out_dims)(directions)


def jvp(function: Callable, values: Values, tangents: Values) -> tuple[Any, Any]:
    """What a function makes of ``values``, and its derivative along ``tangents``: torch.func.jvp, quiet."""
    # The first derivative of a process lets torch compile with what it has itself deprecated.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        result = forward_mode(function, values, tangents)
    return result[0], result[1]


def spectrum(columns: Tensor) -> Spectrum:
    """Singular values of J from its columns ``(F, N, ...)``, J_n = [columns[0, n], ..., columns[F - 1, n]].

    From the eigenvalues of J^T J in float64, which loses digits like the square of greatest / least; where
    that ratio exceeds 1e5, from an SVD of the triangular factor of J.

    >>> columns = torch.tensor([[[3.0, 0.0]], [[0.0, 2.0]]])  # one J = diag(3, 2)
    >>> singular = spectrum(columns)
    >>> singular.greatest.item(), singular.least.item(), singular.weakest
    (3.0, 2.0, tensor([[0., 1.]], dtype=torch.float64))
    """
    j = columns.flatten(2).double().permute(1, 2, 0)
    values, vectors = torch.linalg.eigh(j.mT @ j)
    values = values.clamp_min(0).sqrt()
    least, greatest, weakest = values[:, 0].clone(), values[:, -1].clone(), weakest_axis(values, vectors)
    doubtful = (least <= CLEAR * greatest).nonzero()[:, 0]
    if len(doubtful):
        _, singular, rows = torch.linalg.svd(torch.linalg.qr(j[doubtful], mode="r").R, full_matrices=True)
        # Fewer singular values than arguments: along the directions that are left nothing changes.
        least[doubtful] = singular[:, -1] if singular.shape[1] == j.shape[2] else 0.0
        greatest[doubtful] = singular[:, 0] if singular.shape[1] else 0.0  # no dimension: nothing changes
        singular = torch.nn.functional.pad(singular, (0, j.shape[2] - singular.shape[1]))
        weakest[doubtful] = weakest_axis(singular.flip(1), rows.mT.flip(2))
    return Spectrum(least, greatest, j.norm(dim=1), weakest)
