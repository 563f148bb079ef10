"""From a run directory to a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentrun.config.build import later
from latentrun.data.base import Dataset, Description, Oracle
from latentrun.data.recorded import Recorded, RecordedOracle
from latentrun.errors import InputError, one_line
from latentrun.models.base import HasGenerator, Model
from latentrun.nn.base import mismatch
from latentrun.run import Run
from latentrun.store import RunDirectory
from latentrun.store.schema import require_array
from latentrun.tasks.assembly import build_data, build_model


def load(path: str | Path, trust: Sequence[str] = (), device: torch.device | str = "cpu") -> Run:
    """The run in a directory: model with its best weights so far, history, and its data set, of which nothing
    is read or made before rows are asked for.

    ``trust``: packages beside latentrun and torch that the run's configuration may name. What the directory
    itself says about trust does not count.
    """
    directory = RunDirectory(path)
    config = directory.config | {"trust": list(trust)}
    data = recorded(directory, config)
    model = build_model(config, data)
    load_weights(model, directory, device)
    return Run(
        model=model,
        data=data,
        device=torch.device(device),
        seed=config["seed"],
        name=directory.path.name,
        config=config,
        history=directory.read_history(),
        directory=directory.path,
        meta=directory.meta,
        metrics=directory.read_table("metrics"),
        reports=directory.reports,
        curves=directory.read_table("train"),
        training_codes=None if isinstance(model, HasGenerator) else stored_codes(directory, model.latent_dim),
    )


def recorded(directory: RunDirectory, config: Mapping[str, Any]) -> Recorded:
    """The data set as meta.json describes it; InputError where the configuration names no class that may be
    made."""
    where = f"{str(directory.path / 'meta.json')!r}: data"
    description = Description.read(directory.meta.get("data"), where)
    named: Any = later(config["data"], Dataset, "data", config["trust"])
    kind = RecordedOracle if issubclass(named.func, Oracle) else Recorded
    return kind(description, partial(build_data, config))


def load_weights(model: Model, directory: RunDirectory, device: torch.device | str) -> None:
    """Give the model the weights of the best checkpoint; InputError where they do not fit it."""
    state = directory.load_checkpoint("best", device)
    where = f"{str(directory.path)!r}: the checkpoint does not fit the model"
    if wrong := mismatch(state["model"], model.state_dict()):
        raise InputError(f"{where}: {wrong}")
    try:
        model.load_state_dict(state["model"])
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{where}: {one_line(error)}") from None


def stored_codes(directory: RunDirectory, latent_dim: int) -> Tensor | None:
    """The codes ``(N, d)`` of the training rows; None where they are not stored."""
    arrays = directory.read_arrays("latents_train")
    if not arrays:
        return None
    where = str(directory.path / "arrays" / "latents_train.npz")
    require_array(arrays, "codes", 2, repr(where))
    if arrays["codes"].shape[1] != latent_dim:
        raise InputError(
            f"{where!r}: codes has shape {arrays['codes'].shape}; the model has {latent_dim} latent variables"
        )
    return torch.from_numpy(arrays["codes"])
