"""From a run directory to a run."""

from __future__ import annotations

from pathlib import Path

import torch

from latentrun.errors import InputError
from latentrun.run import Run
from latentrun.store import RunDirectory
from latentrun.tasks.assembly import assemble


def load(
    path: str | Path, trust: tuple[str, ...] | list[str] = (), device: torch.device | str = "cpu"
) -> Run:
    """The run in a directory: data set, model with its best weights so far, history.

    ``trust``: packages beside latentrun and torch that the run's configuration may name. What the directory
    itself says about trust does not count.
    """
    directory = RunDirectory(path)
    config = directory.config | {"trust": list(trust)}
    data, model = assemble(config)
    state = directory.load_checkpoint("best", device)
    try:
        model.load_state_dict(state["model"])
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{str(path)!r}: the checkpoint does not fit the model: {str(error).splitlines()[0]}"
        ) from None
    return Run(
        model,
        data,
        torch.device(device),
        config["seed"],
        directory.path.name,
        config,
        directory.read_history(),
        directory.path,
        directory.meta,
        directory.read_table("metrics"),
        directory.reports,
        directory.read_table("train"),
    )
