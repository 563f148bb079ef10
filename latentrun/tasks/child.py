"""What the process of one job does."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from latentrun.config.trust import Trust
from latentrun.errors import InputError, described
from latentrun.sweep.plan import Job
from latentrun.system.door import Guarded
from latentrun.system.interrupts import Interrupted, interruptible
from latentrun.system.machine import prepare, settle
from latentrun.system.terminal import show
from latentrun.tasks.assembly import assembled
from latentrun.tasks.base import check_settings
from latentrun.tasks.diagnose import diagnose
from latentrun.tasks.fit import train
from latentrun.tasks.resume import resume

GRACE = 60.0  # seconds to save the state after the parent has gone


def work(
    job: Job, path: str, log: Guarded, device: str | None, threads: int, trust: Trust, parent: Connection
) -> None:
    """Run ``job`` in the directory ``path``; the process exits with the job's code.

    It prints to the file ``log``, is no part of the terminal's process group (Ctrl-C goes to the parent,
    which asks every job to stop once), and ends in order when the parent has gone.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    print_to(log)
    end_with(parent)
    prepare()
    config = {**job.config, "threads": job.config["threads"] or threads}
    if device is not None:
        config["device"] = device
    carry_out = measure if job.measure else run
    try:
        with interruptible():
            code, reason = carry_out(Path(path), config, job.about, trust)
    except Interrupted as stopped:
        code, reason = stopped.code, str(stopped)
    if reason:
        show(reason)
    sys.exit(code)


def run(
    path: Path, config: Mapping[str, Any], about: Mapping[str, Any], trust: Trust
) -> tuple[int, str | None]:
    """Begin or go on with the run in ``path``; the exit code, and in one line what went wrong."""

    def begun() -> int:
        begin(config)
        if (Guarded(path) / "meta.json").exists():
            return resume(path, trust.directory, device=config["device"])
        clear_stub(path)
        fresh = {**config, "trust": list(trust.fresh)}
        return train(assembled(fresh, about["choices"], about["default_list"]), path, about)

    return attempted(begun)


def measure(
    path: Path, config: Mapping[str, Any], about: Mapping[str, Any], trust: Trust
) -> tuple[int, str | None]:
    """Measure what the trained run in ``path`` lacks of the diagnostics in ``config``; as :func:`run`."""

    def measured() -> int:
        begin(config)
        return diagnose(str(path), config, trust, about["default_list"])

    return attempted(measured)


def begin(config: Mapping[str, Any]) -> None:
    """Check the settings at the top level and make the process ready."""
    check_settings(config)
    settle(config["threads"])


def attempted(task: Callable[[], int]) -> tuple[int, str | None]:
    """The exit code of a task, and in one line what went wrong."""
    try:
        return task(), None
    except InputError as error:
        return 2, str(error)
    except Exception as error:
        show(traceback.format_exc(), error=True)
        return 1, described(error)


def clear_stub(path: Path) -> None:
    """Take away what a process left that was killed before its run had a beginning: a directory without
    meta.json."""
    folder = Guarded(path)
    if (folder / "run.lock").is_file() and not (folder / "tables").items():
        folder.remove_tree()


def print_to(log: Guarded) -> None:
    """Standard output and error, also of libraries in C, to the end of a file."""
    with log.appending() as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())


def end_with(parent: Connection) -> None:
    """Ask this process to stop when the other end of a pipe has closed, for then the parent has gone however
    it went; end it when that takes too long."""

    def watch() -> None:
        with suppress(EOFError):
            parent.recv()
        if os.name == "posix":
            os.kill(os.getpid(), signal.SIGTERM)
        else:  # there it would end the process at once
            signal.raise_signal(signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(143)

    threading.Thread(target=watch, daemon=True).start()
