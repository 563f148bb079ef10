"""What a person is shown: text and nothing else. Names and notes of somebody else's directory, data file or
configuration must not clear a terminal, hide a line or turn one around."""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def printable(text: str, lines: bool = False) -> str:
    r"""The text with all that would steer a terminal written out: control characters, marks that turn the
    direction of writing, the bytes of a name that is not UTF-8. ``lines``: ends of lines and tabs stay.

    >>> print(printable("a\x1b[2J b\r\n"))
    a\x1b[2J b\r\n
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(
        c if c.isprintable() or c in kept or unicodedata.category(c) == "Zs" else _written_out(c)
        for c in text
    )


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class Voice:
    """How much is said: ``quiet``: nothing but results, warnings and errors; ``passing``: a line stands on
    the terminal whose place the next one takes."""

    quiet = False
    passing = False


def show(*texts: str, error: bool = False) -> None:
    """Print texts, each on lines of its own; ``error``: where errors go. Nothing else prints, but
    :func:`wait_for`."""
    clear()
    stream = sys.stderr if error else sys.stdout
    print(*(printable(text, lines=True) for text in texts), sep="\n", file=stream, flush=True)


def is_watched() -> bool:
    """Whether a person looks on, and wants to: what moves is for a terminal alone."""
    return not Voice.quiet and sys.stdout.isatty()


def console() -> Console:
    """For what moves: of standard output as it is now. The one that all of rich shares keeps what it found
    when it was first asked for, and stays dark where that was no terminal."""
    from rich.console import Console

    return Console()


def wait_for(text: str) -> None:
    """A line that passes, of what the command is about to do; on a terminal only."""
    if is_watched():
        clear()
        print(printable(text), end="", flush=True)
        Voice.passing = True


def clear() -> None:
    """Take the passing line away, if there is one."""
    if Voice.passing:
        Voice.passing = False
        print("\r\x1b[K", end="", flush=True)
