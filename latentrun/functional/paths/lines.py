"""Paths through latent space, and what a quantity does along them.

Shapes: P paths, T points on each, d latent variables, F quantities (factors). A *whitened unit* of a latent
variable is ``scale``, the standard deviation of its codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentrun.functional.ties import ranked
from latentrun.types import Factor, Projection

TIE = 1e-6  # share of a factor's range within which values count as equal: rounding is not a trend


@dataclass(frozen=True)
class Paths:
    """Paths of one kind: ``parameter (P, T)`` the position along each in ``unit``, ``z (P, T, d)``, ``closed
    (P,)``."""

    kind: str
    unit: str
    names: tuple[str, ...]
    parameter: Tensor
    z: Tensor
    closed: tuple[bool, ...]


# ---------------------------------------------------------------- curves
def axis_lines(mean: Tensor, scale: Tensor, extent: float, steps: int) -> tuple[Tensor, Tensor]:
    """Each latent variable in turn over mean ± extent·scale, all others at the mean: ``t (d, T)`` in whitened
    units, ``z (d, T, d)``, of ``mean``, ``scale (d,)``.

    >>> t, z = axis_lines(torch.tensor([5.0]), torch.tensor([2.0]), extent=1, steps=3)
    >>> t, z[0, :, 0]
    (tensor([[-1.,  0.,  1.]]), tensor([3., 5., 7.]))
    """
    t = _symmetric(mean, extent, steps).expand(len(mean), steps)
    return t, mean + t[:, :, None] * torch.diag(scale)[:, None, :]


def plane_lines(
    mean: Tensor, scale: Tensor, pairs: Tensor, degrees: Tensor, extent: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Straight lines through the mean in the planes of the latent pairs ``(K, 2)``, one for each direction
    ``degrees (A,)``.

    Directions are counted from the first latent of the pair towards the second, in whitened units; the
    parameter runs over [-extent, extent]. Returns ``t (K, A, T)``, ``z (K, A, T, d)``.
    """
    t = _symmetric(mean, extent, steps)
    turn = torch.deg2rad(degrees.to(mean))
    flat = t[:, None] * torch.stack((turn.cos(), turn.sin()), -1)[:, None]
    return t.expand(len(pairs), len(degrees), steps), _lift(mean, scale, pairs, flat)


def arcs(
    mean: Tensor, scale: Tensor, pairs: Tensor, spans: Tensor, radius: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Arcs of ``radius`` whitened units around the mean in the planes of the pairs ``(K, 2)``, from
    ``spans[:, 0]`` to ``spans[:, 1]`` degrees ``(A, 2)``, both ends included. Returns the angle ``(K, A, T)``
    in degrees and ``z (K, A, T, d)``."""
    spans = spans.to(mean)
    share = torch.linspace(0, 1, steps, dtype=mean.dtype, device=mean.device)
    degrees = spans[:, :1] + share * (spans[:, 1:] - spans[:, :1])
    turn = torch.deg2rad(degrees)
    flat = radius * torch.stack((turn.cos(), turn.sin()), -1)
    return degrees.expand(len(pairs), *degrees.shape), _lift(mean, scale, pairs, flat)


def segments(start: Tensor, end: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Straight lines between rows of ``start`` and ``end (P, d)``: the share of the way ``(P, T)`` and ``z
    (P, T, d)``."""
    t = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)
    return t.expand(len(start), steps), torch.lerp(start[:, None], end[:, None], t[:, None])


def _symmetric(like: Tensor, extent: float, steps: int) -> Tensor:
    """-extent ... extent; the middle of an odd number is exactly 0, which ``linspace`` misses."""
    count = torch.arange(steps, dtype=like.dtype, device=like.device)
    return extent * (2 * count - (steps - 1)) / (steps - 1)


def _lift(mean: Tensor, scale: Tensor, pairs: Tensor, flat: Tensor) -> Tensor:
    """Whitened coordinates ``(A, T, 2)`` in each pair's plane to latent space, ``(K, A, T, d)``."""
    basis = torch.diag(scale)[pairs]
    return mean + torch.einsum("atc,kcd->katd", flat, basis)


def far_apart(z: Tensor, draws: Tensor, n: int, keep: float = 0.95) -> Tensor:
    """Up to n pairs of rows of ``z (N, d)`` that lie far apart, without the outliers: distinct pairs ``(<= n,
    2)``.

    Among the share ``keep`` of rows nearest to the mean, for each of n directions the two rows that are
    farthest apart along it. The directions are orthogonal d at a time: QR factors of ``draws (ceil(n / d), d,
    d)``, standard normal numbers.
    """
    z = z - z.mean(0)
    core = torch.from_numpy(ranked(-z.norm(dim=1))[: max(2, round(keep * len(z)))]).to(z.device)
    directions = torch.linalg.qr(draws.to(z)).Q.flatten(0, 1)[:n]
    along = z[core] @ directions.T
    pairs = core[torch.stack((along.argmin(0), along.argmax(0)), 1)]
    ends = pairs.sort(1).values
    same = (ends[:, None] == ends[None]).all(2).tril(-1).any(1)
    return pairs[~same & (pairs[:, 0] != pairs[:, 1])]


# ---------------------------------------------------------------- what happens along them
def unwrap(values: Tensor, period: Tensor) -> Tensor:
    """Take jumps by a period out of cyclic columns: ``values (P, T, F)``, ``period (F,)``, 0 for columns that
    do not wrap. Same shape and unit.

    >>> unwrap(torch.tensor([[[350.0], [10.0], [5.0]]]), torch.tensor([360.0])).flatten()
    tensor([350., 370., 365.])
    """
    steps = values.diff(dim=1)
    around = torch.where(period > 0, period, torch.ones_like(period))
    short = torch.remainder(steps + around / 2, around) - around / 2
    steps = torch.where(period > 0, short, steps)
    return torch.cat((values[:, :1], values[:, :1] + steps.cumsum(1)), 1)


def ranks(values: Tensor, dim: int) -> Tensor:
    """Ranks from 1 along ``dim``, float64, in the shape of ``values``; equal values share the mean of their
    ranks. Memory grows with the square of T.

    >>> ranks(torch.tensor([3.0, 1.0, 3.0]), 0)
    tensor([2.5000, 1.0000, 2.5000], dtype=torch.float64)
    """
    values = values.movedim(dim, -1)
    below = (values[..., None, :] < values[..., :, None]).sum(-1)
    upto = (values[..., None, :] <= values[..., :, None]).sum(-1)
    return ((below + upto + 1).double() / 2).movedim(-1, dim)


def levels(values: Tensor, tie: float) -> Tensor:
    """Which distinct value each of ``values (P, T, F)`` is, numbered upwards along T: int64, same shape. In
    order of size, two neighbours that differ by no more than ``tie`` are the same value. Values rounded to a
    grid would not do: two that rounding errors set apart may lie on both sides of one of its borders.

    >>> levels(torch.tensor([0.1499999, 0.7, 0.1500001]).view(1, 3, 1), 1e-6).flatten()
    tensor([0, 1, 0])
    """
    ordered, order = values.sort(1)
    level = (ordered.diff(dim=1, prepend=ordered[:, :1]) > tie).cumsum(1)
    return torch.empty_like(level).scatter_(1, order, level)


def spearman(values: Tensor, parameter: Tensor, width: Tensor) -> Tensor:
    """Rank correlation of each quantity with the position along its path, ``(P, F)`` in [-1, 1]; NaN for
    constant ones.

    ``values (P, T, F)``, ``parameter (P, T)``, ``width (F,)`` the quantities' ranges: values that agree to
    1e-6 of it tie (:func:`levels`).
    """
    a = ranks(levels(values / width, TIE), 1)
    b = ranks(parameter, 1)[..., None]
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return ((a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt()).clamp(-1, 1)


def variation(values: Tensor, width: Tensor) -> Tensor:
    """Total variation along each path as a share of the range, V = Σ_t |y_{t+1} - y_t| / width: ``(P, T, F)``
    to ``(P, F)``.

    >>> variation(torch.tensor([[[0.0], [1.0], [0.5]]]), torch.tensor([1.0]))
    tensor([[1.5000]])
    """
    return values.diff(dim=1).abs().sum(1) / width


def leakage(moved: Tensor) -> Tensor:
    """How much the other factors move while one does: L_f = mean over g ≠ f of V_g, divided by V_f.

    ``moved (P, F)``: total variations V as shares of the factors' ranges (:func:`variation`). 0: only f
    moves; 1: the others move on average as much as f. NaN for a factor that does not move, and where there is
    no other factor. Shape ``(P, F)``.

    >>> leakage(torch.tensor([[2.0, 1.0]]))
    tensor([[0.5000, 2.0000]])
    """
    if moved.shape[1] < 2:
        return torch.full_like(moved, torch.nan)
    others = (moved.sum(1, keepdim=True) - moved) / (moved.shape[1] - 1)
    return torch.where(moved > TIE, others.clamp(min=0) / moved, torch.nan)


@dataclass(frozen=True)
class Course:
    """What F factors do along P paths, each ``(P, F)`` float64: ``spearman`` with the position (0 for a
    factor that covers too little, NaN on closed paths but for cyclic factors), ``covered`` the share of the
    factor's range between its extremes, ``variation`` and ``leakage`` (NaN where the factor covers too
    little)."""

    spearman: Tensor
    covered: Tensor
    variation: Tensor
    leakage: Tensor


def follow(
    values: Tensor, parameter: Tensor, closed: Tensor, ranges: Tensor, cyclic: Tensor, min_change: float
) -> Course:
    """Read factors ``(P, T, F)`` along paths with positions ``(P, T)``.

    ``closed (P,)`` marks paths that end where they began, on which only a cyclic factor can go on rising;
    ``ranges (F, 2)``; ``cyclic (F,)`` factors have the
    period of their range. A factor that covers less than ``min_change`` of its range does not follow the
    path: its drift may be too small to see, and rank correlation is blind to size.
    """
    width = torch.where(ranges[:, 1] > ranges[:, 0], ranges[:, 1] - ranges[:, 0], 1.0)
    values = unwrap(values, torch.where(cyclic, width, 0.0))
    covered = (values.amax(1) - values.amin(1)) / width
    moves = covered >= max(min_change, TIE)
    signed = torch.where(moves, spearman(values, parameter, width).nan_to_num(0.0), 0.0)
    signed[closed.unsqueeze(1) & ~cyclic] = torch.nan
    moved = variation(values, width)
    return Course(signed, covered, moved, torch.where(moves, leakage(moved), torch.nan))


def leading(course: Course) -> Tensor:
    """The factor that each path orders best, ``(P,)``; of several the one that moves farthest; -1 where none
    does."""
    strength = course.spearman.abs().nan_to_num(0.0)
    most = strength.amax(1, keepdim=True)
    lead = torch.where(strength >= most - TIE, course.variation, -1.0).argmax(1)
    return torch.where(most[:, 0] > 0, lead, -1)


def purest(course: Course, among: Tensor, slack: float) -> Tensor:
    """For each factor the path, of those in ``among`` (row numbers), that leaks least while its |Spearman| is
    within ``slack`` of the greatest: ``(F,)`` row numbers."""
    strength = course.spearman[among].abs()
    near = strength >= strength.amax(0) - max(slack, 1e-9)
    # Of equals the first is taken and not the one with the kinder rounding errors.
    found = course.leakage[among]
    leak = torch.where(found.isnan(), torch.inf, levels(found[None], TIE)[0].double())
    return among[torch.where(near, leak, torch.inf).argmin(0)]


# ---------------------------------------------------------------- what an oracle says of them
@dataclass(frozen=True)
class Reading:
    """The members of a family nearest to P decoded paths of T points, on the CPU: ``fitted (P, T, F)``
    float64 of the factors ``names``, ``residual (P, T)``, ``inside (P, T)``; and what the ``ordered`` factors
    (all but categorical ones) do along the paths, None where there is no such factor."""

    names: tuple[str, ...]
    fitted: Tensor
    residual: Tensor
    inside: Tensor
    ordered: tuple[Factor, ...]
    course: Course | None


def read(
    fits: Projection, factors: Sequence[Factor], parameter: Tensor, closed: Tensor, min_change: float
) -> Reading:
    """Fits of P·T points, path after path, at positions ``parameter (P, T)``; see :func:`follow`."""
    shape = parameter.shape
    fitted = fits.factors.cpu().double().unflatten(0, shape)
    residual, inside = fits.residual.cpu().double().view(shape), fits.inside.cpu().view(shape)
    rows = [i for i, factor in enumerate(factors) if factor.kind != "categorical"]
    ordered, course = tuple(factors[i] for i in rows), None
    if ordered:
        ranges = torch.tensor([[factor.low, factor.high] for factor in ordered], dtype=torch.float64)
        cyclic = torch.tensor([factor.kind == "cyclic" for factor in ordered])
        course = follow(fitted[..., rows], parameter.cpu(), closed, ranges, cyclic, min_change)
    return Reading(tuple(factor.name for factor in factors), fitted, residual, inside, ordered, course)
