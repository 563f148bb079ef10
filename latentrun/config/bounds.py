"""Bounds of constructor arguments: ``Annotated[int, Count(1)]``; checked by :mod:`latentrun.config.build`
before anything is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ge:
    """At least ``low``."""

    low: float

    def __str__(self) -> str:
        return f"at least {self.low}"

    def broken(self, value: Any) -> str | None:
        return None if value >= self.low else str(self)


@dataclass(frozen=True)
class Count:
    """So many of something that takes memory or time: at least ``low`` and at most ``high``, which is far
    beyond use and short of what would bring a machine to a standstill before anyone is told."""

    low: int
    high: int = 1_000_000

    def __str__(self) -> str:
        return f"{self.low} to {self.high:,}"

    def broken(self, value: Any) -> str | None:
        if value > self.high:
            return f"at most {self.high:,}"
        return None if value >= self.low else f"at least {self.low}"


@dataclass(frozen=True)
class Gt:
    """More than ``low``."""

    low: float

    def __str__(self) -> str:
        return f"more than {self.low}"

    def broken(self, value: Any) -> str | None:
        return None if value > self.low else str(self)


@dataclass(frozen=True)
class Between:
    """From ``low`` to ``high``; ``open_`` leaves the ends out."""

    low: float
    high: float
    open_: bool = False

    def __str__(self) -> str:
        return f"between {self.low} and {self.high}{' (ends excluded)' if self.open_ else ''}"

    def broken(self, value: Any) -> str | None:
        inside = self.low < value < self.high if self.open_ else self.low <= value <= self.high
        return None if inside else str(self)


@dataclass(frozen=True)
class Each:
    """Every element of a list keeps the bound, and they are not more than ``most``."""

    bound: Ge | Count | Gt | Between
    most: int = 1000

    def __str__(self) -> str:
        return f"each {self.bound}"

    def broken(self, value: Any) -> str | None:
        if len(value) > self.most:
            return f"at most {self.most:,} values"
        broken = next((why for element in value if (why := self.bound.broken(element))), None)
        return None if broken is None else f"values {broken}"


@dataclass(frozen=True)
class Printable:
    """A text that is not empty and has no control characters, such as a path."""

    def __str__(self) -> str:
        return ""

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

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class Program:
    """No bound: a text which, unless it is one of ``known``, names a file that can run code.
    :func:`latentrun.config.build.build` takes it only where the user trusts that file by name: what a run
    directory says does not count."""

    known: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' | '.join(self.known)} or a file of yours" if self.known else ""


@dataclass(frozen=True)
class Number:
    """What is a number, and no list or tensor in its place, keeps the bound."""

    bound: Ge | Count | Gt | Between

    def __str__(self) -> str:
        return str(self.bound)

    def broken(self, value: Any) -> str | None:
        return self.bound.broken(value) if isinstance(value, int | float) else None


# What torch takes of its optimizers and schedulers without a word, though nothing can be learnt with it; for
# every class of torch that has an argument of the name.
OF_TORCH: Mapping[str, Number] = {
    **dict.fromkeys(("lr", "eps", "gamma", "step_size", "T_max", "T_0", "T_mult"), Number(Gt(0))),
    **dict.fromkeys(("max_lr", "base_lr", "total_steps", "total_iters"), Number(Gt(0))),
    **dict.fromkeys(
        ("patience", "cooldown", "min_lr", "eta_min", "weight_decay", "threshold"), Number(Ge(0))
    ),
    "factor": Number(Between(0, 1, open_=True)),
}


def bounds_of_torch(cls: type, key: str) -> tuple[Number, ...]:
    """What holds for an argument of a class of torch beside what torch says itself."""
    of_torch = cls.__module__.partition(".")[0] == "torch"
    return (OF_TORCH[key],) if of_torch and key in OF_TORCH else ()
