"""What a network architecture offers to models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from latentrun.errors import Misfit


class Network(ABC):
    """A recipe for an encoder and its mirrored decoder; holds sizes, no weights."""

    @abstractmethod
    def encoder(self, event_shape: tuple[int, ...], out_features: int) -> nn.Module:
        """A module from ``(N, *event_shape)`` to ``(N, out_features)``; raises Misfit where the shape does
        not fit."""

    @abstractmethod
    def decoder(self, in_features: int, event_shape: tuple[int, ...]) -> nn.Module:
        """A module from ``(N, in_features)`` to ``(N, *event_shape)``; raises Misfit as the encoder does."""


def parameter_count(module: nn.Module) -> int:
    """How many numbers its parameters hold.

    >>> parameter_count(nn.Linear(2, 3))
    9
    """
    return sum(parameter.numel() for parameter in module.parameters())


def require_picture(name: str, event_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width; Misfit where the data of the network ``name`` are no pictures.

    >>> require_picture("conv", (1, 28, 28))
    (1, 28, 28)
    """
    if len(event_shape) != 3:
        raise Misfit(
            f"network {name} needs pictures (channels, height, width); the data have shape "
            f"{tuple(event_shape)}: use network=dense"
        )
    channels, height, width = event_shape
    return channels, height, width


def mismatch(stored: Any, expected: Mapping[str, Tensor]) -> str | None:
    """What is wrong with stored tensors that are to take the place of those ``expected``, by name: which one
    it is, and both shapes; None where nothing is.

    >>> mismatch(nn.Linear(2, 3).state_dict(), nn.Linear(3, 3).state_dict())
    'weight has shape (3, 2); the model needs (3, 3)'
    """
    if not isinstance(stored, Mapping):
        return "it holds no tensors by name"
    for name, tensor in expected.items():
        if name not in stored:
            return f"{name} is missing; the model needs it with shape {tuple(tensor.shape)}"
        if not isinstance(stored[name], Tensor):
            return f"{name} is no tensor"
        if stored[name].shape != tensor.shape:
            return f"{name} has shape {tuple(stored[name].shape)}; the model needs {tuple(tensor.shape)}"
    return next((f"the model has no {str(name)!r}" for name in stored if name not in expected), None)
