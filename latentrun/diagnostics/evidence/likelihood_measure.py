"""log p(x) of single examples, bounded, integrated or exact, by plain functions; a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi, prod, sqrt

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from latentrun.functional.evidence import Quadrature, RunningWeights, doubled, log_mean
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEvidence, HasLikelihood, HasPriorGrid
from latentrun.run import CHUNK
from latentrun.system.terminal import wait_for

CELLS = 1 << 22  # numbers held at once where every example meets every point
FIRST = 256  # points from which quadrature starts


@dataclass(frozen=True)
class Side:
    """What one kind of weights says of N examples, float64 in nats: ``cost (N,)`` the mean of -log weight of
    the prior against the posterior, ``outside (N,)`` the share of draws where the prior is 0, ``bounds[K]
    (N,)``, ``effective (N,)`` and ``bias (N,)`` as in :class:`~latentrun.functional.evidence.RunningWeights`;
    ``groups[K]`` draws were averaged over."""

    cost: Tensor
    outside: Tensor
    bounds: dict[int, Tensor]
    groups: dict[int, int]
    effective: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Weighed:
    """``reconstruction (N,)``: mean of -log p(x|z) over all draws of each example, in nats; the bounds by
    weights that are right, and by those ``uncorrected`` ones that leave a term of the KL out, None where the
    model does not give them."""

    reconstruction: Tensor
    corrected: Side | None
    uncorrected: Side | None


# ---------------------------------------------------------------- from weighed draws
@torch.no_grad()
def weigh(model: HasEvidence, x: Tensor, sizes: list[int], noise: Noise) -> Weighed:
    """max(``sizes``) draws for each of ``x (N, *event_shape)``, at most ``CHUNK`` codes decoded at once."""
    block = min(max(sizes), CHUNK)
    parts, done = [], 0
    for number, rows in enumerate(x.split(max(1, CHUNK // block))):
        parts.append(_weigh_rows(model, rows, sizes, block, noise.at("rows", number)))
        done += len(rows)
        wait_for(f"likelihood: {done:,} of {len(x):,} examples, {max(sizes):,} draws each")
    return Weighed(
        torch.cat([part.reconstruction for part in parts]),
        _joined([part.corrected for part in parts]),
        _joined([part.uncorrected for part in parts]),
    )


def _weigh_rows(model: HasEvidence, x: Tensor, sizes: list[int], block: int, noise: Noise) -> Weighed:
    total = max(sizes)
    reconstruction = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    seen: dict[str, tuple[RunningWeights, Tensor, Tensor]] = {}
    for start in range(0, total, block):
        draws = model.draws(x, min(block, total - start), noise.at("draws", start))
        shape = draws.z.shape[:2]
        repeated = x.expand(shape[0], *x.shape).flatten(0, 1)
        log_px = model.likelihood(draws.z.flatten(0, 1)).log_prob(repeated).view(shape).double()
        reconstruction -= log_px.sum(0) / total
        for kind, log_weight in (("corrected", draws.log_weight), ("uncorrected", draws.uncorrected)):
            if log_weight is not None:
                zero = torch.zeros_like(reconstruction)
                new = RunningWeights(sizes, len(x), x.device), zero, zero.clone()
                weights, cost, outside = seen.setdefault(kind, new)
                weights.add(log_px + log_weight.double())
                cost -= log_weight.double().sum(0) / total
                outside += (log_weight == -torch.inf).double().sum(0) / total
    sides = {kind: _side(*parts) for kind, parts in seen.items()}
    return Weighed(reconstruction, sides.get("corrected"), sides.get("uncorrected"))


def _side(weights: RunningWeights, cost: Tensor, outside: Tensor) -> Side:
    bounds = {size: bound.value for size, bound in weights.bounds.items()}
    groups = {size: bound.groups for size, bound in weights.bounds.items()}
    return Side(cost, outside, bounds, groups, weights.effective, weights.bias)


def _joined(parts: list[Side | None]) -> Side | None:
    """The sides of all rows, one after the other."""
    sides = [part for part in parts if part is not None]
    if not sides:
        return None
    return Side(
        torch.cat([side.cost for side in sides]),
        torch.cat([side.outside for side in sides]),
        {size: torch.cat([side.bounds[size] for side in sides]) for size in sides[0].bounds},
        sides[0].groups,
        torch.cat([side.effective for side in sides]),
        torch.cat([side.bias for side in sides]),
    )


@torch.no_grad()
def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A function of examples ``(N, *event_shape)`` that gives one number each, or one for each latent
    variable, which are summed: ``(N,)`` float64."""
    parts = [function(rows).double() for rows in x.split(CHUNK)]
    return torch.cat([part if part.ndim == 1 else part.flatten(1).sum(1) for part in parts])


# ---------------------------------------------------------------- integrals
def integrate(law: Callable[[Tensor], Distribution], points: Tensor, x: Tensor) -> Tensor:
    """log (1/n) sum_j p(x|point_j) ``(N,)``, of ``points (n, ...)`` that ``law`` takes blocks of."""
    return log_mean(lambda some: pairs(law(some), x), points, min(CHUNK, len(points)))


def pairs(law: Distribution, x: Tensor) -> Tensor:
    """log p_j(x_i) ``(N, B)`` of the laws of a batch ``(B,)`` at ``x (N, *event_shape)``. Of normal laws with
    one scale everywhere by their squared distances, |x|² - 2 x·mean + |mean|² about the mean of x in float64:
    one product of matrices in place of N B D logarithms."""
    scale = one_scale(law)
    if scale is None:
        rows = max(1, CELLS // prod(law.batch_shape + law.event_shape))
        return torch.cat([law.log_prob(part.unsqueeze(1)) for part in x.split(rows)])
    rows = x.double().flatten(1)
    middle = rows.mean(0)
    rows, means = rows - middle, law.mean.double().flatten(1) - middle
    squares = torch.addmm(rows.square().sum(1, keepdim=True), rows, means.mT, alpha=-2)
    squares += means.square().sum(1)
    return squares.mul_(-0.5 / scale**2).sub_(rows.shape[1] * log(scale * sqrt(2 * pi)))


def one_scale(law: Distribution) -> float | None:
    """sigma where the law is N(mean, sigma² I), the same in all of its batch and dimensions; else None."""
    while isinstance(law, Independent):
        law = law.base_dist
    if not isinstance(law, Normal):
        return None
    low, high = law.scale.min().item(), law.scale.max().item()
    return low if high - low <= 1e-6 * high else None


@torch.no_grad()
def by_quadrature(
    model: HasLikelihood, grid: HasPriorGrid, x: Tensor, most: int, tolerance: float
) -> Quadrature | None:
    """log p(x) as a sum over equal parts of the prior; None where it cannot be cut into such."""
    if grid.prior_grid(1) is None:
        return None

    def value(n: int) -> Tensor:
        points = grid.prior_grid(n)
        assert points is not None
        wait_for(f"likelihood: quadrature over {n:,} points of the prior")
        return integrate(model.likelihood, points, x)

    return doubled(value, min(FIRST, most), most, tolerance)


@torch.no_grad()
def fixed_scale(model: HasLikelihood, z: Tensor) -> float | None:
    """sigma where p(x|z) = N(mean(z), sigma² I) with the same sigma at all of the codes ``z (n, d)`` and in
    all dimensions; else None."""
    return one_scale(model.likelihood(z))


@torch.no_grad()
def by_members(
    members: Callable[[int], Tensor | None], scale: float, x: Tensor, most: int, tolerance: float
) -> Quadrature | None:
    """log of the mean of N(x; member, scale² I) over a family: what a model with this sigma gives whose
    decoder and prior are the family itself. ``members(n)``: as of
    :class:`~latentrun.data.base.HasMembers`."""
    if members(1) is None:
        return None

    def law(mean: Tensor) -> Distribution:
        normal = Normal(mean, mean.new_tensor(scale), validate_args=False)
        return Independent(normal, x.ndim - 1, validate_args=False)

    def value(n: int) -> Tensor:
        points = members(n)
        assert points is not None
        wait_for(f"likelihood: oracle over {n:,} members")
        return integrate(law, points.to(x), x)

    return doubled(value, min(FIRST, most), most, tolerance)
