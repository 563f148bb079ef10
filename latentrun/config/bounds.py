"""Bounds of constructor arguments: ``Annotated[int, Ge(1)]``; checked by :mod:`latentrun.config.build` before
anything is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ge:
    """At least ``low``."""

    low: float

    def broken(self, value: Any) -> str | None:
        return None if value >= self.low else f"at least {self.low}"


@dataclass(frozen=True)
class Gt:
    """More than ``low``."""

    low: float

    def broken(self, value: Any) -> str | None:
        return None if value > self.low else f"more than {self.low}"


@dataclass(frozen=True)
class Between:
    """From ``low`` to ``high``; ``open_`` leaves the ends out."""

    low: float
    high: float
    open_: bool = False

    def broken(self, value: Any) -> str | None:
        if self.open_:
            fits, ends = self.low < value < self.high, " (ends excluded)"
        else:
            fits, ends = self.low <= value <= self.high, ""
        return None if fits else f"between {self.low} and {self.high}{ends}"


@dataclass(frozen=True)
class Each:
    """Every element of a list keeps the bound."""

    bound: Ge | Gt | Between

    def broken(self, value: Any) -> str | None:
        broken = next((why for element in value if (why := self.bound.broken(element))), None)
        return None if broken is None else f"values {broken}"


@dataclass(frozen=True)
class Printable:
    """A text that is not empty and has no control characters, such as a path."""

    def broken(self, value: str) -> str | None:
        fits = value.strip() and value.isprintable()
        return None if fits else "a text that is not empty and can be printed"


@dataclass(frozen=True)
class Makes:
    """No bound: a mapping with ``_target_``, of which something is made only when the class that has this
    argument calls it with the ``given`` names: it is given a :class:`latentrun.config.build.Recipe`.
    ``kind``: the protocol the class named there must subclass."""

    kind: type
    given: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """No bound: a text which, unless it is one of ``known``, names a file that can run code.
    :func:`latentrun.config.build.build` takes it only where the user trusts that file by name: what a run
    directory says does not count."""

    known: tuple[str, ...]
