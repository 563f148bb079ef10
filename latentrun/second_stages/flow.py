"""A normalizing flow as second stage."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from torch import Tensor

from latentrun.config.bounds import Each, Ge
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import SecondStage, aggregated, drawn
from latentrun.types import Batch, Clock, Objective, Phase


class Flow(SecondStage):
    """Minimises -log p(z) in nats per example, z ~ q(z|x) drawn anew at every step, where log p(z) = log N(u;
    0, I) + log |det du/dz| and u = f((z - m) / s), m and s the aggregated posterior's mean and standard
    deviations; samples are z = m + s f^-1(u), u ~ N(0, I).

    f: ``transforms`` coupling layers, each of which moves one half of the variables by functions that a
    network with hidden layers ``widths`` makes of the other half, halves taken in turns: ``affine`` ones
    (Dinh et al. 2017, arXiv 1605.08803) or rational-quadratic ``spline`` ones of ``bins`` bins between -5 and
    5, the identity beyond (Durkan et al. 2019, arXiv 1906.04032). By zuko. ``epochs``: null for those of the
    training.
    """

    def __init__(
        self,
        latent_dim: Annotated[int, Ge(1)],
        kind: Literal["affine", "spline"],
        transforms: Annotated[int, Ge(1)],
        widths: Annotated[list[int], Each(Ge(1))],
        bins: Annotated[int, Ge(2)],
        epochs: Annotated[int, Ge(0)] | None,
    ):
        from zuko.flows import MAF, NSF  # not for those who have no use for it

        super().__init__(latent_dim)
        self.space, self.epochs = Euclidean(latent_dim), epochs
        given = {
            "transforms": transforms,
            "hidden_features": tuple(widths),
            "passes": 2,
        }  # two passes: coupling
        self.f = (
            NSF(latent_dim, bins=bins, **given) if kind == "spline" else MAF(latent_dim, **given)
        ).transform
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))

    @torch.no_grad()
    def standardise(self, batch: Batch, noise: Noise) -> None:
        """Moments of the aggregated posterior from ``batch.x (N, 2, d)``."""
        mean, covariance = aggregated(batch.x)
        self.mean.copy_(mean)
        self.scale.copy_(covariance.diagonal().sqrt())

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) ``(N,)`` in nats, of codes ``(N, d)``."""
        u, log_det = self.f().call_and_ladj((z - self.mean) / self.scale)
        normal = -0.5 * u.square().sum(1) - 0.5 * self.latent_dim * math.log(2 * math.pi)
        return normal + log_det - self.scale.log().sum()

    def loss(self, batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
        """-log p(z), mean over the batch."""
        return {"loss": -self.log_prob(drawn(batch.x, noise)).mean()}

    def monitor(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """-log p(z) per example."""
        return {"monitor": -self.log_prob(drawn(batch.x, noise))}

    def phases(self) -> tuple[Phase, ...]:
        objective = Objective("flow", list(self.f.parameters()), self.loss)
        return (
            Phase("flow", (objective,), monitor=self.monitor, epochs=self.epochs, setup=self.standardise),
        )

    def decode(self, w: Tensor) -> Tensor:
        return self.mean + self.scale * self.f().inv(w)

    def sample(self, n: int, noise: Noise) -> Tensor:
        return self.decode(noise.normal("prior", (n, self.latent_dim)))
