"""Posteriors on products of spaces, and which family each factor gets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from latentrun.distributions.base import Draws
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import GRIDS, lattice
from latentrun.manifolds import Finite, Manifold
from latentrun.nn.posterior import Coding, Posterior, Unneeded, kind_of
from latentrun.nn.posterior_flat import CategoricalPosterior, NormalPosterior
from latentrun.types import Phase

if TYPE_CHECKING:
    from latentrun.data.base import Dataset


def posterior_of(space: Manifold, family: Callable[..., Posterior], temperature: float) -> Posterior:
    """q(z|x) on any space: of a product one for each factor, the chosen one, ``family(space=...)``.
    Euclidean factors that it does not know take the normal family, finite sets the categorical one with
    ``temperature``.

    InputError where it does not know a factor of another kind, or none at all: the choice would then mean
    nothing. A family for spaces of every kind may be :class:`Unneeded`, which is no error.
    """
    factors = factors_of(space)
    made, refusals = [], []
    for factor in factors:
        try:
            made.append(family(space=factor))
        except InputError as error:
            kind = kind_of(factor)
            if kind not in ("e", "c"):
                raise
            refusals.append(error)
            made.append(NormalPosterior(factor) if kind == "e" else CategoricalPosterior(factor, temperature))
    if len(refusals) == len(factors) and not any(isinstance(error, Unneeded) for error in refusals):
        more = f"; no other factor of {space.name} takes it either" if len(factors) > 1 else ""
        raise InputError(f"{refusals[0]}{more}")
    return made[0] if len(factors) == 1 else ProductPosterior(space, made)


def factors_of(space: Manifold) -> tuple[Manifold, ...]:
    """The factors that have a posterior each; the space itself where it is no product."""
    return space.factors if kind_of(space) == "product" else (space,)


class ProductCoding(Coding):
    """Independent laws of the factors. The names of parameters get the number of the factor, from 1."""

    def __init__(self, factors: Sequence[Coding]):
        self.factors = factors

    @property
    def center(self) -> Tensor:
        return torch.cat([factor.center for factor in self.factors], -1)

    def parameters(self) -> dict[str, Tensor]:
        return {
            f"{name}_{number}": value
            for number, factor in enumerate(self.factors, 1)
            for name, value in factor.parameters().items()
        }

    def draw(self, noise: Noise) -> Tensor:
        return torch.cat([factor.draw(noise.at(i)) for i, factor in enumerate(self.factors)], -1)

    def outcomes(self, noise: Noise) -> tuple[Tensor, Tensor]:
        z, q = self.factors[0].outcomes(noise.at(0))
        for i, factor in enumerate(self.factors[1:], 1):
            more, share = factor.outcomes(noise.at(i))
            shape = (len(z), len(more), max(z.shape[1], more.shape[1]))
            z = torch.cat([z.unsqueeze(1).expand(*shape, -1), more.expand(*shape, -1)], -1).flatten(0, 1)
            q = (q.unsqueeze(1) * share).flatten(0, 1)
        return z, q

    def kl(self) -> Tensor:
        """Of the whole, ``(N,)``: the sum of the factors'."""
        parts = [factor.kl() for factor in self.factors]
        return torch.stack([kl.sum(-1) if kl.ndim > 1 else kl for kl in parts]).sum(0)

    def draws(self, n: int, noise: Noise) -> Draws:
        parts = [factor.draws(n, noise.at(i)) for i, factor in enumerate(self.factors)]
        weights = [part.log_weight for part in parts]
        uncorrected = None
        if any(part.uncorrected is not None for part in parts):
            uncorrected = _total([p.log_weight if p.uncorrected is None else p.uncorrected for p in parts])
        return Draws(torch.cat([part.z for part in parts], -1), _total(weights), uncorrected)


def _total(weights: Sequence[Tensor | None]) -> Tensor | None:
    """Their sum; None where one is not known."""
    there = [weight for weight in weights if weight is not None]
    return torch.stack(there).sum(0) if len(there) == len(weights) else None


class ProductPosterior(Posterior):
    """One family a factor; the encoder's numbers are split among them in their order."""

    def __init__(self, space: Manifold, factors: Sequence[Posterior]):
        super().__init__()
        self.space, self.factors = space, nn.ModuleList(factors)
        self.widths = [factor.features for factor in factors]
        self.features = sum(self.widths)

    def each(self) -> list[Posterior]:
        """The factors' posteriors."""
        return [cast(Posterior, factor) for factor in self.factors]

    def coding(self, h: Tensor) -> Coding:
        return ProductCoding(
            [factor.code(part) for factor, part in zip(self.each(), h.split(self.widths, -1), strict=True)]
        )

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return torch.cat([factor.sample_prior(n, noise.at(i)) for i, factor in enumerate(self.each())], -1)

    def prior_grid(self, n: int) -> Tensor | None:
        """The grid of the other factors together, at least n points in all, for each combination of the
        points of finite sets; of these alone, whatever n is."""
        dims = [factor.space.dim for factor in self.each()]
        if sum(dims) > GRIDS:
            return None
        several = math.prod(f.space.ambient_dim for f in self.each() if isinstance(f.space, Finite))
        u = lattice(-(-n // several), sum(dims)) if sum(dims) else torch.zeros(1, 0)
        points = u.new_zeros(len(u), 0)
        for factor, part in zip(self.each(), u.split(dims, dim=1), strict=True):
            finite = isinstance(factor.space, Finite)
            own = factor.prior_grid(1) if finite else factor.prior_at(part)
            if own is None:
                return None
            if finite:
                own, points = own.repeat_interleave(len(points), 0), points.repeat(len(own), 1)
            else:
                own = own.repeat(len(points) // len(own), 1)
            points = torch.cat([points.to(own), own], 1)
        return points

    def phases(self) -> tuple[Phase, ...]:
        """Those of all factors; where two have one name, with the number of the factor, from 1."""
        phases = [(i, phase) for i, factor in enumerate(self.each(), 1) for phase in factor.phases()]
        names = [phase.name for _, phase in phases]
        return tuple(
            replace(phase, name=f"{phase.name}_{i}") if names.count(phase.name) > 1 else phase
            for i, phase in phases
        )

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        return tuple(dict.fromkeys(note for factor in self.each() for note in factor.caveats(data)))
