"""Records where fixed training rows lie in latent space while the model trains (``arrays/history.npz``)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentrun.data.base import Dataset
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEncoder, HasGaussianPosterior, Model
from latentrun.types import History

EPOCH_ROWS = 512
STEP_ROWS = 10
STEP_TIMES = 100


class Recorder:
    """Codes of 512 fixed rows after every epoch, and of 10 of them at about 100 log-spaced steps.

    Costs one pass of the encoder over 512 rows an epoch. A model without an encoder leaves an empty history.
    """

    def __init__(self, model: Model, data: Dataset, noise: Noise, device: torch.device, planned_steps: int):
        self.model, self.active = model, isinstance(model, HasEncoder)
        train = data.split("train")
        rows = noise.at("history").to("cpu").permutation("rows", len(train.x))[:EPOCH_ROWS].sort().values
        self.index, self.x = train.index[rows].numpy(), train.x[rows].to(device)
        self.times = set(
            np.unique(np.geomspace(1, max(planned_steps, 1), STEP_TIMES).round().astype(int)).tolist()
        )
        self.seen: dict[str, list] = {"epochs": [], "epoch_codes": [], "steps": [], "step_codes": []}

    def step(self, step: int) -> None:
        """Record the 10 rows, if it is time."""
        if self.active and step in self.times:
            self.seen["steps"].append(step)
            self.seen["step_codes"].append(self._codes(self.x[:STEP_ROWS]))
            self.model.train()

    def epoch(self, epoch: int) -> dict[str, float]:
        """Record the 512 rows; what they say of each latent variable i, for ``tables/train.csv``:
        ``latent/var_mean.i`` and, for a Gaussian posterior, ``latent/mean_scale2.i``, ``latent/sum.i`` of
        both (by the law of stationarity 1) and ``latent/kl.i`` in nats, means over the rows."""
        if not self.active:
            return {}
        self.seen["epochs"].append(epoch)
        # Parts of 128 rows stay in the cache of a small machine: half the time of 512 at once.
        codes = torch.cat([self._codes(part) for part in self.x.split(128)], dim=1)
        self.seen["epoch_codes"].append(codes)
        found = {"var_mean": codes[0].var(0, correction=0)}
        if len(codes) == 2:
            found["mean_scale2"] = codes[1].square().mean(0)
            found["sum"] = found["var_mean"] + found["mean_scale2"]
            found["kl"] = gaussian_kl(codes[0], codes[1].log()).mean(0)
        return {
            f"latent/{name}.{i}": value
            for name, values in found.items()
            for i, value in enumerate(values.tolist())
        }

    @torch.no_grad()
    def _codes(self, x: Tensor) -> Tensor:
        """Mean and, for a Gaussian posterior, standard deviation: ``(1 or 2, rows, d)`` on the CPU."""
        self.model.eval()
        if isinstance(self.model, HasGaussianPosterior):
            q = self.model.posterior(x)
            return torch.stack([q.mean, q.stddev]).cpu()
        return self.model.encode(x)[None].cpu()

    def history(self) -> History | None:
        """What was recorded, or None where the model has no encoder or nothing was trained."""
        if not self.seen["epochs"]:
            return None
        epochs, steps = torch.stack(self.seen["epoch_codes"]), torch.stack(self.seen["step_codes"])
        empty = epochs[:, 0, :, :0]
        scaled = epochs.shape[1] == 2
        kl = gaussian_kl(epochs[:, 0], epochs[:, 1].log()) if scaled else empty
        return History(
            index=self.index,
            epochs=np.array(self.seen["epochs"]),
            epoch_mean=epochs[:, 0].numpy(),
            epoch_scale=(epochs[:, 1] if scaled else empty).numpy(),
            epoch_kl=kl.numpy(),
            step_index=self.index[:STEP_ROWS],
            steps=np.array(self.seen["steps"]),
            step_mean=steps[:, 0].numpy(),
            step_scale=(steps[:, 1] if scaled else steps[:, 0, :, :0]).numpy(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {name: list(values) for name, values in self.seen.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.seen = {name: list(values) for name, values in state.items()}
