"""Signs of life of a working process, by which others tell a live run from a dead one."""

from __future__ import annotations

import math
import os
import platform
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from latentrun.errors import InputError
from latentrun.store.files import now, write_json
from latentrun.system.door import Guarded

HEARTBEAT = 10.0  # seconds between two signs of life in status.json
SILENCE = 60.0  # seconds without one after which a run on another machine counts as dead
WORKING = ("training", "diagnosing")


class Activity:
    """Signs of life of a working process in ``status.json``."""

    def __init__(self, file: Guarded, state: str):
        self.file = file
        self.entries: dict[str, Any] = {"state": state, "pid": os.getpid(), "host": platform.node()}
        self._stopping = threading.Event()
        self._write_lock = threading.Lock()
        self.write()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def update(self, **entries: Any) -> None:
        """Change what the status says; on disk at once when the state changes, else with the next beat."""
        changed = "state" in entries and entries["state"] != self.entries["state"]
        self.entries |= entries
        if changed:
            self.write()

    def write(self) -> None:
        with self._write_lock:
            write_json(self.file, {**self.entries, "heartbeat": now()})

    def _beat(self) -> None:
        while not self._stopping.wait(HEARTBEAT):
            with suppress(OSError, InputError):
                self.write()

    def stop(self) -> None:
        """Write the last state and end the thread."""
        self._stopping.set()
        self._thread.join()
        self.write()


def silence(status: Mapping[str, Any]) -> float:
    """Seconds since the last sign of life in status.json; infinite where it names no time, or one that lies
    further ahead than clocks differ."""
    try:
        age = (datetime.now(UTC) - datetime.fromisoformat(str(status.get("heartbeat")))).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return math.inf
    return age if age > -SILENCE else math.inf
