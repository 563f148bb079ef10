"""A normal distribution as second stage."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from latentrun.config.bounds import Ge
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import SecondStage, aggregated
from latentrun.types import Batch, Phase


class Gaussian(SecondStage):
    """z = m + L w, w ~ N(0, I): the normal with the mean and the full covariance L L' of the aggregated
    posterior, in closed form: m = mean of mu(x), L L' = cov mu(x) + diag(mean of sigma²(x)), over the
    training rows."""

    def __init__(self, latent_dim: Annotated[int, Ge(1)]):
        super().__init__(latent_dim)
        self.space = Euclidean(latent_dim)
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("scale_tril", torch.eye(latent_dim))

    @torch.no_grad()
    def fit(self, batch: Batch, noise: Noise) -> None:
        """From mean and scale of all posteriors, ``batch.x (N, 2, d)``."""
        mean, covariance = aggregated(batch.x)
        self.mean.copy_(mean)
        # Positive definite: sigma² stands on the diagonal.
        self.scale_tril.copy_(torch.linalg.cholesky(covariance))

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("gaussian", (), epochs=0, setup=self.fit),)

    def decode(self, w: Tensor) -> Tensor:
        return self.mean + w @ self.scale_tril.T

    def sample(self, n: int, noise: Noise) -> Tensor:
        return self.decode(noise.normal("prior", (n, self.latent_dim)))
