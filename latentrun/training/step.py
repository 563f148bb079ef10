"""One step of training: an update of every objective that is due."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from latentrun.functional.noise import Noise
from latentrun.training.optimisers import Optimisers
from latentrun.types import Batch, Clock, Phase

CHECK_EVERY = 50  # steps between looks at the loss on an accelerator, where each look waits for the device


class NonFiniteLoss(RuntimeError):
    """The loss became infinite or NaN; the text says where and which terms."""


class Step:
    """Makes the steps of ``phase`` with its ``optimisers``; ``clip``: largest gradient norm, None for
    none."""

    def __init__(self, phase: Phase, optimisers: Optimisers, clip: float | None, device: torch.device):
        self.phase, self.optimisers, self.clip = phase, optimisers, clip
        self.on_cpu = device.type == "cpu"
        self.single = len(phase.objectives) == 1

    def __call__(self, batch: Batch, noise: Noise, clock: Clock) -> Mapping[str, float | Tensor]:
        """Update every objective that is due; their terms, as plain numbers where that costs nothing,
        prefixed by the objective where there are several."""
        merged: dict[str, Tensor] = {}
        for objective in self.phase.objectives:
            if clock.step % objective.every:
                continue
            terms = objective.loss(batch, noise.at(objective.name), clock)
            self.optimisers.update(objective, terms["loss"], self.clip)
            prefix = "" if self.single else f"{objective.name}/"
            merged |= {prefix + name: value.detach() for name, value in terms.items()}
        for callback in self.phase.callbacks:
            callback.after_step(merged, clock)
        if not self.on_cpu:
            if clock.step % CHECK_EVERY == 0:
                require_finite(self.phase.name, clock, merged)
            return merged
        numbers = {name: value.item() for name, value in merged.items()}
        require_finite(self.phase.name, clock, numbers)
        return numbers


def require_finite(phase: str, clock: Clock, terms: Mapping[str, float | Tensor]) -> None:
    """NonFiniteLoss where a term is none."""
    if all(math.isfinite(value) for value in terms.values()):
        return
    shown = ", ".join(f"{name} = {float(value):.4g}" for name, value in terms.items())
    raise NonFiniteLoss(
        f"non-finite loss in phase {phase}, epoch {clock.epoch + 1}, step {clock.step + 1}: {shown}"
    )
