"""A mixture of normals over vectors."""

from __future__ import annotations

import warnings
from typing import Annotated

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily, MultivariateNormal

from latentrun.callbacks import Begin
from latentrun.config.bounds import Count, Gt
from latentrun.data.base import Dataset
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasEncoder, HasLogProb, HasPrior, Model, drawn, vector_size
from latentrun.types import Batch, Phase


class Mixture(Model, HasEncoder, HasPrior, HasLogProb):
    """Mixture of normals with full covariances, fitted by expectation and maximisation to at most ``rows``
    training rows (of rows that stand for normals, to one draw from each); as Ghosh et al. 2020, arXiv
    1903.12436, section 4, who take 10 components for the codes of an autoencoder.

    It has no code beside the example: z is x, and the mixture is the prior. ``components``: at most one for
    each row; ``ridge`` is added to the diagonals, in squared data units, so that no component shrinks to a
    point; ``steps`` at most of the algorithm, which starts once, from k-means. Misfit for data that are no
    vectors.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        components: Annotated[int, Count(1, 10_000)],
        rows: Annotated[int, Count(2)],
        ridge: Annotated[float, Gt(0)],
        steps: Annotated[int, Count(1, 10_000)],
    ):
        d = vector_size("mixture", event_shape)
        super().__init__(event_shape, {"z": Euclidean(d)})
        self.components, self.rows, self.ridge, self.steps = components, rows, ridge, steps
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, d))
        self.register_buffer("scale_trils", torch.eye(d).repeat(components, 1, 1))

    def check_rows(self, data: Dataset) -> None:
        rows = min(self.rows, len(data.split("train").x))
        if self.components > rows:
            raise InputError(
                f"model.components: {self.components:,} components cannot be fitted to {rows:,} training rows"
            )

    def fit(self, batch: Batch, noise: Noise) -> None:
        """From all training rows."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        row_index = noise.permutation("rows", len(batch.x))[: self.rows].to(batch.x.device)
        scale = None if batch.scale is None else batch.scale[row_index]
        x = drawn(Batch(batch.x[row_index], scale=scale), noise).double().cpu().numpy()
        seed = int(noise.to("cpu").integers("seed", 2**31, (1,)))
        k = min(self.components, len(x))
        fitted = GaussianMixture(k, reg_covar=self.ridge, max_iter=self.steps, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `steps` is a limit, not an accuracy
            fitted.fit(x)
        self.weights.zero_()
        self.weights[:k] = torch.from_numpy(fitted.weights_)
        self.means[:k] = torch.from_numpy(fitted.means_)
        self.scale_trils[:k] = torch.linalg.cholesky(torch.from_numpy(fitted.covariances_)).to(
            self.scale_trils
        )

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("mixture", (), epochs=0, callbacks=(Begin(self.fit),)),)

    def encode(self, x: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return x

    def decode(self, z: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return z

    def prior(self) -> Distribution:
        normals = MultivariateNormal(self.means, scale_tril=self.scale_trils)
        return MixtureSameFamily(Categorical(self.weights), normals)

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        edges = self.weights.double().cumsum(0)
        position = noise.uniform("component", (n,)).double()
        component = torch.searchsorted(edges / edges[-1], position, right=True)
        w = noise.normal("prior", (n, self.latent_dim))
        return self.means[component] + torch.einsum("nij,nj->ni", self.scale_trils[component], w)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.prior().log_prob(x)
