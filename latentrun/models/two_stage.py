"""Two-stage models: a model of the data, and models of its codes that are learned after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from latentrun.callbacks import Begin, Callback
from latentrun.config.bounds import Count, Makes
from latentrun.data.base import Dataset
from latentrun.errors import InputError, unknown
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import (
    RENORMALISED,
    HasGaussianPosterior,
    HasGenerator,
    HasLikelihood,
    HasPrior,
    HasSamplers,
    Model,
    PosteriorTraining,
    drawn,
    is_standard_normal,
    moments,
)
from latentrun.nn.base import Network
from latentrun.types import Batch, Column, FromCodes, FromData, Monitor, OfSplit, Phase

DRAWS = 10_000  # codes from which the moments of what a second stage makes are taken
ONE_STAGE = "one_stage"  # the first stage's own prior
VECTORS = ("event_shape", "value_range", "columns", "latent_dim")


class TwoStage(Model, HasGaussianPosterior, HasSamplers, HasLikelihood):
    """A ``first`` model x <-> z with a Gaussian posterior, and one or several ``second`` ones: models of
    vectors ``(d,)`` that learn the law of its codes z ~ q(z|x) when the first is finished (Dai & Wipf 2019,
    arXiv 1903.05789): all of the very same codes, drawn anew at every step, so that no fixed draw is learned
    by heart; a fit in closed form sees the posteriors themselves.

    Encoding, decoding and likelihood are the first's. Samples come from ``sample_from``: a second stage, or
    ``one_stage``, the first's own prior. A second stage with a latent space of its own, such as a VAE, has d
    variables there too. ``draw``: ``mean`` decodes its prior's draws w to the mean of p(z|w), as the code of
    Asperti & Trentin 2020, arXiv 2002.07514, does: the codes then lack the variance of p(z|w), the one that
    renormalisation restores; ``likelihood`` draws from p(z|w), which must be normal, where the stage has one,
    as Dai & Wipf's code does. ``second_epochs``: of each second stage, null for those of the training.

    ``renormalise`` moves generated codes z' to the aggregated posterior's moments, variable by variable,
        z'' = m + (z' - m') s / s',  m = mean of mu(x), s² = var mu(x) + mean of sigma²(x),
    after Asperti 2020, arXiv 2002.09860, in whose code one factor scales all variables and none is shifted.
    m' and s' are moments of 10,000 codes from the second stage, and 0 and 1 of ``one_stage``; m and s those
    of training rows. All are learned in the last phase: a fixed map, so a sample does not depend on how many
    are drawn. A variable that a second stage never varies stays at m.

    :meth:`samplers` gives all ways, renormalised or not. Space ``w`` is the latent space of ``sample_from``.
    """

    first: Any  # a model with all that require_first asks for
    mean: Tensor
    scale: Tensor
    made_mean: Tensor
    made_scale: Tensor

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: tuple[Column, ...],
        network: Network,
        latent_dim: Annotated[int, Count(1, 100_000)],
        first: Annotated[Any, Makes(Model, (*VECTORS, "network"))],
        second: dict[str, Annotated[Any, Makes(Model, VECTORS)]],
        sample_from: str,
        renormalise: bool,
        draw: Literal["mean", "likelihood"],
        second_epochs: Annotated[int, Count(0)] | None,
    ):
        super().__init__(event_shape, {"z": Euclidean(latent_dim)})
        self.first = first(
            event_shape=event_shape,
            value_range=value_range,
            columns=columns,
            network=network,
            latent_dim=latent_dim,
        )
        require_first(self.first)
        require_names(second, sample_from)
        vectors = {"event_shape": (latent_dim,), "value_range": (-inf, inf), "columns": ()}
        stages = {name: make(**vectors, latent_dim=latent_dim) for name, make in second.items()}
        for name, stage in stages.items():
            require_second(name, stage)
        if draw == "likelihood" and not any(isinstance(stage, HasLikelihood) for stage in stages.values()):
            raise InputError("model.draw: likelihood needs p(z|w), which no second stage has; allowed: mean")
        self.second = nn.ModuleDict(stages)
        self.sample_from, self.renormalise = sample_from, renormalise
        self.draw_from, self.second_epochs = draw, second_epochs
        self.spaces = dict(self.first.spaces)
        if sample_from != ONE_STAGE:
            self.spaces["w"] = stages[sample_from].spaces["z"]
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
        self.space(space)
        if space == "w":
            raise InputError("the codes of a second stage stand for no examples: encode into space z")
        return self.first.encode(x, space)

    def posterior(self, x: Tensor) -> Distribution:
        return self.first.posterior(x)

    def kl(self, x: Tensor) -> Tensor:
        return self.first.kl(x)

    def moments_at(self, z: Tensor) -> tuple[Tensor, ...]:
        return self.first.moments_at(z)

    def likelihood(self, z: Tensor) -> Distribution:
        return self.first.likelihood(z)

    def decode(self, z: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        if space == "w":
            z, space = self.stage(self.sample_from).decode(z), "z"
            z = self._to_moments(self.sample_from, z) if self.renormalise else z
        return self.first.decode(z, space)

    # ---------------------------------------------------------------- samples
    def stage(self, name: str) -> Model:
        """The second stage of that name."""
        stage = self.second[name]
        assert isinstance(stage, Model)
        return stage

    @property
    def origin(self) -> str:
        one_stage = self.sample_from == ONE_STAGE
        source = "the first stage's prior" if one_stage else f"the second stage `{self.sample_from}`"
        return f"codes drawn from {source}{', renormalised' if self.renormalise else ''}"

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return self._sample(self.sample_from, self.renormalise, n, noise)

    def samplers(self) -> Mapping[str, Callable[[int, Noise], Tensor]]:
        return {
            name + ending: partial(self._sample, name, renormalise)
            for name in (ONE_STAGE, *self.second)
            for ending, renormalise in (("", False), (RENORMALISED, True))
        }

    def _sample(self, name: str, renormalise: bool, n: int, noise: Noise) -> Tensor:
        """n codes ``(n, d)`` from a stage."""
        if name == ONE_STAGE:
            z = self.first.sample_prior(n, noise)
        else:
            z = self._decoded(self.stage(name), n, noise)
        return self._to_moments(name, z) if renormalise else z

    def _decoded(self, stage: Model, n: int, noise: Noise) -> Tensor:
        """n codes ``(n, d)`` that a second stage makes of draws from its prior."""
        assert isinstance(stage, HasGenerator)  # require_second
        w = stage.sample_prior(n, noise)
        if self.draw_from == "likelihood" and isinstance(stage, HasLikelihood):
            return self._likely(stage.likelihood(w), noise)
        return stage.decode(w)

    def _likely(self, law: Distribution, noise: Noise) -> Tensor:
        return law.mean + law.stddev * noise.normal("likelihood", tuple(law.mean.shape))

    def _to_moments(self, name: str, z: Tensor) -> Tensor:
        """z'' from codes z' ``(n, d)`` of a stage."""
        if name == ONE_STAGE:
            return self.mean + self.scale * z
        place = list(self.second).index(name)
        mean, scale = self.made_mean[place], self.made_scale[place]
        still = scale <= 1e-6 * self.scale
        return self.mean + (z - mean) * torch.where(still, 0.0, self.scale / torch.where(still, 1.0, scale))

    # ---------------------------------------------------------------- training
    def phases(self) -> tuple[Phase, ...]:
        phases = list(self.first.phases())
        for name in self.second:
            inner = self.stage(name).phases()
            for phase in inner:
                title = f"second/{name}" if len(inner) == 1 else f"second/{name}/{phase.name}"
                phases.append(self._on_codes(phase, title))
        source = FromCodes(self._codes)
        learn = Begin(lambda batch, noise: self._learn_moments(normals(batch), noise))
        return (*phases, Phase("moments", (), source=source, epochs=0, callbacks=(learn,), records=False))

    def _codes(self, x: Tensor, noise: Noise) -> Tensor:
        """Mean and standard deviation of q(z|x), ``(N, 2, d)``."""
        q = self.first.posterior(x)
        return torch.stack([q.mean, q.stddev], 1)

    def _on_codes(self, phase: Phase, title: str) -> Phase:
        """A phase of a second stage, which is shown codes where it expects examples."""
        objectives = tuple(replace(each, loss=on_draws(each.loss)) for each in phase.objectives)
        return replace(
            phase,
            name=title,
            source=FromCodes(self._codes),
            objectives=objectives,
            monitor=monitor_on_draws(phase.monitor),
            callbacks=tuple(OnNormals(each) for each in phase.callbacks),
            epochs=self.second_epochs if phase.epochs is None else phase.epochs,
            records=False,
        )

    @torch.no_grad()
    def _learn_moments(self, posteriors: Batch, noise: Noise) -> None:
        """From all posteriors, and from codes of the finished second stages."""
        mean, covariance = moments(posteriors)
        self.mean.copy_(mean)
        self.scale.copy_(covariance.diagonal().sqrt())
        for place, name in enumerate(self.second):
            z = self._sample(name, False, DRAWS, noise).double()
            self.made_mean[place], self.made_scale[place] = z.mean(0), z.std(0, correction=0)

    def check_rows(self, data: Dataset) -> None:
        for stage in (self.first, *(self.stage(name) for name in self.second)):
            stage.check_rows(data)

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        note = f"Samples: {self.origin}; what compares codes with N(0, I) is about the first stage."
        return (*self.first.caveats(data), note)


# ---------------------------------------------------------------- codes in place of examples
def normals(batch: Batch) -> Batch:
    """A batch of posteriors ``x (B, 2, d)``, mean and scale, as one of normals."""
    mean, scale = batch.x.unbind(1)
    return replace(batch, x=mean, scale=scale)


def on_draws(function: Callable) -> Callable:
    """``function(batch, noise, ...)`` of examples as one of posteriors: of one draw from each."""

    def shown(batch: Batch, noise: Noise, *rest: Any) -> Any:
        return function(replace(batch, x=drawn(normals(batch), noise)), noise, *rest)

    return shown


def monitor_on_draws(monitor: Monitor | None) -> Monitor | None:
    """A monitor of examples as one of posteriors."""
    if monitor is None:
        return None
    return OfSplit(on_draws(monitor.measure)) if isinstance(monitor, OfSplit) else on_draws(monitor)


class OnNormals(Callback):
    """A callback of a second stage, which begins with the posteriors as normals."""

    def __init__(self, inner: Callback):
        super().__init__()
        self.inner = inner
        self.keeps_last = inner.keeps_last
        self.after_step, self.epoch_end = inner.after_step, inner.epoch_end
        self.decide, self.finished = inner.decide, inner.finished

    def begin(self, batch: Batch, noise: Noise) -> None:
        self.inner.begin(normals(batch), noise)


# ---------------------------------------------------------------- what the stages must be
def require_first(model: Model) -> None:
    """InputError where a model cannot be a first stage."""
    name = type(model).__name__
    for base, noun in (
        (HasGaussianPosterior, "a Gaussian posterior"),
        (HasPrior, "a prior"),
        (HasLikelihood, "a likelihood"),
    ):
        if not isinstance(model, base):
            raise InputError(f"model.first: needs {noun}; {name} has none")
    if not (isinstance(model, HasPrior) and is_standard_normal(model.prior())):
        raise InputError(f"model.first: needs the prior N(0, I), which {name} has not")


def require_names(second: Sequence[str] | Mapping[str, Any], sample_from: str) -> None:
    """InputError where a second stage has a name that cannot be one, or ``sample_from`` names none."""
    for name in second:
        taken = name == ONE_STAGE or name.endswith(RENORMALISED) or hasattr(nn.ModuleDict, name)
        if taken or not name.isidentifier():
            raise InputError(
                f"model.second: {name!r} cannot be the name of a second stage: use another word, without "
                f"{RENORMALISED}"
            )
    if sample_from not in (ONE_STAGE, *second):
        raise InputError(f"model.sample_from: {unknown('second stage', sample_from, (ONE_STAGE, *second))}")


def require_second(name: str, stage: Model) -> None:
    """InputError where a model cannot be a second stage."""
    where, title = f"model.second.{name}", type(stage).__name__
    if not isinstance(stage, HasGenerator):
        raise InputError(f"{where}: {title} cannot be sampled: a second stage must be")
    if any(not isinstance(phase.source, FromData) for phase in stage.phases()):
        raise InputError(
            f"{where}: {title} trains in phases of its own that see no data: a second stage learns from "
            "codes alone"
        )
