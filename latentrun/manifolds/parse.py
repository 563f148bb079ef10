"""Spaces from short texts."""

from __future__ import annotations

import re
from collections.abc import Callable

from latentrun.errors import InputError, unknown
from latentrun.manifolds.base import Manifold
from latentrun.manifolds.euclidean import Euclidean
from latentrun.manifolds.product import Product
from latentrun.manifolds.sphere import Sphere

MOST = 100_000  # coordinates at most

# What makes a space, by the letters that its short text begins with; it is given the number behind them.
KINDS: dict[str, Callable[[int], Manifold]] = {"e": Euclidean, "s": Sphere}


def register(letters: str, make: Callable[[int], Manifold]) -> None:
    """Let :func:`space` read ``<letters><number>`` as ``make(number)``; ValueError for letters that are taken
    or that cannot be read."""
    if letters in KINDS or not re.fullmatch(r"[a-wyz]+", letters):
        raise ValueError(f"{letters!r} is taken, or is not made of small letters other than x")
    KINDS[letters] = make


def space(text: str, where: str = "space") -> Manifold:
    """The space that a short text names: ``e3`` is R³, ``x`` stands between the factors of a product.
    InputError that begins with ``where`` for any other text.

    >>> space("e3").dim, space("e2xe1").name
    (3, 'e2xe1')
    """
    factors = [_factor(part, text, where) for part in text.split("x")]
    if sum(factor.ambient_dim for factor in factors) > MOST:
        raise InputError(f"{where}: {text!r} has more than {MOST:,} coordinates")
    return factors[0] if len(factors) == 1 else Product(factors)


def _factor(part: str, text: str, where: str) -> Manifold:
    match = re.fullmatch(r"([a-wyz]+)([0-9]{1,6})", part)
    if match is None:
        raise InputError(f"{where}: {text!r} cannot be read: write a kind and a number, such as e3 or e2xe1")
    letters, number = match[1], int(match[2])
    if letters not in KINDS:
        raise unknown(f"kind of space in {where}={text}", letters, KINDS)
    if number < 1:
        raise InputError(f"{where}: {part!r} has no dimension")
    return KINDS[letters](number)
