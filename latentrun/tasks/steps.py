"""The steps that tasks are made of: training with checkpoints, measuring, the closing of a run, and what is
recorded."""

from __future__ import annotations

import time
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pandas as pd
import torch

from latentrun.config.fingerprint import fingerprint
from latentrun.config.settings import flatten
from latentrun.diagnostics.base import Diagnostic, Question
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEncoder, HasGenerator
from latentrun.plotting.images import canvas
from latentrun.plotting.style import paper
from latentrun.report.board import Board
from latentrun.report.curves import training_pictures
from latentrun.report.page import page
from latentrun.run import Run
from latentrun.store import Activity, ReportDirectory, RunDirectory, now
from latentrun.system.interrupts import deferred
from latentrun.tasks.assembly import Plan
from latentrun.tasks.console import LOGGER, TrainingView, log_to
from latentrun.training.loop import EpochEnded, Loop, PhaseEnded, Stepped, TrainingEnded
from latentrun.types import Report, Status

CHECKPOINT_EVERY = 300.0  # seconds at most between two checkpoints, where epochs are longer


# ---------------------------------------------------------------- training
def fit_model(
    plan: Plan, directory: RunDirectory, loop: Loop, board: Board, timing: Timing, activity: Activity
) -> Run:
    """Run the loop from where it stands, save and log what it tells. A signal is answered after the step:
    saved, then raised."""
    view, saved = TrainingView(), time.monotonic()
    count = sum(p.numel() for p in plan.model.parameters())
    LOGGER.info("%s parameters on %s", f"{count:,}", plan.device)
    finished_before = loop.finished  # taken over from another run, or only measuring was interrupted
    with deferred() as request, closing(view):
        for event in loop.run():
            view.show(event)
            due = request.signal is not None or time.monotonic() - saved > CHECKPOINT_EVERY
            match event:
                case Stepped():
                    activity.update(step=loop.progress.total_steps)
                case EpochEnded(row=row, seconds=seconds, improved=improved):
                    due = True
                    timing.add("epoch", f"{row['phase']} {row['epoch']}", seconds)
                    directory.write_table("train", pd.DataFrame(loop.progress.rows))
                    if improved:
                        directory.save_checkpoint(
                            "best", {"model": loop.progress.best.weights, "epoch": row["epoch"]}
                        )
                    board.epoch(loop.progress.rows, len(loop.phases))
                    if row["epoch"].bit_count() == 1:  # after epochs 1, 2, 4, 8, ...
                        show_pictures(plan, loop, board)
                case PhaseEnded() | TrainingEnded():
                    directory.save_checkpoint("best", {"model": plan.model.state_dict()})
            if due:
                directory.save_checkpoint("last", loop.state_dict())
                saved = time.monotonic()
            if request.signal is not None:
                break
    directory.save_checkpoint("last", loop.state_dict())
    curves = pd.DataFrame(loop.progress.rows)
    if len(curves):
        directory.write_table("train", curves)  # of a training taken over, nothing is there yet
    show_pictures(plan, loop, board)
    history = directory.read_history() if finished_before else loop.history.history()
    directory.write_history(history)
    directory.amend_meta(trained=now())
    directory.records().remove()
    name, config = directory.path.name, plan.config
    return Run(
        plan.model,
        plan.data,
        plan.device,
        config["seed"],
        name,
        config,
        history,
        directory.path,
        curves=curves,
    )


@torch.no_grad()
def show_pictures(plan: Plan, loop: Loop, board: Board) -> None:
    """Reconstructions of 16 validation rows, and samples where the model has a prior, to TensorBoard. Samples
    wait for the last of the model's own phases: a second stage is not there before."""
    if not plan.data.is_image:
        return
    plan.model.eval()
    step = loop.progress.total_steps
    if isinstance(plan.model, HasEncoder):
        x = plan.data.split("val").x[:16].to(plan.device)
        both = torch.cat([x, plan.model.decode(plan.model.encode(x))]).cpu().numpy()
        board.image(step, "reconstructions", canvas(both, len(x), value_range=plan.data.value_range))
    if isinstance(plan.model, HasGenerator) and loop.progress.phase + 1 >= len(plan.model.phases()):
        z = plan.model.sample_prior(32, loop.noise.at("board"))
        board.image(
            step, "samples", canvas(plan.model.decode(z).cpu().numpy(), 16, value_range=plan.data.value_range)
        )


# ---------------------------------------------------------------- measuring
def pending(
    directory: RunDirectory, chosen: Mapping[str, Diagnostic], config: Mapping[str, Any], force: bool = False
) -> dict[str, Diagnostic]:
    """The diagnostics that the run does not have yet with these settings."""
    known = {
        name: entry.get("hash")
        for name, entry in directory.meta["diagnostics"].items()
        if entry["status"] == Status.OK
    }
    fresh = {n: d for n, d in chosen.items() if force or known.get(n) != fingerprint(config["diagnostic"][n])}
    for name in [name for name in chosen if name not in fresh]:
        LOGGER.info("%s: already measured with these settings (force=true measures again)", name)
    return fresh


def redraw(run: Run, directory: RunDirectory, diagnostics: Mapping[str, Diagnostic]) -> list[str]:
    """Draw the pictures of what is measured already, from what is on disk; the names of those that failed."""
    failed = []
    for name, diagnostic in diagnostics.items():
        with paper():
            try:
                directory.write_pictures(
                    name, diagnostic.plot(directory.read_report(name)), run.config["figures"]
                )
            except Exception as error:
                failed.append(name)
                note_failure(directory, name, error)
    return failed


def note_failure(directory: ReportDirectory, name: str, error: Exception) -> None:
    """Log that a diagnostic or comparison failed and leave the traceback."""
    LOGGER.error("%s failed: %s: %s", name, type(error).__name__, error)
    (directory.path / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")


def measure(
    run: Run,
    directory: RunDirectory,
    board: Board,
    diagnostics: Mapping[str, Diagnostic],
    skipped: Mapping[str, str],
    timing: Timing,
) -> list[str]:
    """Run the diagnostics one after the other and store each as soon as it is there; the names of those that
    failed."""
    failed, curves = [], directory.read_table("train")
    last = int(curves["step"].max()) if len(curves) else 0
    for name, reason in skipped.items():
        LOGGER.info("%s: skipped, %s", name, reason)
        directory.write_report(name, Report(status=Status.SKIPPED, notes=(reason,)), {}, {})
    for name, diagnostic in diagnostics.items():
        noise, formats = Noise(run.seed).at("diagnostic", name), run.config.get("figures", ())
        with timing.of("diagnostic", name):
            report = ask(diagnostic, run, noise, directory, name, run.config["diagnostic"][name], formats)
        if report.status is Status.FAILED:
            failed.append(name)
        board.scalars(
            last,
            {
                f"{name}/{key}": value.value
                for key, value in report.metrics.items()
                if value.value == value.value
            },
        )
    return failed


def ask(
    question: Question,
    subject: Run | Sequence[Run],
    noise: Noise,
    directory: ReportDirectory,
    name: str,
    spec: Mapping[str, Any],
    formats: Collection[str],
) -> Report:
    """What a diagnostic finds about a run, or a comparison about several; stored with its pictures, also
    where it failed."""
    with paper():
        try:
            report = question(subject, noise)
            pictures = question.plot(report)
        except NothingToMeasure as reason:
            report, pictures = Report(status=Status.SKIPPED, notes=(str(reason),)), {}
        except Exception as error:
            note_failure(directory, name, error)
            report, pictures = Report(status=Status.FAILED, notes=(f"{type(error).__name__}: {error}",)), {}
        directory.write_pictures(name, pictures, formats)
    directory.write_report(
        name,
        report,
        question.metrics,
        {"config": spec, "hash": fingerprint(spec), "answers": question.answers()},
    )
    if report.status is Status.OK:
        shown = ", ".join(f"{key} {value.value:.4g}" for key, value in list(report.metrics.items())[:4])
        LOGGER.info("%s: %s", name, shown)
    elif report.status is Status.SKIPPED:
        LOGGER.info("%s: skipped, %s", name, " ".join(report.notes))
    return report


def conclude(
    run: Run, directory: RunDirectory, board: Board, timing: Timing, activity: Activity, failed: list[str]
) -> int:
    """The summary row, the hyper-parameters for TensorBoard, the report page, the last state; the exit
    code."""
    with timing.of("report"):
        metrics, curves = directory.read_table("metrics"), directory.read_table("train")
        measured = {
            f"{m.diagnostic}/{m.metric}": float(m.value)
            for m in metrics.itertuples()
            if isinstance(m.metric, str)
        }
        settings = flatten(
            {key: run.config[key] for key in ("seed", "rows", "model", "network", "training", "data")}
        )
        choices = {key: value for key, value in directory.meta["choices"].items() if isinstance(value, str)}
        size = {"parameters": sum(p.numel() for p in run.model.parameters()), "epochs": len(curves)}
        directory.write_summary({**choices, **settings, **size, **measured})
        board.hparams({**choices, **settings})
        board.finish(True)
        if len(curves):
            with paper():
                directory.write_pictures("training", training_pictures(curves), run.config.get("figures", ()))
        directory.write_page(page(directory))
    activity.update(state="done", reason=f"failed diagnostics: {', '.join(failed)}" if failed else None)
    LOGGER.info("report %s", directory.path / "report.html")
    return 1 if failed else 0


# ---------------------------------------------------------------- records
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


@contextmanager
def recording(directory: RunDirectory, state: str) -> Iterator[Activity]:
    """Show that the run is being worked on, and log into its directory; how an error or a signal ended the
    work, and the traceback of one that nobody expected, stay there."""
    handler = log_to(directory.path / "run.log")
    try:
        with directory.activity(state) as activity:
            try:
                yield activity
            except BaseException as error:
                failed = isinstance(error, Exception)
                reason = ": ".join(filter(None, (type(error).__name__, str(error)))) if failed else str(error)
                activity.update(state="failed" if failed else "interrupted", reason=reason)
                if failed:
                    (directory.path / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
                else:
                    LOGGER.info("%s; to go on: latentrun resume=%s", error, directory.path)
                raise
    finally:
        LOGGER.removeHandler(handler)
        handler.close()
