"""Which of several equals: a rule, where the last bit of a rounding error would decide otherwise.

The order in which a processor adds numbers is its own, so the largest of two equal variances, or an
eigenvector of two equal eigenvalues, is another on another machine. Numbers that differ by less than ``TIE``
times their range count as equal; of equals the first comes first.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

TIE = 1e-6  # codes are sums of float32 numbers


def largest(values: np.ndarray | Tensor) -> int:
    """Row number of the largest of ``values (N,)``, the first of equals.

    Those count as equal whose difference is at most ``TIE`` times the largest absolute value. NaN is none.

    >>> largest(np.array([1.0, 3.0 - 1e-9, 3.0])), largest(np.array([1.0, 2.0, 3.0]))
    (1, 2)
    """
    values = _finite(values)
    return int(np.flatnonzero(values >= values.max() - _slack(values))[0])


def ranked(values: np.ndarray | Tensor) -> np.ndarray:
    """Row numbers ``(N,)`` of ``values (N,)``, largest first, equals in the order in which they stand.

    A run of numbers each of which equals the one before it (see :func:`largest`) is a group of equals.

    >>> ranked(np.array([1.0, 3.0 - 1e-9, 3.0, 2.0]))
    array([1, 2, 3, 0])
    """
    values = _finite(values)
    order = np.argsort(-values, kind="stable")
    with np.errstate(invalid="ignore"):  # of infinite numbers, which differ from finite ones only
        step = values[order][:-1] - values[order][1:]
    group = np.concatenate([[0], np.cumsum(step > _slack(values))])[: len(order)]
    return order[np.lexsort((order, group))]


def principal_axes(gram: np.ndarray | Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues ``(d,)`` of the symmetric ``gram (d, d)``, largest first, and eigenvectors ``(d, d)``, in
    columns, as :func:`settled` gives them.

    >>> principal_axes(np.diag([1.0, 2.0, 2.0]))[1]
    array([[0., 0., 1.],
           [1., 0., 0.],
           [0., 1., 0.]])
    """
    values, axes = np.linalg.eigh(np.asarray(gram, dtype=np.float64))
    return values[::-1], settled(values[::-1], axes[:, ::-1])


def settled(values: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Orthonormal ``axes (d, k)``, in columns, of the descending ``values (k,)``, where what these leave open
    is settled by a rule.

    The plane of axes of equal values is spanned by any of its bases: here by the projection onto it of the
    coordinate axis that is nearest to it (the first of equals), then by that of the nearest to what is left
    of it, and so on. For an axis alone this settles its sign: its largest entry is positive.
    """
    settled = np.empty_like(axes)
    edges = np.flatnonzero(values[:-1] - values[1:] > TIE * np.abs(values).max(initial=0.0)) + 1
    for start, end in zip([0, *edges], [*edges, len(values)], strict=True):
        plane = axes[:, start:end]
        for k in range(start, end):
            i = largest((plane**2).sum(1))
            settled[:, k] = plane @ plane[i] / np.linalg.norm(plane[i])
            plane = plane - np.outer(settled[:, k], settled[:, k] @ plane)
    return settled


def weakest_axis(values: Tensor, axes: Tensor) -> Tensor:
    """Of orthonormal ``axes (N, k, k)``, in columns, with ascending ``values (N, k)`` the first, or where
    several are equal to it the direction of their plane that :func:`settled` takes first, ``(N, k)``."""
    equal = values <= values[:, :1] + TIE * values.abs().amax(1, keepdim=True)
    plane = axes * equal[:, None]
    nearness = plane.square().sum(2)
    nearest = (nearness >= nearness.amax(1, keepdim=True) - TIE).int().argmax(1)
    direction = (plane @ plane.gather(1, nearest[:, None, None].expand(-1, 1, plane.shape[2])).mT)[:, :, 0]
    return torch.nn.functional.normalize(direction, dim=1)


def _finite(values: np.ndarray | Tensor) -> np.ndarray:
    """Values ``(N,)`` as float64 with NaN below all others."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    values = np.asarray(values, dtype=np.float64)
    return np.where(np.isnan(values), -np.inf, values)


def _slack(values: np.ndarray) -> float:
    """The largest difference between equals."""
    return TIE * np.abs(values[np.isfinite(values)]).max(initial=0.0)
