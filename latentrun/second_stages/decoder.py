"""A model of the codes, such as a second VAE, as second stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Annotated, Any, Literal

from torch import Tensor

from latentrun.config.bounds import Ge, Makes
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.models.base import HasGenerator, HasLikelihood, Model, SecondStage, drawn
from latentrun.types import FromData, Phase


class Decoder(SecondStage):
    """Any model that can be sampled, trained on z ~ q(z|x), drawn anew at every step, as on data: w ~ p(w), z
    = decode(w).

    ``model`` gets data of shape ``(d,)`` and, where it has one, a latent space of d dimensions too, as in the
    two-stage VAE of Dai & Wipf 2019, arXiv 1903.05789, section 4. ``draw``: ``mean`` takes the mean of
    p(z|w), as the code of Asperti & Trentin 2020, arXiv 2002.07514, does: the codes then lack the variance of
    p(z|w), the one that renormalisation restores (Asperti 2020, arXiv 2002.09860); ``likelihood`` draws from
    p(z|w), which must be normal, as Dai & Wipf's code does. ``epochs``: null for those of the training.
    """

    def __init__(
        self,
        latent_dim: Annotated[int, Ge(1)],
        model: Annotated[Any, Makes(Model, ("event_shape", "value_range", "columns", "latent_dim"))],
        draw: Literal["mean", "likelihood"],
        epochs: Annotated[int, Ge(0)] | None,
    ):
        super().__init__(latent_dim)
        self.draw, self.epochs = draw, epochs
        self.model = model(
            event_shape=(latent_dim,), value_range=(-inf, inf), columns=(), latent_dim=latent_dim
        )
        name = type(self.model).__name__
        if not isinstance(self.model, HasGenerator):
            raise InputError(f"{name} cannot be sampled: a second stage must be")
        if draw == "likelihood" and not isinstance(self.model, HasLikelihood):
            raise InputError(f"draw=likelihood needs p(z|w), which {name} has not; allowed: mean")
        if any(
            not isinstance(phase.source, FromData) or not phase.objectives for phase in self.model.phases()
        ):
            raise InputError(
                f"{name} trains in phases of its own that see no data: a second stage learns from codes alone"
            )
        self.space = self.model.spaces["z"]

    def phases(self) -> tuple[Phase, ...]:
        return tuple(self._on_codes(phase) for phase in self.model.phases())

    def _on_codes(self, phase: Phase) -> Phase:
        """A phase of the model, which is shown codes where it expects examples."""

        def shown(function: Callable | None) -> Callable | None:
            if function is None:
                return None
            return lambda batch, noise, *rest: function(replace(batch, x=drawn(batch.x, noise)), noise, *rest)

        objectives = tuple(replace(objective, loss=shown(objective.loss)) for objective in phase.objectives)
        setup, monitor = shown(phase.setup), shown(phase.monitor)
        return replace(phase, objectives=objectives, setup=setup, monitor=monitor, epochs=self.epochs)

    def decode(self, w: Tensor) -> Tensor:
        return self.model.decode(w)

    def sample(self, n: int, noise: Noise) -> Tensor:
        w = self.model.sample_prior(n, noise)
        if self.draw == "mean":
            return self.model.decode(w)
        law = self.model.likelihood(w)
        return law.mean + law.stddev * noise.normal("likelihood", (n, self.latent_dim))
