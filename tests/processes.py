"""Command lines carried out by processes of their own, which start as a sweep's jobs do: forked from one that
has imported what they need."""

from __future__ import annotations

import os
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from latentrun.sweep.engine import warm


def started(arguments: Sequence[object], shown: Path) -> BaseProcess:
    """A process that carries out a command line and writes what it says to the file ``shown``."""
    process = warm("latentrun.tasks.child").Process(target=carry_out, args=([*map(str, arguments)], shown))
    process.start()
    return process


def carry_out(arguments: list[str], shown: Path) -> None:
    from latentrun.cli import main

    with open(shown, "wb") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    main(arguments)
