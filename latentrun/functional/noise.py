"""All randomness of training and diagnostics: draws keyed by name, so any step can be repeated alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor


class Noise:
    """A source of random tensors that depends on its key and on nothing that was drawn before.

    ``Noise(seed).at("vae", 17).normal("z", (64, 3))`` is the same tensor in every process, whatever else ran.
    Drawing the same name twice at one place gives the same numbers: give two draws two names.

    >>> here, again = Noise(0).at("vae", 17), Noise(0).at("vae").at(17)
    >>> torch.equal(here.normal("z", (64, 3)), again.normal("z", (64, 3)))
    True
    >>> torch.equal(here.normal("z", (64, 3)), here.normal("prior", (64, 3)))
    False
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu", key: tuple = ()):
        self.seed, self.device, self.key = seed, torch.device(device), key

    def at(self, *key: str | int) -> Noise:
        """The source for a place: phase, step, diagnostic, ..."""
        return Noise(self.seed, self.device, (*self.key, *key))

    def to(self, device: torch.device | str) -> Noise:
        """The same key on another device (the numbers differ between kinds of device)."""
        return Noise(self.seed, device, self.key)

    def generator(self, name: str) -> torch.Generator:
        """A torch generator seeded by (seed, key, name)."""
        return torch.Generator(self.device).manual_seed(self._seed_of(name))

    def _reseeded(self, name: str) -> torch.Generator:
        """The same in the device's one generator, for a single draw: nothing has to be made at every step."""
        return _scratch(self.device).manual_seed(self._seed_of(name))

    def _seed_of(self, name: str) -> int:
        text = repr((self.seed, *self.key, name)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1

    def normal(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers, float32, of the given shape."""
        return torch.randn(shape, generator=self._reseeded(name), device=self.device)

    def uniform(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Uniform numbers in [0, 1), float32, of the given shape."""
        return torch.rand(shape, generator=self._reseeded(name), device=self.device)

    def integers(self, name: str, high: int, shape: tuple[int, ...]) -> Tensor:
        """Uniform integers in 0 ... high - 1, int64."""
        return torch.randint(high, shape, generator=self._reseeded(name), device=self.device)

    def permutation(self, name: str, n: int) -> Tensor:
        """A random order of 0 ... n - 1, int64 ``(n,)``."""
        return torch.randperm(n, generator=self._reseeded(name), device=self.device)


@cache
def _scratch(device: torch.device) -> torch.Generator:
    """A generator that holds nothing from one draw to the next."""
    return torch.Generator(device)


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Torch's own generators, for what takes no other (initial weights, torch.distributions): seeded within
    the block, afterwards as they were. That of the CPU, and of ``device``; no other accelerator is touched.

    >>> with seeded(0):
    ...     first = torch.rand(3)
    >>> with seeded(0):
    ...     torch.equal(first, torch.rand(3))
    True
    """
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        # Not torch.manual_seed, which would seed all accelerators.
        torch.default_generator.manual_seed(seed)
        for accelerator in devices:
            with torch.cuda.device(accelerator):
                torch.cuda.manual_seed(seed)
        yield
