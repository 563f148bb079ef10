"""What an experiment after training is: phases of its own, on any model that has what it needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from latentrun.models.base import Model
from latentrun.types import Need, Phase


class Experiment(ABC):
    """What follows a model's own training (``training.then``). The run keeps the weights that it ends with.

    ``requires``: needs of the model, without which it cannot be.
    """

    requires: ClassVar[tuple[Need, ...]] = ()

    @abstractmethod
    def phases(self, model: Model) -> tuple[Phase, ...]:
        """Its phases, with callbacks of their own at each call; InputError where a setting does not fit the
        model."""

    @abstractmethod
    def caveats(self) -> tuple[str, ...]:
        """What a reader of the run must know, in plain sentences."""
