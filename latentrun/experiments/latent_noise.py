"""Noise on one latent variable while a model goes on training: it rises, the variable collapses, the noise
goes, the variable may revive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor, nn

from latentrun.config.bounds import Ge, Gt
from latentrun.errors import InputError
from latentrun.functional.noise import Noise

RISING, HELD, REMOVED, OVER = range(4)  # the stages, in order


class LatentNoise(nn.Module):
    """Gaussian noise of standard deviation s on the drawn value of one latent variable i, z_i + s eta: the
    experiment of Asperti 2018, arXiv 1812.07238, section 5.

    One epoch without noise; then s grows by ``increment`` after every epoch as long as, on the validation
    rows and with the noise, the variable's reconstruction gain (the growth of -ln p(x|z) with z_i at 0) is at
    least its KL, both in nats. Once it is less, or after ``rise`` epochs, s stays for ``hold`` epochs; then
    it is 0 for ``revive`` epochs. An increment of 0 is the control without noise, which takes the longest
    possible time: compare it epoch by epoch.

    Meanwhile the variables that had collapsed before (mean KL below ``inactive_kl`` nats) are kept from
    taking over: the decoder sees draws from N(0, 1) in their place, which tell nothing of the example, and
    their KL keeps them there. ``variable``: which one; null takes the one of largest mean KL. State, in
    buffers: ``chosen``, ``used (d,)``, ``scale`` s, ``stage``, ``epochs`` in that stage.
    """

    def __init__(
        self,
        variable: Annotated[int, Ge(0)] | None,
        increment: Annotated[float, Ge(0)],
        rise: Annotated[int, Ge(1)],
        hold: Annotated[int, Ge(1)],
        revive: Annotated[int, Ge(1)],
        inactive_kl: Annotated[float, Gt(0)],
    ):
        super().__init__()
        self.variable, self.increment, self.inactive_kl = variable, increment, inactive_kl
        self.lengths = {RISING: rise, HELD: hold, REMOVED: revive}
        self.register_buffer("scale", torch.zeros(()))
        for name in ("chosen", "stage", "epochs"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))

    @property
    def longest(self) -> int:
        """Epochs that it can take."""
        return sum(self.lengths.values())

    def prepare(self, d: int) -> None:
        """For a model of d latent variables; InputError where it has no such variable."""
        if self.variable is not None and self.variable >= d:
            raise InputError(
                f"training.noise_on_latent.variable: the model has latent variables 0 to {d - 1}, got "
                f"{self.variable}"
            )
        self.register_buffer("used", torch.ones(d, dtype=torch.bool))

    def choose(self, kl: Tensor) -> None:
        """Begin, knowing the mean KL of each variable ``(d,)`` in nats."""
        self.chosen.fill_(int(kl.argmax()) if self.variable is None else self.variable)
        self.used.copy_(kl >= self.inactive_kl)
        self.used[self.chosen] = True

    def disturbed(self, z: Tensor, noise: Noise) -> Tensor:
        """Codes ``(N, d)`` as the decoder gets them."""
        eta = noise.normal("latent_noise", tuple(z.shape))
        here = torch.zeros_like(z[0]).index_fill(0, self.chosen, 1.0)
        return torch.where(self.used, z + self.scale * here * eta, eta)

    def zeroed(self, z: Tensor) -> Tensor:
        """The same codes with the variable at 0."""
        return z.index_fill(1, self.chosen, 0.0)

    def decide(self, row: Mapping[str, float]) -> None:
        """What the next epoch is to be, from the validation means ``val/gain`` and ``val/variable_kl`` of the
        one that ended."""
        stage = int(self.stage)
        self.epochs += 1
        crossed = stage == RISING and self.scale > 0 and row["val/gain"] < row["val/variable_kl"]
        if crossed or self.epochs >= self.lengths[stage]:
            self.stage += 1
            self.epochs.zero_()
            if self.stage >= REMOVED:
                self.scale.zero_()
        elif stage == RISING:
            self.scale += self.increment

    def finished(self) -> str | None:
        """Why no epoch is left, or None."""
        return "the noise has risen, stayed and gone" if self.stage == OVER else None
