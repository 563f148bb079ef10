"""A normal distribution of vectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from latentrun.callbacks import Begin
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasEncoder, HasLogProb, HasPrior, Model, moments, vector_size
from latentrun.types import Batch, Phase


class Gaussian(Model, HasEncoder, HasPrior, HasLogProb):
    """x = m + L z, z ~ N(0, I): the normal with the mean m and the full covariance L L' of the training rows,
    in closed form. Of rows that stand for normals N(mu, sigma²), as the codes of a Gaussian posterior do,
    those of their mixture: m = mean of mu, L L' = cov mu + diag(mean of sigma²). Misfit for data that are no
    vectors."""

    def __init__(self, event_shape: tuple[int, ...]):
        d = vector_size("gaussian", event_shape)
        super().__init__(event_shape, {"z": Euclidean(d)})
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("scale_tril", torch.eye(d))

    @torch.no_grad()
    def fit(self, batch: Batch, noise: Noise) -> None:
        """From all training rows."""
        mean, covariance = moments(batch)
        self.mean.copy_(mean)
        # A little width in every direction where rows are exact: they may lie in a plane.
        width = 0.0 if batch.scale is not None else 1e-9 * float(1 + covariance.trace())
        self.scale_tril.copy_(torch.linalg.cholesky(covariance + width * torch.eye(len(mean)).to(covariance)))

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("gaussian", (), epochs=0, callbacks=(Begin(self.fit),)),)

    def encode(self, x: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return torch.linalg.solve_triangular(self.scale_tril, (x - self.mean).T, upper=False).T

    def decode(self, z: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return self.mean + z @ self.scale_tril.T

    def prior(self) -> Distribution:
        return Independent(Normal(torch.zeros_like(self.mean), 1.0), 1)

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return noise.normal("prior", (n, self.latent_dim))

    def log_prob(self, x: Tensor) -> Tensor:
        return MultivariateNormal(self.mean, scale_tril=self.scale_tril).log_prob(x)
