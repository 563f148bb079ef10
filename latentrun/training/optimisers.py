"""The optimisers of one phase: one for each set of objectives that share parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import ReduceLROnPlateau

from latentrun.errors import InputError
from latentrun.training.settings import Training
from latentrun.types import Objective, Phase

# What optimizers of torch remember in the shape of each parameter.
SHAPED = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "acc_delta", "grad_avg")


class Optimisers:
    """Makes, steps and decays the optimisers of a phase.

    Of the settings it takes ``optimizer(params)``, which makes one, in its place the entry of ``optimizers``
    that is named after an objective, and ``scheduler(optimizer)``, which may be None.
    """

    def __init__(self, phase: Phase, settings: Training):
        self._of: dict[str, torch.optim.Optimizer] = {}
        self._shared: dict[str, list[Tensor]] = {}
        self._all: list[torch.optim.Optimizer] = []
        self._schedulers: list[Any] = []
        for names, params in groups(phase):
            optimizer = optimizer_of(names, settings)(list(params.values()))
            self._all.append(optimizer)
            self._schedulers.append(settings.scheduler(optimizer) if settings.scheduler else None)
            self._of |= dict.fromkeys(names, optimizer)
            self._shared |= dict.fromkeys(names, list(params.values()))
        self._moved = {
            objective.name: [p for p in objective.parameters if p.requires_grad]
            for objective in phase.objectives
        }

    def update(self, objective: Objective, loss: Tensor, clip: float | None) -> None:
        """One step on the objective's own parameters; gradients of others are left out, not accumulated."""
        for parameter in self._shared[objective.name]:
            parameter.grad = None  # as zero_grad does, for a tenth of its time
        params = self._moved[objective.name]
        loss.backward(inputs=params)
        if clip is not None:
            clip_grad_norm_(params, clip)
        self._of[objective.name].step()

    def decay(self, value: float | None) -> None:
        """Move the learning rates after an epoch; a plateau schedule looks at ``value`` and rests without
        one."""
        for scheduler in self._schedulers:
            if isinstance(scheduler, ReduceLROnPlateau):
                if value is not None:
                    scheduler.step(value)
            elif scheduler is not None:
                scheduler.step()

    @property
    def learning_rate(self) -> float:
        """Of the first group of the first optimiser."""
        return float(self._all[0].param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        schedulers = [None if s is None else _plain(s.state_dict()) for s in self._schedulers]
        return {"optimizers": [o.state_dict() for o in self._all], "schedulers": schedulers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`; ValueError where tensors have not the shapes of the parameters."""
        for optimizer, saved in zip(self._all, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
            for parameter, values in optimizer.state.items():
                for name, value in values.items():
                    if name in SHAPED and getattr(value, "shape", None) != parameter.shape:
                        raise ValueError(
                            f"{name} of the optimizer has shape {tuple(getattr(value, 'shape', ()))}; its "
                            f"parameter has {tuple(parameter.shape)}"
                        )
        for scheduler, saved in zip(self._schedulers, state["schedulers"], strict=True):
            if scheduler is not None:
                scheduler.load_state_dict(saved)


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """Without what is neither a tensor nor a plain value (schedulers may keep functions, which a checkpoint
    must not)."""
    return {
        name: value
        for name, value in state.items()
        if isinstance(value, int | float | str | list | dict | type(None) | Tensor)
    }


def groups(phase: Phase) -> list[tuple[list[str], dict[int, Tensor]]]:
    """The names of objectives that share parameters, directly or through others, and these parameters by
    id."""
    grouped: list[tuple[list[str], dict[int, Tensor]]] = []
    for objective in phase.objectives:
        names = [objective.name]
        params: dict[int, Tensor] = {id(p): p for p in objective.parameters}
        apart: list[tuple[list[str], dict[int, Tensor]]] = []
        for other_names, other in grouped:
            if params.keys() & other.keys():
                names, params = other_names + names, other | params
            else:
                apart.append((other_names, other))
        grouped = [*apart, (names, params)]
    return grouped


def optimizer_of(names: Sequence[str], settings: Training) -> Callable:
    """What makes the optimiser of objectives that share parameters; InputError where two are named for
    them."""
    special = [name for name in names if name in settings.optimizers]
    if len(special) > 1:
        raise InputError(
            f"training.optimizers: {' and '.join(special)} share parameters, so they share one optimiser: "
            "name it for one of them"
        )
    return settings.optimizers[special[0]] if special else settings.optimizer
