"""When the expectations of a claim were fixed, and what was changed of them since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import date
from typing import Annotated, Any

from latentrun.config.bounds import Printable
from latentrun.errors import InputError

Text = Annotated[str, Printable()]
DIGITS = 12  # hexadecimal, of a digest
WORDS = ("says",)  # what an expectation says in words beside what it is judged by


@dataclass(frozen=True)
class Fixed:
    """The day on which expectations were written down, and their ``digest`` on that day."""

    date: Text
    digest: Text


@dataclass(frozen=True)
class Amendment:
    """A later change of the expectations, or of the runs that they are judged by: ``what`` was changed and
    ``why``; ``seen``: whether numbers of such runs were known, or may have been; the ``digest`` after it."""

    date: Text
    what: Text
    why: Text
    seen: bool
    digest: Text


def digest_of(runs: Mapping[str, Sequence[str]], expect: Sequence[Any], conditions: str | None) -> str:
    """12 hexadecimal digits of SHA-256 over runs, conditions and expectations (dataclasses), in a spelling
    that neither layout nor words change: keys are sorted, what has its default is left out, and so is what an
    expectation says in words."""
    judged_by = [
        {
            name: value
            for name, value in asdict(part).items()
            if name not in WORDS and value != defaults(type(part)).get(name, MISSING)
        }
        for part in expect
    ]
    content: dict[str, Any] = {
        "runs": {name: list(texts) for name, texts in runs.items()},
        "expect": judged_by,
    }
    if conditions is not None:
        content["conditions"] = " ".join(conditions.split())
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:DIGITS]


def defaults(kind: type) -> dict[str, Any]:
    """The fields of a dataclass that may be left out, with what they then are."""
    return {field.name: field.default for field in fields(kind) if field.default is not MISSING}


def check_history(fixed: Fixed, amended: Sequence[Amendment], today: str, where: str) -> None:
    """InputError where the expectations are not those of the last entry, whose digest is not ``today``'s, or
    where days are no days or out of order."""
    days = [fixed.date, *(amendment.date for amendment in amended)]
    places = [f"{where}.fixed", *(f"{where}.amended[{i}]" for i in range(len(amended)))]
    for place, day in zip(places, days, strict=True):
        try:
            date.fromisoformat(day)
        except ValueError:
            raise InputError(f"{place}.date: must be a day such as '2026-11-20', got {day!r}") from None
    for place, day, before in zip(places[1:], days[1:], days, strict=False):
        if day < before:
            raise InputError(f"{place}.date: {day} is before {before}, the day of the entry above it")
    last = [fixed.digest, *(amendment.digest for amendment in amended)][-1]
    if last != today:
        new = "" if amended else f"if no run was made yet, write fixed.digest: {today!r}, else "
        raise InputError(
            f"{where}: its runs and expectations are not those of {days[-1]} (digest {last}): {new}add to "
            f"amended: {{date, what, why, seen, digest: {today!r}}}, or undo the change"
        )


def history(amended: Sequence[Amendment]) -> str:
    """How often expectations were changed, in words; empty where they never were.

    >>> history([Amendment("2026-11-20", "a margin", "too narrow", True, "0123456789ab")])
    'once, with numbers seen'
    """
    if not amended:
        return ""
    seen = sum(amendment.seen for amendment in amended)
    times = "once" if len(amended) == 1 else f"{len(amended)} times"
    if not seen:
        return f"{times}, no number seen"
    return f"{times}, " + ("with numbers seen" if seen == len(amended) else f"{seen} with numbers seen")


def lines(amended: Sequence[Amendment]) -> list[str]:
    """Each change in one line: day, what and why, whether numbers were seen."""
    return [
        f"{change.date}, {'numbers seen' if change.seen else 'no number seen'}: {change.what} ({change.why})"
        for change in amended
    ]
