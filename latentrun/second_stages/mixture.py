"""A mixture of normals as second stage."""

from __future__ import annotations

import warnings
from typing import Annotated

import torch
from torch import Tensor

from latentrun.config.bounds import Ge, Gt
from latentrun.functional.noise import Noise
from latentrun.models.base import SecondStage, drawn
from latentrun.types import Batch, Phase


class Mixture(SecondStage):
    """Mixture of normals with full covariances, fitted by expectation and maximisation to codes z ~ q(z|x),
    one for each of at most ``rows`` training rows; as Ghosh et al. 2020, arXiv 1903.12436, section 4, who
    take 10 components.

    ``components``: at most one for each row; ``ridge`` is added to the diagonals, in squared latent units, so
    that no component shrinks to a point; ``steps`` at most of the algorithm, which starts once, from k-means.
    """

    def __init__(
        self,
        latent_dim: Annotated[int, Ge(1)],
        components: Annotated[int, Ge(1)],
        rows: Annotated[int, Ge(2)],
        ridge: Annotated[float, Gt(0)],
        steps: Annotated[int, Ge(1)],
    ):
        super().__init__(latent_dim)
        self.components, self.rows, self.ridge, self.steps = components, rows, ridge, steps
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, latent_dim))
        self.register_buffer("scale_trils", torch.eye(latent_dim).repeat(components, 1, 1))

    def fit(self, batch: Batch, noise: Noise) -> None:
        """From mean and scale of all posteriors, ``batch.x (N, 2, d)``."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        some = noise.permutation("rows", len(batch.x))[: self.rows].to(batch.x.device)
        z = drawn(batch.x[some], noise).double().cpu().numpy()
        seed = int(noise.to("cpu").integers("seed", 2**31, (1,)))
        k = min(self.components, len(z))
        found = GaussianMixture(k, reg_covar=self.ridge, max_iter=self.steps, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # `steps` is a limit, not an accuracy
            found.fit(z)
        self.weights.zero_()
        self.weights[:k] = torch.from_numpy(found.weights_)
        self.means[:k] = torch.from_numpy(found.means_)
        self.scale_trils[:k] = torch.linalg.cholesky(torch.from_numpy(found.covariances_)).to(
            self.scale_trils
        )

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("mixture", (), epochs=0, setup=self.fit),)

    def sample(self, n: int, noise: Noise) -> Tensor:
        edges = self.weights.double().cumsum(0)
        which = torch.searchsorted(edges / edges[-1], noise.uniform("component", (n,)).double(), right=True)
        w = noise.normal("prior", (n, self.latent_dim))
        return self.means[which] + torch.einsum("nij,nj->ni", self.scale_trils[which], w)
