"""Codes in units of their own spread: principal axes, each divided by its standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentrun.functional.noise import Noise
from latentrun.functional.ties import principal_axes


@dataclass(frozen=True)
class Whitening:
    """The affine map u = (z - mean) axes / sd that gives codes covariance 1, and back.

    ``mean (d,)``; ``axes (d, k)`` orthonormal, of largest variance first; ``sd (k,)`` of the codes along
    them. k < d where directions were left out as flat; 0 where the codes do not move.
    """

    mean: np.ndarray
    axes: np.ndarray
    sd: np.ndarray

    def to(self, z: np.ndarray) -> np.ndarray:
        """``(..., d)`` to whitened units ``(..., k)``."""
        return (z - self.mean) @ self.axes / self.sd

    def back(self, u: np.ndarray) -> np.ndarray:
        """``(..., m)``, m <= k, to codes ``(..., d)``: along axes that ``u`` lacks they are those of the mean
        code."""
        m = u.shape[-1]
        return self.mean + u * self.sd[:m] @ self.axes[:, :m].T

    @property
    def note(self) -> str:
        """How many directions were left out, in words; empty for none."""
        d, k = self.axes.shape
        return f"{d - k} of {d} principal directions of the codes are flat and were left out" if k < d else ""


def whitening(z: np.ndarray, flat: float) -> Whitening:
    """The map for codes ``z (N, d)``; directions whose sd is at most the share ``flat`` of the largest are
    left out.

    sd with divisor N - 1. A direction in which codes hardly move would, whitened, count as much as all
    others.

    >>> line = np.array([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])  # codes vary in one direction
    >>> whitening(line, flat=1e-3).to(line)
    array([[-1.],
           [ 0.],
           [ 1.]])
    """
    z = np.asarray(z, dtype=np.float64)
    centred = z - z.mean(0)
    variance, axes = principal_axes(centred.T @ centred / max(1, len(z) - 1))
    sd = np.sqrt(variance.clip(0))
    # Rounding of the mean leaves equal codes a spread of their own.
    kept = sd > max(flat * sd[0], 1e-7 * np.abs(z).max(initial=0))
    return Whitening(z.mean(0), axes[:, kept], sd[kept])


def perturbed(u: np.ndarray, length: float, noise: Noise) -> np.ndarray:
    """Points ``(N, k)`` moved by exactly ``length``, in their unit, each in a random direction."""
    direction = noise.to("cpu").normal("directions", u.shape).double().numpy()
    return u + length * direction / np.linalg.norm(direction, axis=1, keepdims=True)
