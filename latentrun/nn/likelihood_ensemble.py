"""Several decoders, whose disagreement is the uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, prod
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from latentrun.config.bounds import Count, Gt
from latentrun.nn.base import Network
from latentrun.nn.likelihood import Likelihood, finite_range, squashed
from latentrun.nn.likelihood_variance import gaussian_terms, require_real
from latentrun.types import Column


class DecoderEnsemble(Likelihood):
    """p(x|z) = 1/M sum_m N(x; mu_m(z), gamma² I) of M = ``members`` decoders under one encoder: the model's
    own and M - 1 of the same kind, each with first weights of its own (Syrota et al. 2024, arXiv 2408.07507).

    All members learn from each batch: ``reconstruction`` = 1/M sum_m -log N(x; mu_m(z), gamma² I), the
    expectation over a member drawn evenly, as the bound of one member drawn for each batch, there, but
    without the noise of the draw and for M times the work. It is at least -log p(x|z), as the logarithm is
    concave. Trained on the mixture itself each member would keep to the rows that it fits best.

    :meth:`moments` are mean and standard deviation (divisor M - 1) over the members: where these agree it is
    known what is decoded. gamma = ``scale``, the same everywhere, is no part of it. The spread has ``least``
    added in quadrature, in data units, so that it has a slope where all members are equal. Misfit for tables
    whose columns are not all real.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: Sequence[Column],
        latent_dim: Annotated[int, Count(1, 100_000)],
        network: Network,
        members: Annotated[int, Count(2, 100)],
        scale: Annotated[float, Gt(0)],
        least: Annotated[float, Gt(0)],
        squash: bool,
    ):
        require_real(columns, "ensemble")
        super().__init__()
        self.event_dims, self.size, self.least = len(event_shape), prod(event_shape), least
        self.limits = finite_range(squash, value_range, "model.likelihood.squash")
        self.others = nn.ModuleList(network.decoder(latent_dim, event_shape) for _ in range(members - 1))
        self.register_buffer("log_scale", torch.tensor(log(scale)))

    def means_of_members(self, z: Tensor, out: Tensor) -> Tensor:
        """mu_m(z) ``(N, M, *event_shape)``, the model's own decoder first."""
        each = [out, *(decoder(z) for decoder in self.others)]
        return squashed(torch.stack(each, dim=1), self.limits)

    def mean(self, z: Tensor, out: Tensor) -> Tensor:
        return self.means_of_members(z, out).mean(1)

    def terms(self, z: Tensor, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        """``mse`` of the mean over members."""
        members = self.means_of_members(z, out)
        m = members.shape[1]
        of_all = gaussian_terms(members.flatten(0, 1), self.log_scale, x.repeat_interleave(m, dim=0))
        error = (x - members.detach().mean(1)).square().flatten(1).mean(1)
        return {"reconstruction": of_all["reconstruction"].view(-1, m).mean(1), "mse": error}

    def distribution(self, z: Tensor, out: Tensor) -> Distribution:
        members = self.means_of_members(z, out)
        each = Independent(
            Normal(members, self.log_scale.exp(), validate_args=False), self.event_dims, validate_args=False
        )
        even = Categorical(logits=members.new_zeros(members.shape[:2]), validate_args=False)
        return MixtureSameFamily(even, each, validate_args=False)

    def moments(self, z: Tensor, out: Tensor) -> tuple[Tensor, ...]:
        members = self.means_of_members(z, out)
        mean = members.mean(1)
        spread2 = (members - mean.unsqueeze(1)).square().sum(1) / (members.shape[1] - 1)
        return mean, (spread2 + self.least**2).sqrt()
