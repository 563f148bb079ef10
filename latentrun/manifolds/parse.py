"""Spaces from short texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from latentrun.errors import InputError, nearest
from latentrun.manifolds.base import Manifold
from latentrun.manifolds.disc import Annulus, Disc
from latentrun.manifolds.euclidean import Euclidean
from latentrun.manifolds.finite import Points
from latentrun.manifolds.interval import Interval
from latentrun.manifolds.klein import Klein, Moebius
from latentrun.manifolds.product import Torus, product
from latentrun.manifolds.so3 import SO3
from latentrun.manifolds.sphere import sphere

MOST = 100_000  # coordinates at most


@dataclass(frozen=True)
class Kind:
    """Spaces that are named alike. ``make(number)``, or ``make()`` where ``least``, the smallest number, is
    None: the name then stands without a number. ``why``: what the numbers below ``least`` would be."""

    make: Callable[..., Manifold]
    least: int | None = 1
    why: str = ""


# By the letters that a short text begins with, or by the whole text.
KINDS: dict[str, Kind] = {
    "e": Kind(Euclidean),
    "i": Kind(Interval),
    "s": Kind(sphere, why="; two points are c2"),
    "t": Kind(Torus),
    "c": Kind(Points, 2, "; one point says nothing"),
    "so3": Kind(SO3, None),
    "disc": Kind(Disc, None),
    "annulus": Kind(Annulus, None),
    "moebius": Kind(Moebius, None),
    "klein": Kind(Klein, None),
}


def register(letters: str, make: Callable[..., Manifold], least: int | None = 1) -> None:
    """Let :func:`space` read ``<letters><number>`` as ``make(number)`` for numbers from ``least`` on, or,
    with ``least`` None, ``<letters>`` alone as ``make()``; ValueError for letters that are taken or that
    cannot be read."""
    if letters in KINDS or not re.fullmatch(r"[a-wyz]+", letters):
        raise ValueError(f"{letters!r} is taken, or is not made of small letters other than x")
    KINDS[letters] = Kind(make, least)


def space(text: str, where: str = "space") -> Manifold:
    """The space that a short text names: ``e3`` is R³, ``x`` stands between the factors of a product.
    InputError that begins with ``where`` for any other text.

    >>> space("e3").dim, space("e2xs1").name, space("klein").betti
    (3, 'e2xs1', (1, 2, 1))
    """
    factors = [_factor(part, text, where) for part in text.split("x")]
    if sum(factor.ambient_dim for factor in factors) > MOST:
        raise InputError(f"{where}: {text!r} has more than {MOST:,} coordinates")
    return factors[0] if len(factors) == 1 else product(factors)


def _factor(part: str, text: str, where: str) -> Manifold:
    whole = KINDS.get(part)
    if whole is not None and whole.least is None:
        return whole.make()
    match = re.fullmatch(r"([a-wyz]+)([0-9]{1,6})", part)
    kind = match and KINDS.get(match[1])
    if not match or not kind or kind.least is None:
        of = "" if part == text else f"{part!r} in "
        raise InputError(f"{where}: {of}{text!r} is no space{_nearest(part, text)}; {known()}")
    number = int(match[2])
    if number < kind.least:
        least = f"{match[1]}{kind.least}"
        raise InputError(f"{where}: {part!r} is no space: the least of its kind is {least}{kind.why}")
    if number > MOST:
        raise InputError(f"{where}: {text!r} has more than {MOST:,} coordinates")
    return kind.make(number)


def known() -> str:
    """What there is, for messages."""
    names = [name if kind.least is None else f"{name}<n>" for name, kind in KINDS.items()]
    return f"known: {', '.join(names)}, and products of them such as s1xe2"


def _nearest(part: str, text: str) -> str:
    """The nearest name to ``part``, which is none; of a text that lacks a factor, the text without it."""
    if part == "":
        rest = "x".join(filter(None, text.split("x")))
        return f" (did you mean {rest!r}?)" if rest else ""
    number = re.search(r"[0-9]{1,6}", part)
    count = int(number[0]) if number else 2
    names = [
        name if kind.least is None else f"{name}{max(count, kind.least)}" for name, kind in KINDS.items()
    ]
    letters = re.sub(r"[^a-z]", "", part.lower())
    # Names that differ in the number alone come first: so3 is nearer to so4 than s4 is.
    alike = [name for name in names if re.sub(r"[0-9]", "", name) == letters]
    return nearest(part.strip(), alike) or nearest(part.strip(), names)
