"""The only training loop: every phase of every model runs through :class:`Loop`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentrun.data.base import Dataset
from latentrun.functional.noise import Noise
from latentrun.models.base import Model
from latentrun.nn.base import mismatch
from latentrun.training.modes import train_only
from latentrun.training.optimisers import Optimisers
from latentrun.training.progress import Progress
from latentrun.training.recorder import MemorySeries, Recorder, Series
from latentrun.training.settings import Training
from latentrun.training.sources import Source, source_of, steps_per_epoch
from latentrun.training.step import NonFiniteLoss, Step, require_finite
from latentrun.types import Clock, OfSplit, Phase


@dataclass(frozen=True)
class PhaseStarted:
    """A phase begins: ``epochs`` at most, ``rows`` examples an epoch."""

    phase: str
    epochs: int
    rows: int


@dataclass(frozen=True)
class Stepped:
    """One step was made on ``rows`` examples."""

    rows: int


@dataclass(frozen=True)
class EpochEnded:
    """An epoch ended. ``row``: what ``tables/train.csv`` gets; ``seconds`` it took; ``improved``: the best so
    far."""

    phase: str
    epoch: int
    row: Mapping[str, float]
    seconds: float
    improved: bool


@dataclass(frozen=True)
class PhaseEnded:
    """A phase ended, with the reason; the model holds its best weights."""

    phase: str
    reason: str


@dataclass(frozen=True)
class TrainingEnded:
    """All phases are over, or there was none."""


Event = PhaseStarted | Stepped | EpochEnded | PhaseEnded | TrainingEnded


class Loop:
    """Trains ``model`` on ``data``, phase after phase, as a generator of events; the caller logs and saves.

    All that a continued run needs is in :meth:`state_dict` and in ``series``, and may be taken after any
    event: the order of examples and all noise are keyed by (seed, phase, step), so nothing else remembers.
    """

    def __init__(
        self,
        model: Model,
        data: Dataset,
        settings: Training,
        noise: Noise,
        device: torch.device,
        series: Series | None = None,
    ):
        self.model, self.data, self.settings, self.device = model.to(device), data, settings, device
        self.noise = noise.to(device)
        self.phases = settings.phases(model)
        for phase in self.phases:
            for callback in phase.callbacks:
                callback.to(device)
        self.progress = Progress()
        self.optimisers: Optimisers | None = None
        self._pending: Mapping[str, Any] | None = None
        steps = planned_steps(self.phases, settings, data)
        self.history = Recorder(model, data, self.noise, device, steps, series or MemorySeries())

    @property
    def finished(self) -> bool:
        """Whether all phases are over."""
        return self.progress.phase >= len(self.phases)

    # ---------------------------------------------------------------- the loop
    def run(self) -> Iterator[Event]:
        """Train from the present position to the end."""
        while not self.finished:
            yield from self._phase(self.phases[self.progress.phase])
        yield TrainingEnded()

    def _phase(self, phase: Phase) -> Iterator[Event]:
        """What is left of a phase."""
        self.model.eval()  # codes of an earlier phase's network are the same when this one is taken up again
        source = source_of(
            phase.source, self.data, self.noise.at(phase.name), self.device, self.settings.batch_size
        )
        self.optimisers = optimisers = Optimisers(phase, self.settings)
        self._begin(phase, source, optimisers)
        epochs = phase.length(self.settings.epochs)
        step = Step(phase, optimisers, self.settings.clip, self.device)
        yield PhaseStarted(phase.name, epochs, source.rows)
        while (reason := self._finished(phase, epochs)) is None:
            started = time.perf_counter()
            yield from self._epoch(phase, source, step)
            row = self._row(phase, source)
            row["learning_rate"] = step.optimisers.learning_rate
            improved = self._judge(phase, row, step.optimisers)
            if phase.records:
                row |= self.history.epoch(self.progress.total_epochs + 1)
            self.progress.rows.append(row)
            for callback in phase.callbacks:
                callback.decide(row)
            self.progress.next_epoch()
            seconds = time.perf_counter() - started
            yield EpochEnded(phase.name, self.progress.epoch - 1, row, seconds, improved)
        if self.progress.best.weights is not None:
            self.model.load_state_dict(self.progress.best.weights)
        self.progress.next_phase()
        self.optimisers = None
        yield PhaseEnded(phase.name, reason)

    def _epoch(self, phase: Phase, source: Source, step: Step) -> Iterator[Stepped]:
        """The steps that are left of the present epoch."""
        progress, moving = self.progress, moving_parameters(phase)
        train_only(self.model, moving)
        epoch = progress.epoch
        for number, batch in source.batches(epoch, progress.batch):
            at = epoch * source.steps + number
            terms = step(batch, self.noise.at(phase.name, at), self._clock(phase, source, at))
            progress.sums.add(terms, len(batch.x))
            progress.batch = number + 1
            progress.total_steps += 1
            if phase.records and self.history.step(progress.total_steps):
                train_only(self.model, moving)
            yield Stepped(len(batch.x))
        clock = self._clock(phase, source, (epoch + 1) * source.steps)
        for callback in phase.callbacks:
            callback.epoch_end(clock)

    # ---------------------------------------------------------------- what an epoch amounts to
    def _row(self, phase: Phase, source: Source) -> dict[str, Any]:
        """Mean training terms of the epoch, mean validation terms after it."""
        progress = self.progress
        means = progress.sums.means()
        require_finite(phase.name, self._clock(phase, source, (progress.epoch + 1) * source.steps), means)
        row: dict[str, Any] = {
            "phase": phase.name,
            "epoch": progress.epoch + 1,
            "step": progress.total_steps,
        }
        row |= {f"train/{name}": value for name, value in means.items()}
        row |= {f"val/{name}": value for name, value in self._validate(phase, source).items()}
        return row

    @torch.no_grad()
    def _validate(self, phase: Phase, source: Source) -> dict[str, float]:
        """The monitor over the validation rows. The noise is the same after every epoch: a change of the
        value is then a change of the model."""
        if phase.monitor is None:
            return {}
        self.model.eval()
        noise = self.noise.at(phase.name, "validation")
        if isinstance(phase.monitor, OfSplit):
            terms = phase.monitor.measure(source.whole_validation(), noise)
            return {name: float(value) for name, value in terms.items()}
        sums: dict[str, Tensor] = {}
        count = 0
        for number, batch in source.validation():
            for name, value in phase.monitor(batch, noise.at(number)).items():
                sums[name] = sums.get(name, 0) + value.sum()
            count += len(batch.x)
        return {name: float(value) / count for name, value in sums.items()}

    def _judge(self, phase: Phase, row: Mapping[str, Any], optimisers: Optimisers) -> bool:
        """Whether the monitor is the best so far; keeps the weights if so and moves the learning rate.

        Before warm-ups and schedules end nothing counts: the value is then one of another loss.
        """
        keeps_last = any(callback.keeps_last for callback in phase.callbacks)
        value = None if keeps_last else row.get("val/monitor")
        if value is None:
            optimisers.decay(None)
            return False
        if self.progress.epoch + 1 < phase.schedules_end:
            return False
        if not math.isfinite(value):
            raise NonFiniteLoss(
                f"the validation value of phase {phase.name} is {value} after epoch {row['epoch']}"
            )
        optimisers.decay(value)
        return self.progress.best.judge(value, row["epoch"], self.model, self.settings.min_delta)

    def _finished(self, phase: Phase, epochs: int) -> str | None:
        """Why the phase is over, or None."""
        for callback in phase.callbacks:
            if (reason := callback.finished()) is not None:
                return reason
        patience = self.settings.patience
        if patience is not None and self.progress.best.stale >= patience:
            return f"no better validation value in {patience} epochs"
        return "all epochs done" if self.progress.epoch >= epochs else None

    def _clock(self, phase: Phase, source: Source, step: int) -> Clock:
        values = {name: schedule.value(step / source.steps) for name, schedule in phase.schedules.items()}
        return Clock(phase.name, step, step // source.steps, source.steps, values)

    # ---------------------------------------------------------------- interruption
    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values: everything that continues the run to the same result, beside
        ``records``."""
        within = None
        if self.optimisers is not None:
            callbacks = self.phases[self.progress.phase].callbacks
            within = {
                "optimisers": self.optimisers.state_dict(),
                "callbacks": [callback.state_dict() for callback in callbacks],
            }
        return {
            "model": self.model.state_dict(),
            "within": within,
            "progress": self.progress.state_dict(),
            "history": self.history.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the position of :meth:`state_dict`; ValueError where it is none of this training."""
        self._require_fitting(state["model"])
        self.model.load_state_dict(state["model"])
        self.progress.load_state_dict(state["progress"])
        self._pending = state["within"]
        if self._pending is not None:  # whether it fits is seen now, not when the phase is gone on with
            if self.finished:
                raise ValueError("it is within a phase, and all phases are over")
            phase = self.phases[self.progress.phase]
            Optimisers(phase, self.settings).load_state_dict(self._pending["optimisers"])
        if self.progress.best.weights is not None:
            self._require_fitting(self.progress.best.weights)
        self.history.load_state_dict(state["history"])
        if not self.finished:  # else the records may have become the history of the run already
            self.history.drop_later()

    def _require_fitting(self, weights: Any) -> None:
        """ValueError where the model cannot take stored weights."""
        if wrong := mismatch(weights, self.model.state_dict()):
            raise ValueError(wrong)

    def _begin(self, phase: Phase, source: Source, optimisers: Optimisers) -> None:
        """Begin a phase, or go on within it where :meth:`load_state_dict` says."""
        if self._pending is None:
            for callback in phase.callbacks:
                callback.begin(source.whole(), self.noise.at(phase.name, "setup"))
            return
        optimisers.load_state_dict(self._pending["optimisers"])
        for callback, saved in zip(phase.callbacks, self._pending["callbacks"], strict=True):
            callback.load_state_dict(saved)
        self._pending = None


def moving_parameters(phase: Phase) -> set[int]:
    """The ids of the parameters that a phase moves."""
    return {id(p) for objective in phase.objectives for p in objective.parameters}


def planned_steps(phases: tuple[Phase, ...], settings: Training, data: Dataset) -> int:
    """Most steps that the phases can make."""
    return sum(
        phase.length(settings.epochs) * steps_per_epoch(phase.source, data, settings.batch_size)
        for phase in phases
    )
