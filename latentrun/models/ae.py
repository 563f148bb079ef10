"""The deterministic autoencoder."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from latentrun.config.bounds import Count
from latentrun.data.base import Dataset
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasEncoder, Model
from latentrun.nn.base import Network
from latentrun.nn.likelihood import finite_range, squashed
from latentrun.types import Batch, Clock, Objective, Phase


class AE(Model, HasEncoder):
    """x -> z -> x, trained on the squared error ||x - decode(encode(x))||², summed over data dimensions.

    It has no prior: where samples are wanted, a Gaussian fitted to its training codes stands in.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        network: Network,
        latent_dim: Annotated[int, Count(1, 100_000)],
        squash: bool,
    ):
        super().__init__(event_shape, {"z": Euclidean(latent_dim)})
        self.limits = finite_range(squash, value_range, "model.squash")
        self.encoder = network.encoder(self.event_shape, latent_dim)
        self.decoder = network.decoder(latent_dim, self.event_shape)

    def encode(self, x: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return self.encoder(x)

    def decode(self, z: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return squashed(self.decoder(z), self.limits)

    def squared_error(self, batch: Batch) -> Tensor:
        """||x - decode(encode(x))||² ``(B,)``, summed over data dimensions, in squared data units."""
        return (batch.x - self.decode(self.encode(batch.x))).square().flatten(1).sum(1)

    def loss(self, batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
        """Squared error summed over data dimensions, averaged over examples."""
        loss = self.squared_error(batch).mean()
        return {"loss": loss, "mse": loss / batch.x[0].numel()}

    def monitor(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """The loss, per example."""
        error = self.squared_error(batch)
        return {"monitor": error, "mse": error / batch.x[0].numel()}

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        return ("The model has no prior: samples come from a Gaussian fitted to its training codes.",)

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("ae", (Objective("ae", list(self.parameters()), self.loss),), monitor=self.monitor),)
