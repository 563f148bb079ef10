"""What one training remembers between two steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

COUNTS = ("phase", "epoch", "batch", "total_epochs", "total_steps")  # of Progress


class Sums:
    """Terms of the losses, summed over the rows of an epoch that each was computed on."""

    def __init__(self) -> None:
        self.totals: dict[str, float | Tensor] = {}
        self.rows: dict[str, int] = {}

    def add(self, terms: Mapping[str, float | Tensor], rows: int) -> None:
        """Take in mean terms of a batch of ``rows`` rows."""
        for name, value in terms.items():
            self.totals[name] = self.totals.get(name, 0.0) + value * rows
            self.rows[name] = self.rows.get(name, 0) + rows

    def means(self) -> dict[str, float]:
        """The mean of each term over its rows."""
        return {name: float(total / self.rows[name]) for name, total in self.totals.items()}

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {"totals": dict(self.totals), "rows": dict(self.rows)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.totals, self.rows = dict(state["totals"]), dict(state["rows"])


@dataclass
class Best:
    """The best epoch of a phase: its monitor ``value``, its number ``epoch`` (from 1, -1 while there is
    none), the model's ``weights`` then, and ``stale`` epochs since."""

    value: float = math.inf
    epoch: int = -1
    weights: dict[str, Tensor] | None = None
    stale: int = 0

    def judge(self, value: float, epoch: int, model: nn.Module, min_delta: float) -> bool:
        """Whether ``value`` is the best so far, by more than ``min_delta``; keeps the weights if so."""
        margin = min_delta if math.isfinite(self.value) else 0.0
        if value < self.value - margin:
            self.value, self.epoch, self.stale = value, epoch, 0
            self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            return True
        self.stale += 1
        return False


@dataclass
class Progress:
    """Where training stands: the number of the ``phase``, ``epoch`` and ``batch`` in it, all from 0, and of
    all phases together ``total_epochs`` and ``total_steps``; the phase's ``best`` epoch; the ``rows`` of
    ``tables/train.csv``; the ``sums`` of the epoch that is not over."""

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    total_epochs: int = 0
    total_steps: int = 0
    best: Best = field(default_factory=Best)
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)

    def next_epoch(self) -> None:
        """An epoch is over."""
        self.epoch, self.batch, self.total_epochs = self.epoch + 1, 0, self.total_epochs + 1
        self.sums = Sums()

    def next_phase(self) -> None:
        """A phase is over."""
        self.phase, self.epoch, self.batch, self.best = self.phase + 1, 0, 0, Best()

    @property
    def place(self) -> str:
        """In words: ``epoch 3, step 120`` of all phases."""
        return f"epoch {self.total_epochs}, step {self.total_steps}"

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "at": {name: getattr(self, name) for name in COUNTS},
            "best": dict(vars(self.best)),
            "rows": list(self.rows),
            "sums": self.sums.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        for name in COUNTS:
            setattr(self, name, _count(name, state["at"][name]))
        self.best, self.rows = Best(**state["best"]), [_row(row) for row in state["rows"]]
        self.sums.load_state_dict(state["sums"])


def _count(name: str, value: Any) -> int:
    """A number from 0 on, as a checkpoint holds it; ValueError for anything else."""
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} is {value!r}, no number of what is done")
    return value


def _row(row: Any) -> Mapping[str, Any]:
    """A row of ``tables/train.csv``, as a checkpoint holds it; ValueError for anything else."""
    if not isinstance(row, Mapping) or not {"phase", "epoch", "step"} <= row.keys():
        raise ValueError("a row of the training has not its phase, epoch and step")
    wrong = [key for key, value in row.items() if key != "phase" and not isinstance(value, int | float)]
    if wrong:
        raise ValueError(f"{wrong[0]} of a row of the training is {row[wrong[0]]!r}, no number")
    return row
