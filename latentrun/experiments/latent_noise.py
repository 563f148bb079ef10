"""Noise on one latent variable while a model goes on training: it rises, the variable collapses, the noise
goes, the variable may revive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from torch import Tensor

from latentrun.callbacks import Callback
from latentrun.config.bounds import Count, Ge, Gt
from latentrun.errors import InputError
from latentrun.experiments.base import Experiment
from latentrun.functional.noise import Noise
from latentrun.models.base import HasChangeableCodes, HasPosterior, Model
from latentrun.types import Batch, Clock, Need, Objective, Phase

RISING, HELD, REMOVED, OVER = range(4)  # the stages, in order
ROWS = 10_000  # training rows from which it is learned which variables are in use


class LatentNoise(Experiment):
    """Gaussian noise of standard deviation s on the drawn value of one latent variable i, z_i + s eta: the
    experiment of Asperti 2018, arXiv 1812.07238, section 5.

    One epoch without noise; then s grows by ``increment`` after every epoch as long as, on the validation
    rows and with the noise, the variable's reconstruction gain (the growth of -ln p(x|z) with z_i at 0) is at
    least its KL, both in nats. Once it is less, or after ``rise`` epochs, s stays for ``hold`` epochs; then
    it is 0 for ``revive`` epochs. An increment of 0 is the control without noise, which takes the longest
    possible time: compare it epoch by epoch.

    Meanwhile the variables that had collapsed before (mean KL below ``inactive_kl`` nats) are kept from
    taking over: the decoder sees draws from N(0, 1) in their place, which tell nothing of the example, and
    their KL keeps them there. ``variable``: which one; null takes the one of largest mean KL.
    """

    requires = (
        Need(
            "model",
            lambda model: isinstance(model, HasChangeableCodes) and isinstance(model, HasPosterior),
            "latent variables that can be disturbed while it trains",
        ),
    )

    def __init__(
        self,
        variable: Annotated[int, Ge(0)] | None,
        increment: Annotated[float, Ge(0)],
        rise: Annotated[int, Count(1)],
        hold: Annotated[int, Count(1)],
        revive: Annotated[int, Count(1)],
        inactive_kl: Annotated[float, Gt(0)],
    ):
        self.variable, self.increment, self.inactive_kl = variable, increment, inactive_kl
        self.lengths = {RISING: rise, HELD: hold, REMOVED: revive}

    def phases(self, model: Model) -> tuple[Phase, ...]:
        if self.variable is not None and self.variable >= model.latent_dim:
            raise InputError(
                f"training.then.variable: the model has latent variables 0 to {model.latent_dim - 1}, got "
                f"{self.variable}"
            )
        assert isinstance(model, HasChangeableCodes) and isinstance(model, HasPosterior)  # what it requires
        state = NoiseState(self, model.latent_dim, model.kl)

        def loss(batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
            return model.loss(batch, noise, clock, state.disturbed)

        def monitor(batch: Batch, noise: Noise) -> dict[str, Tensor]:
            return watched(model, state, batch, noise)

        return (
            Phase(
                "noise",
                (Objective("elbo", list(model.parameters()), loss),),
                monitor=monitor,
                epochs=sum(self.lengths.values()),
                callbacks=(*model.phases()[0].callbacks, state),
            ),
        )

    def caveats(self) -> tuple[str, ...]:
        if not self.increment:
            return (
                "After training it was trained on without noise (the control of training=latent_noise); the "
                "weights are those of the end.",
            )
        return (
            "After training, growing noise was put on one latent variable until it was worth less than its "
            f"KL, or for {self.lengths[RISING]} epochs, and taken away again; the weights are those of the "
            "end, not the best.",
        )


class NoiseState(Callback):
    """Where the experiment stands: the ``variable``, which variables are ``used (d,)``, ``scale`` s,
    ``stage``, ``epochs`` in that stage."""

    keeps_last = True
    scale: Tensor
    used: Tensor
    variable: Tensor
    stage: Tensor
    epochs: Tensor

    def __init__(self, settings: LatentNoise, latent_dim: int, kl: Callable[[Tensor], Tensor]):
        super().__init__()
        self.settings, self.kl = settings, kl
        self.register_buffer("scale", torch.zeros(()))
        self.register_buffer("used", torch.ones(latent_dim, dtype=torch.bool))
        for name in ("variable", "stage", "epochs"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def begin(self, batch: Batch, noise: Noise) -> None:
        # The rows may have stayed in the memory of the machine.
        parts = [part.to(self.scale.device) for part in batch.x[:ROWS].split(1000)]
        self.choose(torch.cat([self.kl(x) for x in parts]).mean(0))

    def choose(self, kl: Tensor) -> None:
        """Begin, knowing the mean KL of each variable ``(d,)`` in nats."""
        variable = self.settings.variable
        self.variable.fill_(int(kl.argmax()) if variable is None else variable)
        self.used.copy_(kl >= self.settings.inactive_kl)
        self.used[self.variable] = True

    def disturbed(self, z: Tensor, noise: Noise) -> Tensor:
        """Codes ``(N, d)`` as the decoder gets them."""
        eta = noise.normal("latent_noise", tuple(z.shape))
        here = torch.zeros_like(z[0]).index_fill(0, self.variable, 1.0)
        return torch.where(self.used, z + self.scale * here * eta, eta)

    def without(self, z: Tensor, noise: Noise) -> Tensor:
        """The same codes with the variable at 0."""
        return self.disturbed(z, noise).index_fill(1, self.variable, 0.0)

    def decide(self, row: Mapping[str, float]) -> None:
        """What the next epoch is to be, from the validation means ``val/gain`` and ``val/variable_kl``."""
        stage = int(self.stage)
        self.epochs += 1
        crossed = stage == RISING and self.scale > 0 and row["val/gain"] < row["val/variable_kl"]
        if crossed or self.epochs >= self.settings.lengths[stage]:
            self.stage += 1
            self.epochs.zero_()
            if self.stage >= REMOVED:
                self.scale.zero_()
        elif stage == RISING:
            self.scale += self.settings.increment

    def finished(self) -> str | None:
        return "the noise has risen, stayed and gone" if self.stage == OVER else None


def watched(model: HasChangeableCodes, state: NoiseState, batch: Batch, noise: Noise) -> dict[str, Tensor]:
    """The monitor of the disturbed model with the variable's ``gain`` and ``variable_kl``, nats per example
    ``(B,)``, and where the experiment stands."""
    terms = model.monitor(batch, noise, state.disturbed)
    without = model.monitor(batch, noise, state.without)
    charged = model.charged_kl(batch.x)
    standing = {
        "noise_scale": state.scale,
        "noise_stage": state.stage,
        "noise_variable": state.variable,
    }
    return {
        "gain": without["reconstruction"] - terms["reconstruction"],
        "variable_kl": charged.index_select(1, state.variable.view(1)).squeeze(1),
        **{name: value.expand(len(charged)).to(charged.dtype) for name, value in standing.items()},
        **terms,
    }
