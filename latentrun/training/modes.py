"""Which modules of a model are in training mode."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn


def train_only(model: nn.Module, moving: Collection[int]) -> None:
    """Put the modules whose parameters move in training mode and all others in evaluation mode, so that the
    running statistics of a part that rests do not move either. ``moving``: ids of parameters. A module
    without parameters, such as dropout, does as the module that holds it."""
    _set(model, moving, any(id(p) in moving for p in model.parameters()))


def _set(module: nn.Module, moving: Collection[int], mode: bool) -> None:
    ids = [id(p) for p in module.parameters()]
    if ids:
        mode = any(each in moving for each in ids)
    module.training = mode
    for child in module.children():
        _set(child, moving, mode)
