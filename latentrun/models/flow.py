"""A normalizing flow over vectors."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from latentrun.callbacks import Begin
from latentrun.config.bounds import Count, Each
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasEncoder, HasLogProb, HasPrior, Model, moments, vector_size
from latentrun.types import Batch, Clock, Objective, Phase


class Flow(Model, HasEncoder, HasPrior, HasLogProb):
    """Minimises -log p(x) in nats per example, log p(x) = log N(z; 0, I) + log |det dz/dx| and z = f((x - m)
    / s), m and s mean and standard deviations of the training rows; samples are x = m + s f^-1(z), z ~ N(0,
    I).

    f: ``transforms`` coupling layers, each of which moves one half of the variables by functions that a
    network with hidden layers ``widths`` makes of the other half, halves taken in turns: ``affine`` ones
    (Dinh et al. 2017, arXiv 1605.08803) or rational-quadratic ``spline`` ones of ``bins`` bins between -5 and
    5, the identity beyond (Durkan et al. 2019, arXiv 1906.04032). By zuko. Misfit for data that are no
    vectors.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        kind: Literal["affine", "spline"],
        transforms: Annotated[int, Count(1, 1000)],
        widths: Annotated[list[int], Each(Count(1, 65_536))],
        bins: Annotated[int, Count(2, 10_000)],
    ):
        from zuko.flows import MAF, NSF  # not for those who have no use for it

        d = vector_size("flow", event_shape, of_pictures="glow")
        super().__init__(event_shape, {"z": Euclidean(d)})
        coupling = {"transforms": transforms, "hidden_features": tuple(widths), "passes": 2}
        self.f = (NSF(d, bins=bins, **coupling) if kind == "spline" else MAF(d, **coupling)).transform
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))

    @torch.no_grad()
    def standardise(self, batch: Batch, noise: Noise) -> None:
        """Moments of all training rows; a variable that never varies keeps its unit."""
        mean, covariance = moments(batch)
        self.mean.copy_(mean)
        scale = covariance.diagonal().sqrt()
        self.scale.copy_(torch.where(scale > 0, scale, 1.0))

    def encode(self, x: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return self.f()((x - self.mean) / self.scale)

    def decode(self, z: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return self.mean + self.scale * self.f().inv(z)

    def prior(self) -> Distribution:
        return Independent(Normal(torch.zeros_like(self.mean), 1.0), 1)

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return noise.normal("prior", (n, self.latent_dim))

    def log_prob(self, x: Tensor) -> Tensor:
        z, log_det = self.f().call_and_ladj((x - self.mean) / self.scale)
        normal = -0.5 * z.square().sum(1) - 0.5 * self.latent_dim * math.log(2 * math.pi)
        return normal + log_det - self.scale.log().sum()

    def loss(self, batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
        """-log p(x), mean over the batch."""
        return {"loss": -self.log_prob(batch.x).mean()}

    def monitor(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """-log p(x) per example."""
        return {"monitor": -self.log_prob(batch.x)}

    def phases(self) -> tuple[Phase, ...]:
        objective = Objective("flow", list(self.f.parameters()), self.loss)
        return (Phase("flow", (objective,), monitor=self.monitor, callbacks=(Begin(self.standardise),)),)
