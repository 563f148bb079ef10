"""Persistent homology of clouds of points, and the Betti numbers that it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentrun.functional.ties import largest


@dataclass(frozen=True)
class Persistence:
    """Bars of the Vietoris-Rips filtration of landmarks of a cloud, over Z/2.

    ``bars[k] (B_k, 2)``: birth and death of the classes of degree k, in units of distance; those that outlive
    ``end`` have death ``end``. ``cover``: the largest distance of a point of the cloud from its nearest
    landmark. ``end``: the least radius of a ball about a landmark that holds all of them; from there on the
    complex is a cone, and nothing but one component is left.
    """

    bars: tuple[np.ndarray, ...]
    cover: float
    end: float

    def betti(self, scale: float) -> tuple[int, ...]:
        """Betti numbers of the complex at a scale: how many bars of each degree are alive there."""
        return tuple(int(((b[:, 0] <= scale) & (scale < b[:, 1])).sum()) for b in self.bars)

    def stretches(self) -> list[tuple[tuple[int, ...], float, float]]:
        """Stretches of scales over which the Betti numbers stay the same, ascending: (numbers, where it
        begins, where it ends). From twice ``cover`` on, below which the landmarks say nothing of what lies
        between them, to ``end``; empty where that is no stretch at all."""
        low = max(2 * self.cover, 1e-9 * self.end)
        all_ = np.concatenate([bars.ravel() for bars in self.bars])
        places = np.unique(np.concatenate(([low, self.end], all_[(all_ > low) & (all_ < self.end)])))
        found: list[tuple[tuple[int, ...], float, float]] = []
        for left, right in zip(places[:-1], places[1:], strict=True):
            numbers = self.betti((left + right) / 2)
            if found and found[-1][0] == numbers:
                found[-1] = (numbers, found[-1][1], float(right))
            else:
                found.append((numbers, float(left), float(right)))
        return found if low < self.end else []

    def plateau(self, ratio: float) -> tuple[tuple[int, ...], float, float] | None:
        """The first of the stretches whose end is at least ``ratio`` times its beginning: the topology that
        is seen from nearest by and seldom is an accident of the sample. None where there is none."""
        return next((stretch for stretch in self.stretches() if stretch[2] >= ratio * stretch[1]), None)


def landmarks(x: Tensor, n: int) -> tuple[Tensor, float]:
    """At most n rows ``(n,)`` of ``x (N, D)``, each the farthest from all before it, the first being row 0
    (greedy permutation), of equals the first; and the largest distance of a row from its nearest landmark.

    >>> landmarks(torch.tensor([[0.0], [1.0], [4.0], [9.0]]), 3)
    (tensor([0, 3, 2]), 1.0)
    """
    rows, apart = [0], (x - x[0]).norm(dim=1)
    for _ in range(min(n, len(x)) - 1):  # over landmarks, not rows
        rows.append(largest(apart))
        apart = torch.minimum(apart, (x - x[rows[-1]]).norm(dim=1))
    return torch.tensor(rows), apart.max().item()


def persistence(x: Tensor, degree: int, n: int) -> Persistence:
    """Persistent homology up to a ``degree`` of at most n landmarks of the cloud ``x (N, D)``: gudhi's Rips
    complexes, coefficients in Z/2."""
    from gudhi.sklearn.rips_persistence import RipsPersistence

    rows, cover = landmarks(x, n)
    points = x[rows].cpu().double().numpy()
    end = float(np.linalg.norm(points[:, None] - points[None], axis=2).max(1).min())
    rips = RipsPersistence(range(degree + 1), threshold=end, homology_coeff_field=2, n_jobs=1)
    bars = [np.asarray(b, float).reshape(-1, 2) for b in rips.fit_transform([points])[0]]
    return Persistence(tuple(np.minimum(b, end) for b in bars), cover, end)
