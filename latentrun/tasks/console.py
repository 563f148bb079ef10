"""What a person sees while a run works: a progress bar on a terminal, one line an epoch otherwise; always
run.log."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

from latentrun.report.parts import is_headline
from latentrun.system.door import Guarded
from latentrun.system.pipe import mute
from latentrun.system.terminal import Voice, clear, console, is_watched, printable, show
from latentrun.training.loop import EpochEnded, Event, PhaseEnded, PhaseStarted, Stepped
from latentrun.types import Metric, Report

if TYPE_CHECKING:
    import pandas as pd

LOGGER = logging.getLogger("latentrun")
RESULT = 25  # the level of what is shown in quiet mode too, with warnings and errors
SHOWN = 4  # numbers on the line of a diagnostic
LONGEST = 36  # characters of a unit on that line
FURTHER = (" from ", " with ", " over ")  # behind a unit: of what it is, not in what
NO_UNIT = re.compile(
    r"[/+=|^*]|\d|\bpure number\b|^(number|part|distance|ratio|median|mean|largest|least|standard) "
)
# Of one quantity's distribution what people ask for after its mean, and other quantities.
SPREAD = re.compile(r"_(median|sd|skewness|excess_kurtosis|p\d+|min|max)\b|^(ignored|worst|tail_ratio)$")


class Line(logging.Formatter):
    """One line a record, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class Terminal(logging.Handler):
    """Writes to whatever standard output is at the moment: a progress bar may have put itself in between."""

    def emit(self, record: logging.LogRecord) -> None:
        if Voice.quiet and record.levelno < RESULT:
            return
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
    logging.addLevelName(RESULT, "RESULT")
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
        if not is_watched():
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        losses = TextColumn("{task.fields[losses]}", markup=False)
        self.bar = Progress(*columns, losses, console=console())
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


@contextmanager
def measuring(name: str, number: int, count: int) -> Iterator[None]:
    """Show which diagnostic is at work, the ``number``-th of ``count``, and on a terminal for how long."""
    text = f"measuring {name} ({number} of {count})"
    if not is_watched():
        LOGGER.info("%s", text)
        yield
        return
    clear()
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console(), transient=True) as bar:
        bar.add_task(printable(text), total=None)
        bar.refresh()  # at once, not when its own thread comes to it
        yield


def told(name: str, declared: Mapping[str, Metric], report: Report) -> str:
    """``reconstruction: error_mean 3.787 units of x, ...``: the first numbers of a report with their units;
    those that the report page has on top come before others, further figures of one distribution behind them.
    Of one without numbers, its tables."""
    known = [key for key, estimate in report.metrics.items() if estimate.value == estimate.value]  # not NaN
    places = {key: (not is_headline(f"{name}/{key}"), SPREAD.search(key) is not None) for key in known}
    values = [
        f"{key} {written(report.metrics[key].value, declared[key.partition('.')[0]])}"
        for key in sorted(known, key=lambda key: places[key])[:SHOWN]
    ]
    if not values:
        return f"{name}: tables {', '.join(report.tables)}" if report.tables else f"{name}: no numbers"
    return f"{name}: {', '.join(values)}"


def table_lines(table: pd.DataFrame | None) -> list[str]:
    """A table of texts as lines, its columns one under the other; none of None."""
    if table is None:
        return []
    widths = [max(map(len, [name, *table[name].astype(str)])) for name in table.columns]
    rows = [list(table.columns), *table.astype(str).to_numpy().tolist()]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def written(value: float, meaning: Metric) -> str:
    """A number with its unit, without how it is averaged; a share of something in percent. Alone where the
    unit is a formula, a sentence, what is counted or none.

    >>> written(0.055, Metric("share of samples closer to another than test rows are", 0, 1))
    '5.5 %'
    >>> written(0.9, Metric("1 - SSE / SST over test rows, at most 1"))
    '0.9'
    """
    text = meaning.unit.partition(",")[0].partition(";")[0].partition(" (")[0].strip()
    if text.startswith("share of"):
        return f"{100 * value:.4g} %"
    for noun in FURTHER:
        text = text.partition(noun)[0]
    is_unit = 0 < len(text) <= LONGEST and not NO_UNIT.search(text)
    return f"{value:.4g} {text}" if is_unit else f"{value:.4g}"


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
