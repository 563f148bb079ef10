"""Records where fixed training rows lie in latent space while the model trains (``arrays/history.npz``)."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentrun.data.base import Dataset
from latentrun.errors import InputError
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEncoder, HasGaussianPosterior, Model
from latentrun.types import History

EPOCH_ROWS = 512
EPOCH_NUMBERS = 512 * 128  # numbers of a record at most: codes of more than 128 dimensions have fewer rows
NAMED = 128  # latent variables that get columns of their own in tables/train.csv, at most
STEP_ROWS = 10
STEP_TIMES = 100
EPOCHS, STEPS = "epochs", "steps"  # the two series of records


class Series(ABC):
    """Two growing series of arrays, ``epochs`` and ``steps``: all of a series have one shape and are
    float32."""

    @abstractmethod
    def append(self, name: str, record: np.ndarray) -> None:
        """Add one array to the end of a series."""

    @abstractmethod
    def keep(self, name: str, count: int, shape: tuple[int, ...]) -> None:
        """Drop all but the first ``count`` arrays, of that shape; InputError where there are fewer."""

    @abstractmethod
    def read(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The arrays of a series, of that shape, as one ``(count, *shape)``."""

    @abstractmethod
    def where(self, name: str) -> str:
        """Where a series is kept, for messages."""


class MemorySeries(Series):
    """Series that end with the process."""

    def __init__(self) -> None:
        self.arrays: dict[str, list[np.ndarray]] = {EPOCHS: [], STEPS: []}

    def append(self, name: str, record: np.ndarray) -> None:
        self.arrays[name].append(record)

    def keep(self, name: str, count: int, shape: tuple[int, ...]) -> None:
        del self.arrays[name][count:]

    def read(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        return np.stack(self.arrays[name]) if self.arrays[name] else np.empty((0, *shape), np.float32)

    def where(self, name: str) -> str:
        return f"the series {name!r} in memory"


class Recorder:
    """Codes of 512 fixed rows after every epoch, and of 10 of them at about 100 log-spaced steps, to
    ``records``.

    Costs one pass of the encoder over these rows an epoch. A model without an encoder leaves an empty
    history.
    """

    def __init__(
        self,
        model: Model,
        data: Dataset,
        noise: Noise,
        device: torch.device,
        planned_steps: int,
        series: Series,
    ):
        self.model, self.series, self.active = model, series, isinstance(model, HasEncoder)
        self.gaussian = isinstance(model, HasGaussianPosterior)
        self.times = log_spaced(planned_steps)
        self.epochs: list[int] = []
        self.steps: list[int] = []
        self.checksums = {EPOCHS: 0, STEPS: 0}  # CRC-32 of all records of each series
        if self.active:
            x, index = data.split("train").x, data.split("train").index
            count = min(EPOCH_ROWS, max(STEP_ROWS, EPOCH_NUMBERS // model.latent_dim))
            rows = noise.at("history").to("cpu").permutation("rows", len(x))[:count].sort().values
            self.index, self.x = index[rows].numpy(), x[rows].to(device)

    def step(self, step: int) -> bool:
        """Record the 10 rows, if it is time; whether it was. The model is then in evaluation mode."""
        if not self.active or step not in self.times:
            return False
        self.steps.append(step)
        self._append(STEPS, self._codes(self.x[:STEP_ROWS]).numpy())
        return True

    def epoch(self, epoch: int) -> dict[str, float]:
        """Record the 512 rows; what they say of each latent variable i, for ``tables/train.csv``:
        ``latent/var_mean.i`` and, for a Gaussian posterior, ``latent/mean_scale2.i``, ``latent/sum.i`` of
        both (by the law of stationarity 1) and ``latent/kl.i`` in nats, means over the rows. Of more than 128
        variables, as a flow of pictures has, nothing."""
        if not self.active:
            return {}
        # Parts of 128 rows stay in the cache of a small machine: half the time of 512 at once.
        codes = torch.cat([self._codes(part) for part in self.x.split(128)], dim=1)
        self.epochs.append(epoch)
        self._append(EPOCHS, codes.numpy())
        if self.model.latent_dim > NAMED:
            return {}
        columns = {"var_mean": codes[0].var(0, correction=0)}
        if self.gaussian:
            columns["mean_scale2"] = codes[1].square().mean(0)
            columns["sum"] = columns["var_mean"] + columns["mean_scale2"]
            columns["kl"] = gaussian_kl(codes[0], codes[1].log()).mean(0)
        return {
            f"latent/{name}.{i}": value
            for name, values in columns.items()
            for i, value in enumerate(values.tolist())
        }

    def _append(self, name: str, record: np.ndarray) -> None:
        record = np.ascontiguousarray(record, np.float32)
        self.checksums[name] = zlib.crc32(record.tobytes(), self.checksums[name])
        self.series.append(name, record)

    @torch.no_grad()
    def _codes(self, x: Tensor) -> Tensor:
        """Mean and, for a Gaussian posterior, standard deviation: ``(1 or 2, rows, d)`` on the CPU."""
        self.model.eval()
        if isinstance(self.model, HasGaussianPosterior):
            q = self.model.posterior(x)
            return torch.stack([q.mean, q.stddev]).cpu()
        assert isinstance(self.model, HasEncoder)  # else it is not active
        return self.model.encode(x)[None].cpu()

    def _shape(self, rows: int) -> tuple[int, int, int]:
        return (1 + self.gaussian, min(rows, len(self.index)), self.model.latent_dim)

    def history(self) -> History | None:
        """What was recorded, or None where the model has no encoder or nothing was trained."""
        if not self.active or not self.epochs:
            return None
        epochs = self.series.read(EPOCHS, self._shape(EPOCH_ROWS))
        steps = self.series.read(STEPS, self._shape(STEP_ROWS))
        return History(
            index=self.index,
            epochs=np.array(self.epochs),
            epoch_mean=epochs[:, 0],
            epoch_scale=epochs[:, 1] if self.gaussian else epochs[:, 0, :, :0],
            step_index=self.index[:STEP_ROWS],
            steps=np.array(self.steps),
            step_mean=steps[:, 0],
            step_scale=steps[:, 1] if self.gaussian else steps[:, 0, :, :0],
        )

    def state_dict(self) -> dict[str, Any]:
        """Which records there are, and their checksums; they themselves are kept where they were written."""
        return {EPOCHS: list(self.epochs), STEPS: list(self.steps), "checksums": dict(self.checksums)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the records of :meth:`state_dict`."""
        for name in (EPOCHS, STEPS):
            if not all(isinstance(time, int) for time in state[name]):
                raise ValueError(f"{name} of the history are no whole numbers")
        self.epochs, self.steps = list(state[EPOCHS]), list(state[STEPS])
        self.checksums = dict(state["checksums"])

    def drop_later(self) -> None:
        """Drop what was recorded after the present state; InputError where there is less, or another
        thing."""
        if self.active:
            self._keep(EPOCHS, len(self.epochs), self._shape(EPOCH_ROWS))
            self._keep(STEPS, len(self.steps), self._shape(STEP_ROWS))

    def _keep(self, name: str, count: int, shape: tuple[int, ...]) -> None:
        self.series.keep(name, count, shape)
        if zlib.crc32(self.series.read(name, shape).tobytes()) != self.checksums[name]:
            raise InputError(
                f"{self.series.where(name)} is damaged: it does not hold the codes that were recorded"
            )


def log_spaced(steps: int) -> set[int]:
    """About 100 numbers from 1 to ``steps``, evenly spaced on a logarithmic axis.

    >>> sorted(log_spaced(4))
    [1, 2, 3, 4]
    """
    return set(np.unique(np.geomspace(1, max(steps, 1), STEP_TIMES).round().astype(int)).tolist())
