"""The only training loop: every phase of every model runs through :class:`Loop`."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from latentrun.config.bounds import Ge, Gt
from latentrun.data.base import Dataset
from latentrun.errors import Misfit
from latentrun.experiments.latent_noise import LatentNoise
from latentrun.functional.noise import Noise
from latentrun.models.base import HasNoisePhase, Model
from latentrun.training.optimisers import Optimisers
from latentrun.training.recorder import Recorder
from latentrun.training.sources import Source, source_of
from latentrun.types import Batch, Clock, Phase

CHECK_EVERY = 50  # steps between looks at the loss on an accelerator, where each look waits for the device


@dataclass(frozen=True)
class Training:
    """How long and how: the values of ``conf/training``.

    ``epochs``: the length of phases that name none; ``optimizer`` and ``scheduler``: class with its
    arguments, made anew for every phase; ``patience``: epochs without a better monitor (by more than
    ``min_delta``) before a phase stops, null to run the full length; ``clip``: largest gradient norm of an
    objective's parameters, null for no clipping; ``noise_on_latent``: an experiment that follows the model's
    own phases.
    """

    epochs: Annotated[int, Ge(0)]
    batch_size: Annotated[int, Ge(1)]
    optimizer: Any
    scheduler: Any
    patience: Annotated[int, Ge(1)] | None
    min_delta: Annotated[float, Ge(0)]
    clip: Annotated[float, Gt(0)] | None
    noise_on_latent: LatentNoise | None

    def phases(self, model: Model) -> tuple[Phase, ...]:
        """All phases that ``model`` goes through; Misfit where one is asked for that it does not have."""
        if self.noise_on_latent is None:
            return model.phases()
        if not isinstance(model, HasNoisePhase):
            raise Misfit(
                "training.noise_on_latent: needs a model whose latent variables can be disturbed, "
                "such as model=vae"
            )
        return (*model.phases(), model.noise_phase(copy.deepcopy(self.noise_on_latent)))


class NonFiniteLoss(RuntimeError):
    """The loss became infinite or NaN; the text says where and which terms."""


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


class Loop:
    """Trains ``model`` on ``data``, phase after phase, as a generator of events; the caller logs and saves.

    All that a continued run needs is in :meth:`state_dict`, and may be taken after any event: the order of
    examples and all noise are keyed by (seed, phase, step), so nothing else remembers.
    """

    def __init__(self, model: Model, data: Dataset, settings: Training, noise: Noise, device: torch.device):
        self.model, self.data, self.settings, self.device = model.to(device), data, settings, device
        self.noise = noise.to(device)
        self.phases = settings.phases(model)
        for phase in self.phases:
            if phase.memory is not None:
                phase.memory.to(device)
        self.history = Recorder(model, data, self.noise, device, self._planned_steps())
        self.position = {"phase": 0, "epoch": 0, "batch": 0, "total_epochs": 0, "total_steps": 0}
        self.best: dict[str, Any] = {"value": math.inf, "epoch": -1, "weights": None, "stale": 0}
        self.sums: dict[str, float | Tensor] = {}
        self.rows: list[Mapping[str, Any]] = []  # what tables/train.csv gets
        self.optimisers: Optimisers | None = None
        self._pending: dict[str, Any] | None = None

    # ---------------------------------------------------------------- the loop
    def run(self) -> Iterator[PhaseStarted | Stepped | EpochEnded | PhaseEnded]:
        """Train from the present position to the end."""
        while self.position["phase"] < len(self.phases):
            phase = self.phases[self.position["phase"]]
            # codes of an earlier phase's network are the same when this one is taken up again
            self.model.eval()
            source = source_of(
                phase.source, self.data, self.noise.at(phase.name), self.device, self.settings.batch_size
            )
            self.optimisers = Optimisers(phase, self.settings.optimizer, self.settings.scheduler)
            if self._pending is not None:
                optimisers, memory = self._pending
                self.optimisers.load_state_dict(optimisers)
                if phase.memory is not None:
                    phase.memory.load_state_dict(memory)
                self._pending = None
            elif phase.setup is not None:
                phase.setup(source.whole(), self.noise.at(phase.name, "setup"))
            epochs = self._length(phase)
            yield PhaseStarted(phase.name, epochs, source.rows)
            while (reason := self._finished(phase, epochs)) is None:
                started = time.perf_counter()
                yield from self._epoch(phase, source)
                row = self._row(phase, source)
                improved = self._judge(phase, row)
                row |= self.history.epoch(self.position["total_epochs"] + 1)
                self.rows.append(row)
                if phase.decide is not None:
                    phase.decide(row)
                self._advance_epoch()
                yield EpochEnded(
                    phase.name, self.position["epoch"] - 1, row, time.perf_counter() - started, improved
                )
            if self.best["weights"] is not None:
                self.model.load_state_dict(self.best["weights"])
            self.position |= {"phase": self.position["phase"] + 1, "epoch": 0, "batch": 0}
            self.best = {"value": math.inf, "epoch": -1, "weights": None, "stale": 0}
            self.optimisers = None
            yield PhaseEnded(phase.name, reason)

    def _epoch(self, phase: Phase, source: Source) -> Iterator[Stepped]:
        """The steps that are left of the present epoch."""
        self.model.train()
        epoch = self.position["epoch"]
        for number, batch in source.batches(epoch, self.position["batch"]):
            step = epoch * source.steps + number
            terms = self._step(
                phase, batch, self.noise.at(phase.name, step), self._clock(phase, source, step)
            )
            for name, value in terms.items():
                # Plain numbers where they cost nothing; an accelerator is not waited for.
                value = value.item() if self.device.type == "cpu" else value
                self.sums[name] = self.sums.get(name, 0.0) + value * len(batch.x)
            self.position["batch"] = number + 1
            self.position["total_steps"] += 1
            self.history.step(self.position["total_steps"])
            yield Stepped(len(batch.x))
        if phase.epoch_end is not None:
            phase.epoch_end(self._clock(phase, source, (epoch + 1) * source.steps))

    def _step(self, phase: Phase, batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
        """One update of every objective that is due; their terms, prefixed by the objective where there are
        several."""
        merged: dict[str, Tensor] = {}
        for objective in phase.objectives:
            if clock.step % objective.every:
                continue
            terms = objective.loss(batch, noise.at(objective.name), clock)
            loss, terms = terms["loss"], {name: value.detach() for name, value in terms.items()}
            if self.device.type == "cpu" or clock.step % CHECK_EVERY == 0:
                self._check(phase, clock, terms)
            self.optimisers.update(objective, loss, self.settings.clip)
            prefix = f"{objective.name}/" if len(phase.objectives) > 1 else ""
            merged |= {prefix + name: value for name, value in terms.items()}
        if phase.after_step is not None:
            phase.after_step(merged, clock)
        return merged

    # ---------------------------------------------------------------- what an epoch amounts to
    def _row(self, phase: Phase, source: Source) -> dict[str, float]:
        """Mean training terms of the epoch, mean validation terms after it, learning rate."""
        epoch, rows = self.position["epoch"], source.rows
        row: dict[str, float] = {
            "phase": phase.name,
            "epoch": epoch + 1,
            "step": self.position["total_steps"],
        }
        means = {name: value / rows for name, value in self.sums.items()}
        self._check(phase, self._clock(phase, source, (epoch + 1) * source.steps), means)
        row |= {f"train/{name}": float(value) for name, value in means.items()}
        row |= {f"val/{name}": value for name, value in self._validate(phase, source).items()}
        return row | {"learning_rate": self.optimisers.learning_rate}

    @torch.no_grad()
    def _validate(self, phase: Phase, source: Source) -> dict[str, float]:
        if phase.monitor is None:
            return {}
        self.model.eval()
        sums: dict[str, Tensor] = {}
        count = 0
        # The same noise after every epoch: a change of the value is then a change of the model.
        for number, batch in source.validation():
            for name, value in phase.monitor(batch, self.noise.at(phase.name, "validation", number)).items():
                sums[name] = sums.get(name, 0) + value.sum()
            count += len(batch.x)
        return {name: float(value) / count for name, value in sums.items()}

    def _judge(self, phase: Phase, row: Mapping[str, float]) -> bool:
        """Whether the monitor is the best so far; keeps the weights if so and moves the learning rate.

        Before warm-ups and schedules end nothing counts: the value is then one of another loss.
        """
        value = row.get("val/monitor") if phase.select else None
        if value is None:
            self.optimisers.decay(None)
            return False
        if self.position["epoch"] + 1 < max(
            (schedule.end for schedule in phase.schedules.values()), default=0.0
        ):
            return False
        if not math.isfinite(value):
            raise NonFiniteLoss(
                f"the validation value of phase {phase.name} is {value} after epoch {row['epoch']}"
            )
        self.optimisers.decay(value)
        margin = self.settings.min_delta if math.isfinite(self.best["value"]) else 0.0
        if value < self.best["value"] - margin:
            weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
            self.best = {"value": value, "epoch": row["epoch"], "weights": weights, "stale": 0}
            return True
        self.best["stale"] += 1
        return False

    def _advance_epoch(self) -> None:
        self.position |= {
            "epoch": self.position["epoch"] + 1,
            "batch": 0,
            "total_epochs": self.position["total_epochs"] + 1,
        }
        self.sums = {}

    # ---------------------------------------------------------------- small questions
    def _finished(self, phase: Phase, epochs: int) -> str | None:
        """Why the phase is over, or None."""
        if phase.finished is not None and (reason := phase.finished()) is not None:
            return reason
        if self.settings.patience is not None and self.best["stale"] >= self.settings.patience:
            return f"no better validation value in {self.settings.patience} epochs"
        return "all epochs done" if self.position["epoch"] >= epochs else None

    def _length(self, phase: Phase) -> int:
        return self.settings.epochs if phase.epochs is None else phase.epochs

    def _planned_steps(self) -> int:
        """Most steps the run can make."""
        per_epoch = math.ceil(len(self.data.split("train").x) / self.settings.batch_size)
        return sum(self._length(p) * getattr(p.source, "steps_per_epoch", per_epoch) for p in self.phases)

    def _clock(self, phase: Phase, source: Source, step: int) -> Clock:
        values = {name: schedule.value(step / source.steps) for name, schedule in phase.schedules.items()}
        return Clock(phase.name, step, step // source.steps, source.steps, values)

    def _check(self, phase: Phase, clock: Clock, terms: Mapping[str, float | Tensor]) -> None:
        if not all(math.isfinite(float(value)) for value in terms.values()):
            shown = ", ".join(f"{name} = {float(value):.4g}" for name, value in terms.items())
            raise NonFiniteLoss(
                f"non-finite loss in phase {phase.name}, epoch {clock.epoch + 1}, step "
                f"{clock.step + 1}: {shown}"
            )

    # ---------------------------------------------------------------- interruption
    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values: everything that continues the run to the same result."""
        memory = self.phases[self.position["phase"]].memory if self.optimisers else None
        return {
            "model": self.model.state_dict(),
            "optimisers": self.optimisers.state_dict() if self.optimisers else None,
            "memory": memory.state_dict() if memory is not None else None,
            "position": dict(self.position),
            "best": dict(self.best),
            "sums": dict(self.sums),
            "rows": list(self.rows),
            "history": self.history.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the position of :meth:`state_dict`."""
        self.model.load_state_dict(state["model"])
        self.position, self.best, self.sums = (
            dict(state["position"]),
            dict(state["best"]),
            dict(state["sums"]),
        )
        self.rows = list(state["rows"])
        self._pending = (state["optimisers"], state["memory"]) if state["optimisers"] is not None else None
        self.history.load_state_dict(state["history"])
