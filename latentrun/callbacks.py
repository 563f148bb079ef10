"""What happens around the steps of a training phase: one stateful type, and the few that several models
share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from latentrun.functional.noise import Noise
from latentrun.types import Batch, Clock


class Callback(nn.Module):
    """Something that happens around the steps of a phase; every method does nothing unless overridden.

    Its state lives in buffers: they move with the model and are saved with the phase's checkpoints. Nothing
    of it remains in the finished model. A callback that changes a model refers to it by functions or in a
    tuple, so that the model's weights are no part of its own state. ``keeps_last``: the phase ends with the
    weights of its last epoch, whatever the monitor said of earlier ones.
    """

    keeps_last: bool = False

    def begin(self, batch: Batch, noise: Noise) -> None:
        """Before the first step, with all training rows; not again when a phase is taken up."""

    def after_step(self, terms: Mapping[str, Tensor], clock: Clock) -> None:
        """After every update, with the terms of its loss."""

    def epoch_end(self, clock: Clock) -> None:
        """After the last step of an epoch, before validation."""

    def decide(self, row: Mapping[str, float]) -> None:
        """After validation, with the epoch's row of ``tables/train.csv``."""

    def finished(self) -> str | None:
        """Why the phase is over before its length, or None."""
        return None


class Begin(Callback):
    """Calls ``function(batch, noise)`` before the first step: an initialisation or a fit in closed form."""

    def __init__(self, function: Callable[[Batch, Noise], None]):
        super().__init__()
        self.function = function

    def begin(self, batch: Batch, noise: Noise) -> None:
        self.function(batch, noise)


class AfterStep(Callback):
    """Calls ``function(terms)`` after every step: what moves by the terms of a loss, not by its gradient."""

    def __init__(self, function: Callable[[Mapping[str, Tensor]], None]):
        super().__init__()
        self.function = function

    def after_step(self, terms: Mapping[str, Tensor], clock: Clock) -> None:
        self.function(terms)


def approach(average: nn.Module, source: nn.Module, decay: float) -> None:
    """One step of a moving average: a <- decay a + (1 - decay) s for each parameter of two modules of one
    form."""
    for kept, parameter in zip(average.parameters(), source.parameters(), strict=True):
        kept.lerp_(parameter, 1 - decay)


class MovingAverage(Callback):
    """Keeps ``average`` an exponential moving average of ``source``, two modules of one form: after every
    step a <- decay a + (1 - decay) s for each parameter (Polyak & Juditsky 1992; as of generators in Karras
    et al. 2018, arXiv 1710.10196). Buffers are copied. Both belong to the model, which decodes by the
    average."""

    def __init__(self, source: nn.Module, average: nn.Module, decay: float):
        super().__init__()
        self.modules_of, self.decay = (source, average), decay

    def begin(self, batch: Batch, noise: Noise) -> None:
        source, average = self.modules_of
        average.load_state_dict(source.state_dict())

    @torch.no_grad()
    def after_step(self, terms: Mapping[str, Tensor], clock: Clock) -> None:
        source, average = self.modules_of
        approach(average, source, self.decay)
        for kept, buffer in zip(average.buffers(), source.buffers(), strict=True):
            kept.copy_(buffer)
