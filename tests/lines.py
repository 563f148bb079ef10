"""Command lines of tests, put together from what most of them say and what one of them changes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from latentrun.cli import main
from latentrun.config.settings import key_of


def latest(words: Iterable[object]) -> list[str]:
    """The words of a command line, of those that set the same key only the last."""
    words = [str(word) for word in words]
    last = {key_of(word): place for place, word in enumerate(words) if "=" in word}
    return [word for place, word in enumerate(words) if last.get(key_of(word), place) == place]


def run(*arguments: object) -> int:
    """The exit code of a command line, put together by :func:`latest` and carried out in this process."""
    return code_of(latest(arguments))


def code_of(words: list[str]) -> int:
    """The exit code of a command line. What pytest.raises gives would keep the frames of all callers, and the
    files that they have open, until the next search for garbage."""
    try:
        main(words)
    except SystemExit as ended:
        return ended.code
    raise AssertionError(f"{words} goes on")


def arrays(path: Path) -> dict[str, np.ndarray]:
    """What an .npz file holds, which is closed again at once."""
    with np.load(path) as file:
        return dict(file)
