"""What a person sees while a sweep works: one live line for each running job on a terminal, a line for each
that ended always."""

from __future__ import annotations

import time
from collections.abc import Sequence

from latentrun.store.files import last_line
from latentrun.sweep.engine import Outcome, Running
from latentrun.sweep.plan import Places
from latentrun.system.door import Guarded
from latentrun.system.terminal import console, is_watched, printable, show


class View:
    """Shows the progress of ``total`` jobs; a context, which takes the live lines away at its end."""

    def __init__(self, places: Places, total: int):
        self.places, self.total, self.ended, self.failed = places, total, 0, 0
        self.live = None
        if is_watched():
            from rich.live import Live

            self.live = Live(console=console(), auto_refresh=False, transient=True)

    def __enter__(self) -> View:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.live.stop()

    def end(self, outcome: Outcome) -> None:
        """A job has ended."""
        self.ended += 1
        self.failed += outcome.code != 0
        if outcome.code == 0:
            result = f"done in {outcome.seconds:.0f} s"
        else:
            result = f"failed after {outcome.seconds:.0f} s: {outcome.reason}"
        show(f"[{self.ended}/{self.total}] {outcome.job.name}: {result}")

    def show(self, running: Sequence[Running], waiting: int) -> None:
        """Where every running job is."""
        if not self.live:
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, expand=True)
        failed = f", {self.failed} failed" if self.failed else ""
        title = f"{len(running)} running, {waiting} waiting, {self.ended} of {self.total} ended{failed}"
        table.add_column(title, ratio=2, no_wrap=True)
        table.add_column("", justify="right", width=8)
        table.add_column("", ratio=3, no_wrap=True)
        for process in running:
            elapsed = time.strftime("%H:%M:%S", time.gmtime(time.monotonic() - process.since))
            last = last_line(Guarded(self.places.directory(process.job)) / "run.log")
            texts = (process.job.name, elapsed, last[24:])  # without the time
            # no markup: a list in brackets is one for rich
            table.add_row(*(Text(printable(text)) for text in texts))
        self.live.update(table, refresh=True)
