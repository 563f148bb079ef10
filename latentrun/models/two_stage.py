"""Two-stage models: a model of the data, and laws of its codes that are learned after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from latentrun.config.bounds import Ge, Makes
from latentrun.data.base import Dataset
from latentrun.errors import InputError, unknown
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import (
    RENORMALISED,
    HasGaussianPosterior,
    HasLikelihood,
    HasPrior,
    HasSamplers,
    Model,
    PosteriorTraining,
    SecondStage,
    aggregated,
    is_standard_normal,
)
from latentrun.nn.base import Network
from latentrun.types import Batch, Column, FromCodes, Phase

DRAWS = 10_000  # codes from which the moments of what a second stage makes are taken
ONE_STAGE = "one_stage"  # the first stage's own prior


class TwoStage(Model, HasGaussianPosterior, HasSamplers, HasLikelihood):
    """A ``first`` model x <-> z with a Gaussian posterior, and one or several ``second`` stages, each a law
    of its codes z ~ q(z|x) that is learned when the first is finished (Dai & Wipf 2019, arXiv 1903.05789):
    all on the very same codes.

    Encoding, decoding and likelihood are the first's. Samples come from ``sample_from``: a second stage, or
    ``one_stage``, the first's own prior. ``renormalise`` moves generated codes z' to the aggregated
    posterior's moments, variable by variable,
        z'' = m + (z' - m') s / s',  m = mean of mu(x), s² = var mu(x) + mean of sigma²(x),
    after Asperti 2020, arXiv 2002.09860, in whose code one factor scales all variables and none is shifted.
    m' and s' are moments of 10,000 codes from the second stage, and 0 and 1 of ``one_stage``; m and s those
    of training rows. All are learned in the last phase: a fixed map, so a sample does not depend on how many
    are drawn. A variable that a second stage never varies stays at m.

    :meth:`samplers` gives all ways, renormalised or not. Space ``w`` is the space that the codes of
    ``sample_from`` are made from.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: tuple[Column, ...],
        network: Network,
        latent_dim: Annotated[int, Ge(1)],
        first: Annotated[
            Any, Makes(Model, ("event_shape", "value_range", "columns", "network", "latent_dim"))
        ],
        second: dict[str, Annotated[Any, Makes(SecondStage, ("latent_dim",))]],
        sample_from: str,
        renormalise: bool,
    ):
        super().__init__(event_shape, {"z": Euclidean(latent_dim)})
        self.first = first(
            event_shape=event_shape,
            value_range=value_range,
            columns=columns,
            network=network,
            latent_dim=latent_dim,
        )
        for need, what in (
            (HasGaussianPosterior, "a Gaussian posterior"),
            (HasPrior, "a prior"),
            (HasLikelihood, "a likelihood"),
        ):
            if not isinstance(self.first, need):
                raise InputError(f"model.first: needs {what}; {type(self.first).__name__} has none")
        if not is_standard_normal(self.first.prior()):
            raise InputError(
                f"model.first: needs the prior N(0, I), which {type(self.first).__name__} has not"
            )
        for name in second:
            if (
                not name.isidentifier()
                or name == ONE_STAGE
                or name.endswith(RENORMALISED)
                or hasattr(nn.ModuleDict, name)
            ):
                raise InputError(
                    f"model.second: {name!r} cannot be the name of a second stage: use another word, "
                    f"without {RENORMALISED}"
                )
        if sample_from not in (ONE_STAGE, *second):
            raise InputError(
                f"model.sample_from: {unknown('second stage', sample_from, (ONE_STAGE, *second))}"
            )
        self.second = nn.ModuleDict({name: make(latent_dim=latent_dim) for name, make in second.items()})
        self.sample_from, self.renormalise = sample_from, renormalise
        self.spaces = dict(self.first.spaces)
        if sample_from != ONE_STAGE and (space := self.second[sample_from].space) is not None:
            self.spaces["w"] = space
        # Of the aggregated posterior, and of the codes that each second stage makes.
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))
        self.register_buffer("made_mean", torch.zeros(len(second), latent_dim))
        self.register_buffer("made_scale", torch.ones(len(second), latent_dim))

    # ---------------------------------------------------------------- the first stage
    @property
    def posterior_training(self) -> PosteriorTraining:
        return self.first.posterior_training

    def encode(self, x: Tensor, space: str = "z") -> Tensor:
        return self.first.encode(x, space)

    def posterior(self, x: Tensor) -> Distribution:
        return self.first.posterior(x)

    def likelihood(self, z: Tensor) -> Distribution:
        return self.first.likelihood(z)

    def decode(self, z: Tensor, space: str = "z") -> Tensor:
        if space == "w" and "w" in self.spaces:
            z, space = self.second[self.sample_from].decode(z), "z"
            z = self._to_moments(self.sample_from, z) if self.renormalise else z
        return self.first.decode(z, space)

    # ---------------------------------------------------------------- samples
    @property
    def origin(self) -> str:
        source = (
            "the first stage's prior"
            if self.sample_from == ONE_STAGE
            else f"the second stage `{self.sample_from}`"
        )
        return f"codes drawn from {source}{', renormalised' if self.renormalise else ''}"

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return self._drawn(self.sample_from, self.renormalise, n, noise)

    def samplers(self) -> Mapping[str, Callable[[int, Noise], Tensor]]:
        ways = {"": False, RENORMALISED: True}
        return {
            name + ending: partial(self._drawn, name, moved)
            for name in (ONE_STAGE, *self.second)
            for ending, moved in ways.items()
        }

    def _drawn(self, name: str, renormalise: bool, n: int, noise: Noise) -> Tensor:
        """n codes ``(n, d)`` from a stage."""
        z = self.first.sample_prior(n, noise) if name == ONE_STAGE else self.second[name].sample(n, noise)
        return self._to_moments(name, z) if renormalise else z

    def _to_moments(self, name: str, z: Tensor) -> Tensor:
        """z'' from codes z' ``(n, d)`` of a stage."""
        if name == ONE_STAGE:
            return self.mean + self.scale * z
        at = list(self.second).index(name)
        mean, scale = self.made_mean[at], self.made_scale[at]
        still = scale <= 1e-6 * self.scale
        return self.mean + (z - mean) * torch.where(still, 0.0, self.scale / torch.where(still, 1.0, scale))

    # ---------------------------------------------------------------- training
    def phases(self) -> tuple[Phase, ...]:
        source = FromCodes(self._codes)
        phases = list(self.first.phases())
        for name, stage in self.second.items():
            own = stage.phases()
            names = [f"second/{name}" if len(own) == 1 else f"second/{name}/{phase.name}" for phase in own]
            phases += [
                replace(phase, name=named, source=source) for named, phase in zip(names, own, strict=True)
            ]
        return (*phases, Phase("moments", (), source=source, epochs=0, setup=self._learn_moments))

    def _codes(self, x: Tensor, noise: Noise) -> Tensor:
        """Mean and standard deviation of q(z|x), ``(N, 2, d)``."""
        q = self.first.posterior(x)
        return torch.stack([q.mean, q.stddev], 1)

    @torch.no_grad()
    def _learn_moments(self, batch: Batch, noise: Noise) -> None:
        """From mean and scale of all posteriors, ``batch.x (N, 2, d)``, and from codes of the finished second
        stages."""
        mean, covariance = aggregated(batch.x)
        self.mean.copy_(mean)
        self.scale.copy_(covariance.diagonal().sqrt())
        for at, name in enumerate(self.second):
            z = self._drawn(name, False, DRAWS, noise).double()
            self.made_mean[at], self.made_scale[at] = z.mean(0), z.std(0, correction=0)

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        return (
            *self.first.caveats(data),
            f"Samples: {self.origin}; what compares codes with N(0, I) is about the first stage.",
        )
