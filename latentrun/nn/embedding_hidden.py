"""Laws of a hidden variable u that is embedded in a manifold, each with the prior it is held against."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from latentrun.distributions.base import Law
from latentrun.distributions.beta import BetaCube
from latentrun.distributions.normal import DiagonalNormal
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.noise import Noise

LARGEST = 16.0  # of the logarithm of a Beta's weight: e^16 makes it about 1e-4 wide
STEEPEST = 20.0  # |log scale| of a normal law at most: beyond, float32 squares overflow
EDGE = 3e-7  # share of a normal prior that is left out at either end: beyond 5 deviations


class HiddenKind(ABC):
    """A family of q(u|x), m independent coordinates, from ``h (..., 2 m)``, and the prior of u."""

    @abstractmethod
    def law(self, h: Tensor) -> Law:
        """q(u|x)."""

    @abstractmethod
    def kl(self, law: Law) -> Tensor:
        """KL(q(u|x) || p(u)) ``(...)`` in nats."""

    @abstractmethod
    def parameters(self, law: Law) -> dict[str, Tensor]:
        """What fixes a law of the family, each ``(..., m)``."""

    @abstractmethod
    def prior(self, u: Tensor) -> Tensor:
        """log p(u) ``(...)`` in nats."""

    @abstractmethod
    def sample(self, n: int, m: int, noise: Noise) -> Tensor:
        """n u ``(n, m)`` of the prior."""

    @abstractmethod
    def quantile(self, v: Tensor) -> Tensor:
        """The u ``(..., m)`` with shares ``v`` in [0, 1] of the prior below their coordinates."""

    @abstractmethod
    def share(self, u: Tensor) -> Tensor:
        """The shares ``(..., m)`` of the prior below u: what an exact embedding of the cube takes."""


class BetaKind(HiddenKind):
    """Beta(1 + p w, 1 + (1 - p) w) in [0, 1] against the uniform law, mode p = sigmoid(h_1) and weight w =
    exp(h_2): the narrow laws of little noise, with w in the thousands, are near for a network."""

    def law(self, h: Tensor) -> Law:
        peak, log_weight = h.chunk(2, dim=-1)
        # exp of it is w / (1 + w / e^16), as nn.posterior.bounded has it, of a w that may be infinite.
        held = LARGEST - F.softplus(LARGEST - log_weight)
        return BetaCube(peak.sigmoid(), held.exp())

    def kl(self, law: Law) -> Tensor:
        return cast(BetaCube, law).kl_uniform()

    def parameters(self, law: Law) -> dict[str, Tensor]:
        law = cast(BetaCube, law)
        return {"u_alpha": law.alpha.to(law.peak), "u_beta": law.beta.to(law.peak)}

    def prior(self, u: Tensor) -> Tensor:
        return u.new_zeros(u.shape[:-1])

    def sample(self, n: int, m: int, noise: Noise) -> Tensor:
        return noise.uniform("u", (n, m))

    def quantile(self, v: Tensor) -> Tensor:
        return v

    def share(self, u: Tensor) -> Tensor:
        return u


class NormalKind(HiddenKind):
    """N(mean, scale²) of the numbers h = (mean, log scale) against N(0, 1)."""

    def law(self, h: Tensor) -> Law:
        mean, log_scale = h.chunk(2, dim=-1)
        return DiagonalNormal(mean, log_scale.clamp(-STEEPEST, STEEPEST))

    def kl(self, law: Law) -> Tensor:
        law = cast(DiagonalNormal, law)
        return gaussian_kl(law.loc, law.log_scale).sum(-1)

    def parameters(self, law: Law) -> dict[str, Tensor]:
        law = cast(DiagonalNormal, law)
        return {"u_mean": law.loc, "u_scale": law.stddev}

    def prior(self, u: Tensor) -> Tensor:
        return DiagonalNormal(torch.zeros_like(u), torch.zeros_like(u)).log_prob(u)

    def sample(self, n: int, m: int, noise: Noise) -> Tensor:
        return noise.normal("u", (n, m))

    def quantile(self, v: Tensor) -> Tensor:
        return torch.special.ndtri(v.double().clamp(EDGE, 1 - EDGE)).to(v.dtype)

    def share(self, u: Tensor) -> Tensor:
        return torch.special.ndtr(u)


HIDDEN: dict[str, HiddenKind] = {"beta": BetaKind(), "normal": NormalKind()}
