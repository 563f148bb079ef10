"""Where in somebody's code a class or a function stands, for messages."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def written_at(thing: Callable, name: Any = None) -> str:
    """``file.py, line 12``: where a function writes the text ``name``, else its last return, else where it
    begins; where a class begins."""
    try:
        lines, first = inspect.getsourcelines(thing)
        file = inspect.getsourcefile(thing)
    except (OSError, TypeError):  # made by a program, or no function at all
        return "of a source that is not there"
    first = max(first, 1)
    if isinstance(thing, type):
        return f"{file}, line {first}"
    written = [i for i, line in enumerate(lines) if f'"{name}"' in line or f"'{name}'" in line]
    returns = [i for i, line in enumerate(lines) if line.lstrip().startswith("return")]
    number = written[-1] if name is not None and written else returns[-1] if returns else 0
    return f"{file}, line {first + number}"
