"""The one kind of error a user is meant to read: a single line that says what is wrong, where, and what is
allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class InputError(Exception):
    """Wrong input, found before anything trains. Its text is one line; the command ends with exit code 2."""

    @property
    def lines(self) -> tuple[str, ...]:
        """What a person is shown: a line for each thing that is wrong."""
        return (str(self),)


class Several(InputError):
    """Several things that are wrong with the input, found together."""

    def __init__(self, lines: Iterable[str]):
        self.each = tuple(lines)
        super().__init__("; ".join(self.each))

    @property
    def lines(self) -> tuple[str, ...]:
        return self.each


class Misfit(InputError):
    """Parts that are right by themselves and do not fit together: a sweep may leave such a job out."""


class Unmade(InputError):
    """A class of which no object can be made, whatever its settings: it lacks what its protocol asks for."""


class Absent(InputError):
    """A file or directory that is not there."""


class NothingToMeasure(Exception):
    """A diagnostic or comparison finds, while it measures, that there is nothing to measure. Its text is the
    reason; the report becomes a skipped row with it."""


def nearest(name: str, options: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` with the closest option, or an empty string when none is close."""
    lowered = {option.lower(): option for option in options}
    found = (
        difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.55) if name != "null" else []
    )  # null is no misspelt name
    return f" (did you mean {lowered[found[0]]!r}?)" if found else ""


def unknown(what: str, name: str, options: Iterable[str]) -> InputError:
    """``unknown model 'vea' (did you mean 'vae'?); known: ae, vae``."""
    options = sorted(options)
    return InputError(f"unknown {what} {name!r}{nearest(name, options)}; known: {', '.join(options)}")


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """The first line of an error's text, cut where it is longer than ``limit`` characters."""
    text = " ".join(next(iter(str(error).strip().splitlines()), "").split())
    return text if len(text) <= limit else f"{text[:limit]} ..."


def described(error: BaseException) -> str:
    """``ValueError: text (file.py, line 3)``: an error in one line, with the notes that it was given on its
    way."""
    notes = ", ".join(getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {one_line(error)}{f' ({notes})' if notes else ''}"


def few(names: Sequence[str]) -> str:
    """``'a', 'b'``, or ``'a', 'b', 'c' and 7 more``."""
    shown = ", ".join(repr(name) for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
