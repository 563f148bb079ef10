"""From a run directory to a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentrun.config.build import later
from latentrun.data.base import Dataset, Description
from latentrun.data.recorded import Recorded, recorded_as
from latentrun.errors import InputError, few, one_line
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
    notes = load_weights(model, directory, device)
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
        notes=tuple(notes),
        training_codes=None if isinstance(model, HasGenerator) else stored_codes(directory, model.latent_dim),
    )


def recorded(directory: RunDirectory, config: Mapping[str, Any]) -> Recorded:
    """The data set as meta.json describes it; InputError where the configuration names no class that may be
    made."""
    where = f"{str(directory.path / 'meta.json')!r}: data"
    description = Description.read(directory.meta.get("data"), where)
    named: Any = later(config["data"], Dataset, "data", config["trust"])
    return recorded_as(named.func)(description, partial(build_data, config))


def load_weights(model: Model, directory: RunDirectory, device: torch.device | str) -> list[str]:
    """Give the freshly made model the best weights of the run; a note where they are not those of best.pt.
    InputError where they do not fit it."""
    weights, notes = directory.best_weights(device)
    with filling(model, directory, weights):
        model.load_state_dict(weights)
    return notes


@contextmanager
def filling(model: Model, directory: RunDirectory, stored: Any) -> Iterator[None]:
    """For a block that loads a checkpoint of the run, with the weights ``stored``, into the freshly made
    model; InputError where it does not fit, or where weights are NaN or infinite that are not so in a fresh
    model."""
    where = repr(str(directory.path))
    if wrong := mismatch(stored, model.state_dict()):
        raise InputError(f"{where}: the checkpoint does not fit the model: {wrong}")
    finite = [name for name, values in model.state_dict().items() if values.isfinite().all()]
    try:
        yield
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = one_line(error) or type(error).__name__
        raise InputError(f"{where}: the checkpoint does not fit the run: {reason}") from None
    weights = model.state_dict()
    diverged = [name for name in finite if not weights[name].isfinite().all()]
    if diverged:
        raise InputError(
            f"{where}: NaN or infinite weights, in {few(diverged)}: its training diverged, and nothing can "
            "be told of such a model; train anew, for example with a smaller training.optimizer.lr"
        )


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
