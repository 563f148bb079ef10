"""The lock of an open file: of POSIX, else that of Windows."""

from __future__ import annotations

import importlib
import os
import time
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl: Any = None

BEYOND = 2**30  # the byte that Windows locks: behind all that such a file holds, so that it can be read
PAUSE = 0.05  # seconds between two tries where nothing wakes who waits


def acquire(file: IO, shared: bool = False, wait: bool = False) -> None:
    """Hold the lock of a file until it is closed; BlockingIOError where another process holds it and this one
    does not ``wait``. ``shared``: several may, where nobody holds it alone (on Windows one)."""
    if fcntl is not None:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
        return
    windows: Any = importlib.import_module("msvcrt")
    while True:
        before = os.lseek(file.fileno(), 0, os.SEEK_CUR)
        os.lseek(file.fileno(), BEYOND, os.SEEK_SET)
        try:
            windows.locking(file.fileno(), windows.LK_NBLCK, 1)
            return
        except OSError as error:
            if not wait:
                raise BlockingIOError(error.errno, error.strerror) from None
        finally:
            os.lseek(file.fileno(), before, os.SEEK_SET)
        time.sleep(PAUSE)


def acquired(file: IO) -> bool:
    """Hold the lock of a file alone; False where another process keeps it for longer than a look takes."""
    for pause in (0.01, 0.05, 0.2, None):
        try:
            acquire(file)
            return True
        except OSError:
            if pause is not None:
                time.sleep(pause)
    return False
