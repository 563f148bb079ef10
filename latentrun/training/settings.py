"""How long and how a model is trained: the values of ``conf/training``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from latentrun.config.bounds import Count, Ge, Gt
from latentrun.errors import Misfit, unknown
from latentrun.experiments.base import Experiment
from latentrun.models.base import Model
from latentrun.types import Phase


@dataclass(frozen=True)
class Training:
    """How long and how: the values of ``conf/training``.

    ``epochs``: the length of phases that name none; ``optimizer`` and ``scheduler``: class with its
    arguments, made anew for every phase; ``optimizers``: by name, for objectives that have one of their own;
    ``patience``: epochs without a better monitor (by more than ``min_delta``) before a phase stops, null to
    run the full length; ``clip``: largest gradient norm of an objective's parameters, null for no clipping;
    ``then``: an experiment that follows the model's own phases.
    """

    epochs: Annotated[int, Count(0)]
    batch_size: Annotated[int, Count(1)]
    optimizer: Any
    scheduler: Any
    patience: Annotated[int, Count(1)] | None
    min_delta: Annotated[float, Ge(0)]
    clip: Annotated[float, Gt(0)] | None
    then: Experiment | None
    optimizers: Mapping[str, Callable]

    def phases(self, model: Model) -> tuple[Phase, ...]:
        """All phases that ``model`` goes through; Misfit where the experiment needs what it has not,
        InputError where an optimiser is named after no objective."""
        phases = model.phases()
        if self.then is not None:
            for need in self.then.requires:
                if not need.test(model):
                    raise Misfit(f"training.then: needs {need.noun}; {type(model).__name__} has none")
            phases = (*phases, *self.then.phases(model))
        objectives = [objective.name for phase in phases for objective in phase.objectives]
        for name in self.optimizers:
            if name not in objectives:
                raise unknown("objective of training.optimizers", name, dict.fromkeys(objectives))
        return phases
