"""Families of q(z|x) whose variables are independent (normal, Beta), and the categorical one."""

from __future__ import annotations

import math
from typing import Annotated, cast

import torch
from torch import Tensor

from latentrun.config.bounds import Gt
from latentrun.distributions.base import Law
from latentrun.distributions.beta import BetaCube
from latentrun.distributions.normal import DiagonalNormal
from latentrun.distributions.one_hot import OneHot
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.noise import Noise
from latentrun.manifolds import Manifold
from latentrun.nn.embedding_hidden import LARGEST
from latentrun.nn.posterior import (
    Coding,
    LawCoding,
    LawPosterior,
    Posterior,
    positive,
    require_family,
)

STEEPEST = 20.0  # |log scale| of a normal posterior at most: beyond, float32 squares overflow


class NormalCoding(LawCoding):
    """N(mean, diag scale²) against N(0, I)."""

    def kl(self) -> Tensor:
        """Of each variable, ``(N, d)``."""
        law = cast(DiagonalNormal, self.law)
        return gaussian_kl(law.loc, law.log_scale)


class NormalPosterior(Posterior):
    """Diagonal normal laws of R^d against N(0, I): 2 d numbers, ``mean`` and the logarithm of ``scale`` (as
    of the VAE; kept within ±20), each ``(N, d)``."""

    def __init__(self, space: Manifold):
        super().__init__()
        require_family(space, "normal")
        self.space, self.features = space, 2 * space.ambient_dim
        self.register_buffer("_origin", torch.zeros(space.ambient_dim), persistent=False)

    def coding(self, h: Tensor) -> Coding:
        mean, log_scale = h.chunk(2, dim=-1)
        law = DiagonalNormal(mean, log_scale.clamp(-STEEPEST, STEEPEST))
        prior = DiagonalNormal(self._origin, torch.zeros_like(self._origin))
        return NormalCoding(law, prior, {"mean": mean, "scale": law.stddev})

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return noise.normal("prior", (n, self.space.ambient_dim))

    def prior_at(self, u: Tensor) -> Tensor | None:
        return torch.special.ndtri(u).to(self._origin)


class BetaCoding(LawCoding):
    """Independent Beta laws against the uniform one."""

    def kl(self) -> Tensor:
        """Of each variable, ``(N, d)``."""
        return cast(BetaCube, self.law).kl_each()


class BetaPosterior(LawPosterior):
    """Independent Beta laws on [0, 1]^d: 2 d numbers, whose sigmoid is the mode and floor + softplus, the
    latter bounded by e^16, the weight w: ``alpha`` = 1 + mode w, ``beta`` = 1 + (1 - mode) w, each ``(N,
    d)``. The plain form, alpha and beta without the 1, drives both to where all mass is at the borders."""

    def __init__(self, space: Manifold, floor: Annotated[float, Gt(0)]):
        require_family(space, "beta")
        super().__init__(space)
        self.floor, self.features = floor, 2 * space.dim

    def law(self, h: Tensor) -> tuple[Law, dict[str, Tensor]]:
        peak, weight = h.chunk(2, dim=-1)
        law = BetaCube(peak.sigmoid(), positive(weight, self.floor, math.exp(LARGEST)))
        return law, {"alpha": law.alpha.to(h.dtype), "beta": law.beta.to(h.dtype)}

    def coding(self, h: Tensor) -> Coding:
        law, parameters = self.law(h)
        return BetaCoding(cast(BetaCube, law), self.prior, parameters)


class CategoricalCoding(LawCoding):
    """Probabilities of the points of a finite set against equal ones."""

    def outcomes(self, noise: Noise) -> tuple[Tensor, Tensor]:
        del noise  # nothing is drawn
        q = self.parameters()["probability"].mT
        return torch.eye(len(q), dtype=q.dtype, device=q.device).unsqueeze(1), q


class CategoricalPosterior(LawPosterior):
    """Probabilities of the k points of a finite set, ``probability (N, k)``: the softmax of k numbers. Draws
    are exact, their gradient is that of Gumbel-softmax at ``temperature`` (biased, the less the lower it is,
    and the noisier)."""

    def __init__(self, space: Manifold, temperature: Annotated[float, Gt(0)]):
        require_family(space, "categorical")
        super().__init__(space)
        self.temperature, self.features = temperature, space.ambient_dim

    def law(self, h: Tensor) -> tuple[Law, dict[str, Tensor]]:
        law = OneHot(h, self.temperature)
        return law, {"probability": law.log_p.exp()}

    def coding(self, h: Tensor) -> Coding:
        law, parameters = self.law(h)
        return CategoricalCoding(law, self.prior, parameters)

    def prior_grid(self, n: int) -> Tensor:
        """The k points, whatever n is: they are equally probable."""
        del n
        return torch.eye(self.space.ambient_dim).to(self._origin)
