"""Whoever reads what is printed may stop reading: ``latentrun --help | head``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

CLOSED = 141  # exit code of a command that prints into a pipe which nobody reads any more: 128 + SIGPIPE


def mute() -> None:
    """Let what is still printed go nowhere, also what Python writes as it ends."""
    with suppress(OSError, ValueError):  # where standard output is no file at all
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
