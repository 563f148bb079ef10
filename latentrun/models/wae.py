"""Deterministic autoencoders whose codes are driven towards a law: one base, three ways to compare."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from latentrun.callbacks import AfterStep
from latentrun.config.bounds import Count, Each, Ge, Gt
from latentrun.data.base import Dataset
from latentrun.errors import InputError
from latentrun.functional.adversarial import critic_loss, generator_loss
from latentrun.functional.distances.kernels import Kernel, mmd2, sliced_wasserstein2, spread
from latentrun.functional.noise import Noise
from latentrun.manifolds import Finite, Manifold, space
from latentrun.models.base import (
    HasEncoder,
    HasGenerator,
    Headed,
    parameters_beside,
    prior_points,
    require_room,
)
from latentrun.nn.base import Network
from latentrun.nn.dense import layers
from latentrun.nn.initial import scaled
from latentrun.nn.likelihood import Coder, LikelihoodRecipe
from latentrun.types import Batch, Clock, Column, Objective, OfSplit, Phase

MEASURED = 2000  # codes that the monitor compares with the prior, at most
CHUNK = 512  # rows that the monitor decodes at once
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of the kernel that measures what was trained otherwise


def _require_gradients(latent: Manifold) -> None:
    """InputError for a space in which a code has nowhere to go by small steps."""
    for factor in latent.simple_factors:
        if isinstance(factor, Finite):
            raise InputError(
                f"model.latent: {factor.name} is a finite set: no gradient moves a code between its points"
            )


class MatchedAE(Headed, HasEncoder, HasGenerator):
    """x -> z -> x: minimises -log p(x|z) + ``weight`` D, in nats per example summed over data dimensions,
    where D says how far the codes z of a batch are from as many draws of the prior. No posterior: an example
    has one code.

    ``latent``: a space by its short text; its points are made of the encoder's numbers by
    :meth:`~latentrun.manifolds.Manifold.from_numbers`. The prior is its uniform law where it has one, N(0, I)
    on Euclidean spaces. ``likelihood``: p(x|z), see :mod:`latentrun.nn.likelihood`; with
    ``scale`` 1/sqrt(2) the squared error, up to a constant.
    """

    term: str  # what D is called among the terms
    width: Tensor

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: tuple[Column, ...],
        network: Network,
        latent: str,
        weight: float,
        likelihood: Any,
    ):
        super().__init__(event_shape, {"z": space(latent, "model.latent")})
        require_room(self.spaces["z"], self.event_shape)
        _require_gradients(self.spaces["z"])
        self.weight = weight
        self.encoder = network.encoder(self.event_shape, self.latent_dim)
        self.decode_by(network, likelihood, value_range, columns)
        # How far two draws of the prior lie apart: what kernels are scaled by.
        width = spread(self.sample_prior(MEASURED, Noise(0)))
        self.register_buffer("width", width, persistent=False)

    # ---------------------------------------------------------------- what the finished model can do
    def encode(self, x: Tensor, space: str = "z") -> Tensor:
        return self.space(space).from_numbers(self.encoder(x))

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return prior_points(self.spaces["z"], n, noise)

    # ---------------------------------------------------------------- how it is trained
    @abstractmethod
    def mismatch(self, z: Tensor, noise: Noise) -> Tensor:
        """D ``()`` of codes ``(B, d)``, with gradients."""

    def measured(self, z: Tensor, noise: Noise) -> Tensor:
        """D as the monitor takes it."""
        return self.mismatch(z, noise)

    def unbiased(self, z: Tensor, noise: Noise, kernel: Kernel, scales: Sequence[float]) -> Tensor:
        """MMD² ``()`` of codes to the prior; 0 of one code, which the last batch of an epoch may have, and
        of which there is no unbiased one."""
        if len(z) < 2:
            return z.new_zeros(())
        return mmd2(z, self.sample_prior(len(z), noise).to(z), kernel, self.width, scales)

    def loss(self, batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
        """Mean over the batch of ``reconstruction`` = -log p(x|z), in nats per example, + weight D."""
        z = self.encode(batch.x)
        terms, far = self.head.means(z, self.decoder(z), batch.x), self.mismatch(z, noise)
        return {"loss": terms["reconstruction"] + self.weight * far, self.term: far} | terms

    def monitor(self, rows: Batch, noise: Noise) -> dict[str, Tensor]:
        """Reconstruction + weight D of the whole split, D of 2,000 codes at most, and its terms."""
        codes, sums = [], {}
        for x in rows.x.split(CHUNK):
            z = self.encode(x)
            codes.append(z)
            for name, values in self.head.terms(z, self.decoder(z), x).items():
                sums[name] = sums.get(name, 0) + values.sum()
        terms = {name: total / len(rows.x) for name, total in sums.items()}
        far = self.measured(torch.cat(codes)[:MEASURED], noise)
        return {"monitor": terms["reconstruction"] + self.weight * far, self.term: far} | terms

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        return self.head.caveats(data)

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase(
                type(self).__name__.lower(),
                self.objectives(),
                monitor=OfSplit(self.monitor),
                callbacks=(AfterStep(self.observe),),
            ),
            *self._after(),
        )

    def _after(self) -> tuple[Phase, ...]:
        """What of the likelihood is trained when the rest is."""
        return self.head.phases(Coder(self.encode, lambda x, noise: self.encode(x), self.decoder))

    def _own(self) -> list[nn.Parameter]:
        """What moves in its own phase."""
        return parameters_beside(self, self._after())

    def objectives(self) -> tuple[Objective, ...]:
        """What it trains by."""
        return (Objective("autoencoder", self._own(), self.loss),)

    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """Let the likelihood learn from the terms of a step."""
        self.head.observe({name.removeprefix("autoencoder/"): value for name, value in terms.items()})


class WAE(MatchedAE):
    """Wasserstein autoencoder with the maximum mean discrepancy (Tolstikhin et al. 2018, arXiv 1711.01558,
    algorithm 2): D = MMD²_u of codes and draws of the prior, the unbiased U-statistic.

    ``kernel``: ``imq`` k = C / (C + r²) or ``rbf`` exp(-r² / C), the mean over ``scales`` s of C = s E||z -
    z'||² for two draws z, z' of the prior: 2 d for N(0, I), as in the paper.
    """

    term = "mmd2"

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: tuple[Column, ...],
        network: Network,
        latent: str,
        weight: Annotated[float, Ge(0)],
        kernel: Kernel,
        scales: Annotated[list[float], Each(Gt(0), 100)],
        likelihood: LikelihoodRecipe,
    ):
        if not scales:
            raise InputError("model.scales: a kernel needs one scale at least, such as [1.0]")
        self.kernel: Kernel = kernel
        self.scales = tuple(scales)
        super().__init__(event_shape, value_range, columns, network, latent, weight, likelihood)

    def mismatch(self, z: Tensor, noise: Noise) -> Tensor:
        return self.unbiased(z, noise, self.kernel, self.scales)


class SWAE(MatchedAE):
    """Sliced-Wasserstein autoencoder (Kolouri et al. 2018, arXiv 1804.01947, algorithm 1): D = squared
    2-Wasserstein distance of codes and draws of the prior, the mean over ``projections`` random directions,
    which are drawn anew at every step."""

    term = "sliced_wasserstein2"

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: tuple[Column, ...],
        network: Network,
        latent: str,
        weight: Annotated[float, Ge(0)],
        projections: Annotated[int, Count(1, 100_000)],
        likelihood: LikelihoodRecipe,
    ):
        self.projections = projections
        super().__init__(event_shape, value_range, columns, network, latent, weight, likelihood)

    def mismatch(self, z: Tensor, noise: Noise) -> Tensor:
        directions = noise.normal("projections", (self.projections, self.latent_dim)).to(z)
        return sliced_wasserstein2(z, self.sample_prior(len(z), noise).to(z), directions)


class AAE(MatchedAE):
    """Adversarial autoencoder (Makhzani et al. 2016, arXiv 1511.05644): a discriminator of ``widths`` learns
    to tell codes from draws of the prior, and the encoder to mislead it: D = E[-log sigmoid(f(z))], the
    non-saturating form, log 2 where it can but guess. Two objectives, ``autoencoder`` and ``discriminator``,
    each with an optimiser of its own (``training.optimizers``).

    The monitor has in D's place the unbiased MMD² to the prior (inverse multiquadrics of seven scales), which
    unlike a game's loss means the same in every epoch.
    """

    term = "misleading"

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: tuple[Column, ...],
        network: Network,
        latent: str,
        weight: Annotated[float, Ge(0)],
        widths: Annotated[list[int], Each(Count(1, 65_536))],
        likelihood: LikelihoodRecipe,
    ):
        super().__init__(event_shape, value_range, columns, network, latent, weight, likelihood)
        self.discriminator = scaled(nn.Sequential(*layers([self.latent_dim, *widths, 1])))

    def mismatch(self, z: Tensor, noise: Noise) -> Tensor:
        return generator_loss("non_saturating", self.discriminator(z))

    def measured(self, z: Tensor, noise: Noise) -> Tensor:
        return self.unbiased(z, noise, "imq", SCALES)

    def discriminator_loss(self, batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
        """Binary cross-entropy of prior draws (1) against codes (0), each half, in nats; ``accuracy``."""
        with torch.no_grad():
            z = self.encode(batch.x)
        prior, codes = self.discriminator(self.sample_prior(len(z), noise).to(z)), self.discriminator(z)
        loss = 0.5 * critic_loss("non_saturating", prior, codes)
        right = 0.5 * ((prior > 0).to(z) + (codes < 0).to(z)).mean()
        return {"loss": loss, "accuracy": right}

    def objectives(self) -> tuple[Objective, ...]:
        judge = list(self.discriminator.parameters())
        own = [p for p in self._own() if all(p is not other for other in judge)]
        return (
            Objective("discriminator", judge, self.discriminator_loss),
            Objective("autoencoder", own, self.loss),
        )
