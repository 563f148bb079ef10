"""Normal p(x|z) whose standard deviation changes with z, and a network that learns it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import log, pi, prod
from typing import TYPE_CHECKING, Annotated

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal
from torch.nn import functional as F

from latentrun.config.bounds import Count, Gt
from latentrun.errors import Misfit
from latentrun.nn.base import Network
from latentrun.nn.likelihood import Likelihood, finite_range, squashed
from latentrun.types import Column

if TYPE_CHECKING:
    from latentrun.data.base import Dataset

START = log(2)  # softplus(0)


def require_real(columns: Sequence[Column], name: str) -> None:
    """Misfit where data have columns that no normal law is one of."""
    unreal = next((column for column in columns if column.kind != "real"), None)
    if unreal is not None:
        raise Misfit(
            f"model.likelihood: {name} needs real numbers; column {unreal.name!r} is {unreal.kind}: use mixed"
        )


def gaussian_terms(out: Tensor, log_scale: Tensor, x: Tensor) -> dict[str, Tensor]:
    """-log N(x; out, scale²), a sum over data dimensions, in nats, and the mean squared error per data
    dimension (no gradient), each ``(N,)``; all arguments ``(N, *event_shape)``."""
    error = x - out
    # Divided before it is squared: the square of a far miss alone may be no number any more.
    nll = 0.5 * (error * (-log_scale).exp()).square() + log_scale + 0.5 * log(2 * pi)
    return {"reconstruction": nll.flatten(1).sum(1), "mse": error.detach().square().flatten(1).mean(1)}


class ChangingVariance(Likelihood):
    """p(x|z) = N(x; mu(z), diag sigma(z)²). Subclasses say what sigma is; mu is the decoder's output, with
    ``squash`` through a sigmoid onto the data's range (Misfit where that is not finite).

    ``least``: sigma is never below it, in data units. Without such a floor the likelihood has no upper bound:
    a data dimension that hardly varies, as a corner of a picture, would be given ever more nats.
    """

    def __init__(
        self, event_shape: tuple[int, ...], value_range: tuple[float, float], least: float, squash: bool
    ):
        super().__init__()
        self.event_shape, self.size, self.least = tuple(event_shape), prod(event_shape), least
        self.limits = finite_range(squash, value_range, "model.likelihood.squash")

    @abstractmethod
    def scale_at(self, z: Tensor) -> Tensor:
        """sigma(z) ``(N, *event_shape)``, in data units."""

    def mean(self, z: Tensor, out: Tensor) -> Tensor:
        return squashed(out, self.limits)

    def terms(self, z: Tensor, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        return gaussian_terms(self.mean(z, out), self.scale_at(z).log(), x)

    def distribution(self, z: Tensor, out: Tensor) -> Distribution:
        law = Normal(self.mean(z, out), self.scale_at(z), validate_args=False)
        return Independent(law, len(self.event_shape), validate_args=False)

    def moments(self, z: Tensor, out: Tensor) -> tuple[Tensor, ...]:
        return self.mean(z, out), self.scale_at(z)

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        notes = [
            "p(x|z) has a standard deviation of its own in every data dimension, never below "
            f"{self.least:g} data units (model.likelihood.least): dimensions that hardly vary have as many "
            "nats as that floor lets them, so nats compare only between models with the same one."
        ]
        if data.binary:
            notes.append(
                "The data are 0 or 1 and p(x|z) is a density: its nats compare with no Bernoulli model's."
            )
        return tuple(notes)


class NetworkVariance(ChangingVariance):
    """sigma(z) by a second network of the decoder's kind: the "standard" model of Arvanitidis et al. 2018,
    arXiv 1710.11379, section 4.1. Away from the codes it is whatever the network extrapolates.

    sigma = least + scale softplus(h(z)) / log 2: about ``scale`` at first, in data units. Softplus and not
    the exponential of a log-variance, for h grows without bound away from the codes and its exponential soon
    is no number. Misfit for tables whose columns are not all real.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: Sequence[Column],
        latent_dim: Annotated[int, Count(1, 100_000)],
        network: Network,
        scale: Annotated[float, Gt(0)],
        least: Annotated[float, Gt(0)],
        squash: bool,
    ):
        require_real(columns, "variance_network")
        super().__init__(event_shape, value_range, least, squash)
        self.scale = scale
        self.network = network.decoder(latent_dim, self.event_shape)

    def scale_at(self, z: Tensor) -> Tensor:
        return self.least + self.scale / START * F.softplus(self.network(z))
