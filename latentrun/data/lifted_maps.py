"""Maps that carry a manifold from its own coordinates R^a into the space of the data R^D."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.manifolds import Manifold


class Map(ABC):
    """f: R^a -> R^D, row by row in the dtype and on the device of what it is given. ``text``: what it does,
    for notes."""

    text: str

    @abstractmethod
    def __call__(self, z: Tensor) -> Tensor:
        """f(z) ``(..., D)`` of ``z (..., a)``."""

    @abstractmethod
    def slopes(self, z: Tensor, directions: Tensor) -> Tensor:
        """Derivatives ``(N, K, D)`` of f at ``z (N, a)`` along ``directions (N, K, a)``."""


class Flat(Map):
    """f(z) = z Q with orthonormal rows Q ``(a, D)``; without Q the identity."""

    def __init__(self, rows: Tensor | None, text: str):
        self.rows, self.text = rows, text

    def __call__(self, z: Tensor) -> Tensor:
        return z if self.rows is None else z @ self.rows.to(z)

    def slopes(self, z: Tensor, directions: Tensor) -> Tensor:
        del z
        return self(directions)

    def back(self, x: Tensor) -> Tensor:
        """The points ``(..., a)`` of R^a whose images are nearest to ``x (..., D)``."""
        return x if self.rows is None else x @ self.rows.to(x).mT


class Waves(Map):
    """f(z) = (z, A sin(z W + b) sqrt(2 / k)) Q with k sines, W ``(a, k)``, b ``(k,)``, and a rotation Q of
    R^(a + k).

    Undone by the first a coordinates of f(z) Q^T, which are z: so it is one to one, and its derivative has
    rank a everywhere, whatever W and b are. The mean square of what stands beside z is A².
    """

    def __init__(self, frequencies: Tensor, phases: Tensor, amplitude: float, rotation: Tensor, text: str):
        self.frequencies, self.phases, self.rotation = frequencies, phases, rotation
        self.size, self.text = amplitude * math.sqrt(2 / len(phases)), text

    def __call__(self, z: Tensor) -> Tensor:
        angle = z @ self.frequencies.to(z) + self.phases.to(z)
        return torch.cat([z, self.size * angle.sin()], dim=-1) @ self.rotation.to(z)

    def slopes(self, z: Tensor, directions: Tensor) -> Tensor:
        turn = self.size * (z @ self.frequencies.to(z) + self.phases.to(z)).cos().unsqueeze(-2)
        beside = turn * (directions @ self.frequencies.to(z))
        return torch.cat([directions, beside], dim=-1) @ self.rotation.to(z)


class Relu(Map):
    """f(z) = relu(z V) W, V ``(a, width)``, W ``(width, D)``."""

    def __init__(self, first: Tensor, second: Tensor, text: str):
        self.layers, self.text = (first, second), text

    def __call__(self, z: Tensor) -> Tensor:
        first, second = (layer.to(z) for layer in self.layers)
        return (z @ first).relu() @ second

    def slopes(self, z: Tensor, directions: Tensor) -> Tensor:
        first, second = (layer.to(z) for layer in self.layers)
        return ((directions @ first) * (z @ first > 0).unsqueeze(-2)) @ second


# ---------------------------------------------------------------- how they are drawn
def isometry(manifold: Manifold, ambient: int | None, seed: int) -> Map:
    """A random rotation into R^ambient, which keeps all lengths; with ``ambient`` None nothing is done.
    InputError for too few dimensions."""
    if ambient is None:
        return Flat(None, "")
    _require(manifold, ambient, manifold.ambient_dim)
    rows = _rotation(Noise(seed).at("isometry"), ambient)[: manifold.ambient_dim]
    return Flat(rows, f", rotated into R^{ambient} (seed {seed})")


def smooth(manifold: Manifold, ambient: int | None, amplitude: float, frequency: float, seed: int) -> Map:
    """A random smooth embedding into R^ambient, of :class:`Waves`: the entries of W are normal with standard
    deviation ``frequency``, those of b uniform, the rotation is uniform. InputError for too few
    dimensions."""
    a = manifold.ambient_dim
    if ambient is None:
        raise InputError("data.ambient: null is for data.lift=isometry; give a number of dimensions")
    _require(manifold, ambient, a + 1)
    noise = Noise(seed).at("smooth")
    frequencies = frequency * noise.normal("W", (a, ambient - a)).double()
    phases = 2 * math.pi * noise.uniform("b", (ambient - a,)).double()
    text = f", bent by {ambient - a} sines into R^{ambient} (seed {seed})"
    return Waves(frequencies, phases, amplitude, _rotation(noise, ambient), text)


def network(manifold: Manifold, ambient: int | None, width: int, seed: int) -> Map:
    """A random network without biases, of ``width`` hidden units, into R^ambient, whose weights are uniform
    with Xavier's bounds: see :class:`Relu`. One to one for nearly all weights where ``width`` is well above
    the dimension of the manifold. InputError for too few dimensions."""
    if ambient is None:
        raise InputError("data.ambient: null is for data.lift=isometry; give a number of dimensions")
    if ambient <= manifold.dim:
        raise InputError(
            f"data.ambient: {manifold.name!r} has {manifold.dim} dimensions: at least {manifold.dim + 1} "
            f"needed, got {ambient}"
        )
    weights = Noise(seed).at("lifted")
    shapes = (("V", (manifold.ambient_dim, width)), ("W", (width, ambient)))
    first, second = (_xavier(weights.uniform(name, shape).double()) for name, shape in shapes)
    return Relu(first, second, f", through a random ReLU network of {width} units (seed {seed})")


def _require(manifold: Manifold, ambient: int, least: int) -> None:
    if ambient < least:
        raise InputError(
            f"data.ambient: {manifold.name!r} lies in R^{manifold.ambient_dim}: at least {least} needed, got "
            f"{ambient}"
        )


def _rotation(noise: Noise, n: int) -> Tensor:
    """A rotation or reflection of R^n, uniform (QR of a normal matrix with the signs of R; Mezzadri 2007)."""
    q, r = torch.linalg.qr(noise.normal("Q", (n, n)).double())
    return q * r.diagonal().sign()


def _xavier(u: Tensor) -> Tensor:
    """Uniform numbers ``(fan_in, fan_out)`` in [0, 1) as weights, uniform in +-sqrt(6 / (fan_in +
    fan_out))."""
    return (2 * u - 1) * math.sqrt(6 / sum(u.shape))
