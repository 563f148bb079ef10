"""What a person sees while a run works: a progress bar on a terminal, one line an epoch otherwise; always
run.log."""

from __future__ import annotations

import logging
import sys
import time
from io import TextIOWrapper
from typing import Any

from latentrun.system.door import Guarded
from latentrun.system.pipe import mute
from latentrun.system.terminal import printable, show
from latentrun.training.loop import EpochEnded, Event, PhaseEnded, PhaseStarted, Stepped

LOGGER = logging.getLogger("latentrun")


class Line(logging.Formatter):
    """One line a record, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class Terminal(logging.Handler):
    """Writes to whatever standard output is at the moment: a progress bar may have put itself in between."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            show(self.format(record))
        except BrokenPipeError:  # nobody looks on any more; the work and its log go on
            mute()
        except Exception:
            self.handleError(record)


class LogFile(logging.StreamHandler[Any]):
    """Writes to the end of a file."""

    def __init__(self, file: Guarded):
        super().__init__(TextIOWrapper(file.appending(), encoding="utf-8"))

    def close(self) -> None:
        self.stream.close()
        super().close()


def log_to(file: Guarded) -> logging.Handler:
    """Send the log to ``file`` as well as to the terminal."""
    handler = LogFile(file)
    handler.setFormatter(Line("%(asctime)s %(levelname)s %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    if not any(isinstance(h, Terminal) for h in LOGGER.handlers):
        shown = Terminal()
        shown.setFormatter(Line("%(message)s"))
        LOGGER.addHandler(shown)
    return handler


class TrainingView:
    """Shows the events of a training loop."""

    def __init__(self):
        self.bar = None
        self.task = None
        self.rate = Rate()

    def show(self, event: Event) -> None:
        """Take notice of one event."""
        match event:
            case Stepped(rows=rows):
                self.rate.add(rows)
                if self.bar:
                    self.bar.update(self.task, advance=rows, rate=f"{self.rate.value:,.0f}/s")
            case PhaseStarted(phase=phase, epochs=epochs, rows=rows):
                LOGGER.info("phase %s: up to %d epochs of %s rows", phase, epochs, f"{rows:,}")
                self._open(phase, epochs * rows)
            case EpochEnded():
                text = describe(event)
                self._file_only(f"{text}  {self.rate.value:,.0f} rows/s")
                if self.bar:
                    self.bar.update(self.task, losses=printable(text))
            case PhaseEnded(phase=phase, reason=reason):
                self.close()
                LOGGER.info("phase %s ended: %s", phase, reason)

    def _open(self, phase: str, total: int) -> None:
        if not sys.stdout.isatty():
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        self.bar = Progress(*columns, TextColumn("{task.fields[losses]}", markup=False))
        self.task = self.bar.add_task(printable(phase), total=total, rate="", losses="")
        self.bar.start()

    def _file_only(self, text: str) -> None:
        """To the log file; to the terminal too where no bar shows it."""
        record = LOGGER.makeRecord(LOGGER.name, logging.INFO, "", 0, text, (), None)
        for handler in LOGGER.handlers:
            if self.bar is None or isinstance(handler, LogFile):
                handler.handle(record)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar:
            self.bar.stop()
            self.bar = None


class Rate:
    """Examples per second over about the last ten seconds."""

    def __init__(self):
        self.value, self._rows, self._since, self._settled = 0.0, 0, time.monotonic(), False

    def add(self, rows: int) -> None:
        self._rows += rows
        elapsed = time.monotonic() - self._since
        if elapsed > 10 or not self._settled:
            self.value = self._rows / max(elapsed, 1e-9)
        if elapsed > 10:
            self._rows, self._since, self._settled = 0, time.monotonic(), True


def describe(event: EpochEnded) -> str:
    """``epoch 3  train 12.3  val 11.9 *  lr 0.001``; the star marks the best so far."""
    row = event.row
    parts = [f"{event.phase} epoch {event.epoch + 1}"]
    parts += [
        f"{name.removeprefix('train/')} {row[name]:.4g}"
        for name in row
        if name.startswith("train/") and name.endswith("loss")
    ]
    if "val/monitor" in row:
        parts.append(f"val {row['val/monitor']:.5g}{' *' if event.improved else ''}")
    return "  ".join([*parts, f"lr {row['learning_rate']:.2g}"])
