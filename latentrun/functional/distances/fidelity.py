"""Are made rows like real ones, and do they reach all of these? Balls around rows as a picture of where a set
lies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.statistics.intervals import mean_interval, share_interval
from latentrun.types import Estimate

CELLS = 1 << 21  # squared distances held at once, float64
ROUNDING = 1e-12  # of the largest square: what products may add to a squared distance of 0


@dataclass(frozen=True)
class Fidelity:
    """Four shares and means with 95 % intervals, see :func:`fidelity`."""

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def fidelity(real: Tensor, made: Tensor, k_precision: int, k_coverage: int) -> Fidelity:
    """Of ``real (N, d)`` and ``made (M, d)``; the ball B_k(x) of a row reaches to its k-th neighbour in its
    own set.

    ``precision``: share of made rows in a ball B_k of any real row; ``recall``: share of real rows in a ball
    of any made row, k = ``k_precision`` (Kynkäänniemi et al. 2019, arXiv 1904.06991, eqs. 1-2). ``density``:
    how many balls of real rows a made row lies in, divided by k, mean over made rows: for equal distributions
    1 on average, not bounded by 1; ``coverage``: share of real rows with a made row in their ball, for equal
    distributions 1 - Π_{j=1..k} (N - j) / (N + M - j) on average, about 1 - 2^-k; k = ``k_coverage`` (Naeem
    et al. 2020, arXiv 2002.09797, eqs. 4-5 and lemma 2).

    Missing modes take from recall and coverage, not from precision. One far real row has a large ball, which
    precision believes. Intervals: Wilson's of shares, normal of the mean, over the rows that are judged, as
    if the balls were given.

    >>> real, made = torch.tensor([[0.0], [1.0], [5.0], [6.0]]), torch.tensor([[0.0], [1.0]])
    >>> shares = fidelity(real, made, k_precision=1, k_coverage=1)  # all that is made is real, half is made
    >>> shares.precision.value, shares.recall.value, shares.coverage.value
    (1.0, 0.5, 0.5)
    """
    real, made = real.double(), made.double()
    centre = real.mean(0)
    real, made = real - centre, made - centre
    radii = nearest(real, real, max(k_precision, k_coverage), same=True)[0].square()
    real_norm, made_norm = real.square().sum(1), made.square().sum(1)
    narrow, wide = (radii[:, min(k, radii.shape[1]) - 1] for k in (k_precision, k_coverage))
    made_radius = nearest(made, made, k_precision, same=True)[0][:, -1].square()
    reached, covered = (torch.zeros(len(real), dtype=torch.bool, device=real.device) for _ in range(2))
    precise, balls = [], []
    step = max(1, CELLS // len(real))
    for start in range(0, len(made), step):  # over chunks that fit memory, not over rows
        rows = slice(start, start + step)
        square = torch.addmm(real_norm, made[rows], real.T, alpha=-2) + made_norm[rows, None]
        # Of each pair: one far row must not widen the balls of all others.
        square -= ROUNDING * (real_norm + made_norm[rows, None])
        precise.append((square <= narrow).any(1))
        inside = square <= wide
        balls.append(inside.sum(1))
        covered |= inside.any(0)
        reached |= (square <= made_radius[rows, None]).any(0)
    shares = [share_interval(int(hits.sum()), len(hits)) for hits in (torch.cat(precise), reached, covered)]
    density = mean_interval(torch.cat(balls).double() / min(k_coverage, len(real) - 1))
    return Fidelity(shares[0], shares[1], density, shares[2])
