"""Where the work on a run is recorded while it lasts, and the page and the tables that close it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd

from latentrun.config.settings import flatten
from latentrun.errors import described
from latentrun.models.base import HasEncoder
from latentrun.nn.base import parameter_count
from latentrun.plotting.style import paper
from latentrun.report.board import Board
from latentrun.report.curves import training_pictures
from latentrun.report.page import page
from latentrun.report.projector import write_projector
from latentrun.run import Run
from latentrun.store import Activity, RunDirectory
from latentrun.tasks.console import LOGGER, RESULT, log_to
from latentrun.tasks.findings import tell_findings
from latentrun.types import Status

SETTINGS = ("seed", "rows", "model", "network", "training", "data")  # of the configuration, in summary.json


class Timing:
    """``tables/timing.csv``: everything that differs from run to run by the clock."""

    def __init__(self, directory: RunDirectory):
        self.directory = directory
        self.rows = directory.read_table("timing").to_dict("records")

    @contextmanager
    def of(self, stage: str, name: str = "") -> Iterator[None]:
        """Time a stage."""
        start = time.perf_counter()
        yield
        self.add(stage, name, time.perf_counter() - start)

    def add(self, stage: str, name: str, seconds: float) -> None:
        """Write one duration down."""
        self.rows.append({"stage": stage, "name": name, "seconds": round(seconds, 4)})
        self.directory.write_table("timing", pd.DataFrame(self.rows))


@dataclass(frozen=True)
class Records:
    """A run's directory, and what is kept up to date in it while the run is worked on: TensorBoard,
    durations, signs of life."""

    directory: RunDirectory
    board: Board
    timing: Timing
    activity: Activity


@contextmanager
def recording(directory: RunDirectory, state: str, first_step: int | None = None) -> Iterator[Records]:
    """Show that the run is being worked on, and log into its directory; how an error or a signal ended the
    work, and the traceback of one that nobody expected, stay there.

    ``first_step``: the first step that training will write to TensorBoard; None where nothing is trained."""
    handler = log_to(directory.folder / "run.log")
    try:
        with directory.activity(state) as activity:
            try:
                with Board(directory.folder / "tensorboard", first_step) as board:
                    yield Records(directory, board, Timing(directory), activity)
            except BaseException as error:
                note_end(directory, activity, error)
                raise
    finally:
        LOGGER.removeHandler(handler)
        handler.close()


def note_end(directory: RunDirectory, activity: Activity, error: BaseException) -> None:
    """Write down how an error, or a signal, has ended the work on a run."""
    if isinstance(error, Exception):
        activity.update(state="failed", reason=described(error))
        directory.write_error(traceback.format_exc())
    else:
        activity.update(state="interrupted", reason=str(error))
        LOGGER.info("%s; to go on: latentrun resume=%s", error, directory.path)


def write_codes(run: Run, directory: RunDirectory) -> None:
    """Store the codes of training and test rows, where the model has an encoder, and show them in
    TensorBoard."""
    if isinstance(run.model, HasEncoder):
        directory.write_latents("train", run.latents("train"))
        directory.write_latents("test", run.latents("test"))
        write_projector(directory.folder / "tensorboard", run)


# ---------------------------------------------------------------- the end
def conclude(run: Run, records: Records, figures: Sequence[str], failed: Sequence[str]) -> int:
    """The summary row, the hyper-parameters for TensorBoard, the report page, the last state; the exit code.

    ``figures``: files of the figures beside the png, none drawn where it is empty; ``failed``: the
    diagnostics that failed."""
    directory = records.directory
    with records.timing.of("report"):
        write_summary(run, records)
        records.board.finish(True)
        curves = directory.read_table("train")
        if figures and len(curves):
            with paper():
                directory.write_pictures("training", training_pictures(curves), figures)
        directory.write_page(page(directory))
    if not any(entry["status"] == Status.FAILED for entry in directory.entries.values()):
        directory.clear_error()
    reason = f"failed diagnostics: {', '.join(failed)}" if failed else None
    records.activity.update(state="done", reason=reason)
    tell_findings(directory)
    LOGGER.log(RESULT, "report %s", directory.path / "report.html")
    return 1 if failed else 0


def write_summary(run: Run, records: Records) -> None:
    """``tables/summary.json``, the run as one row, and its settings for TensorBoard."""
    directory = records.directory
    metrics, curves = directory.read_table("metrics"), directory.read_table("train")
    measured = {
        f"{row.diagnostic}/{row.metric}": float(row.value)
        for row in metrics.itertuples()
        if isinstance(row.metric, str)
    }
    settings = flatten({key: run.config[key] for key in SETTINGS})
    choices = {key: value for key, value in directory.meta["choices"].items() if isinstance(value, str)}
    size = {"parameters": parameter_count(run.model), "epochs": len(curves)}
    directory.write_summary({**choices, **settings, **size, **measured})
    records.board.hparams({**choices, **settings})
