"""Diagnostics are asked of a run, comparisons of several, and what they find is stored with its pictures."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from latentrun.config.fingerprint import fingerprint
from latentrun.diagnostics.base import Question
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.plotting.style import GREY, paper
from latentrun.run import Run
from latentrun.store import ReportDirectory, RunDirectory
from latentrun.tasks.changed import cautions
from latentrun.tasks.console import LOGGER
from latentrun.tasks.findings import note_findings
from latentrun.tasks.questions import Questions
from latentrun.tasks.records import Records, conclude, recording
from latentrun.types import Report, Status


def extend(run: Run, directory: RunDirectory, questions: Questions, force: bool = False) -> int:
    """Measure what a finished run lacks of the diagnostics that are asked and bring its directory up to date;
    the exit code. ``force``: measure all of them again."""
    directory.check()
    with directory.locked():
        notes = cautions(run)  # before anything is written: files of the data may be gone
        with recording(directory, "diagnosing") as records:
            for note in notes:
                LOGGER.warning("%s", note)
            names = pending(directory, questions, force)
            measured = [name for name in questions.diagnostics if name not in names]
            failed = measure(run, questions, names, records)
            failed += redraw(directory, questions, measured, run.data.cmap)
            return conclude(run, records, questions.figures, failed)


def pending(directory: RunDirectory, questions: Questions, force: bool = False) -> list[str]:
    """The diagnostics that the run does not have yet with these settings."""
    hashes = {
        name: entry.get("hash")
        for name, entry in directory.meta["diagnostics"].items()
        if entry["status"] == Status.OK
    }
    names = [
        name
        for name in questions.diagnostics
        if force or hashes.get(name) != fingerprint(questions.specs[name])
    ]
    for name in questions.diagnostics:
        if name not in names:
            LOGGER.info("%s: already measured with these settings (force=true measures again)", name)
    return names


def measure(run: Run, questions: Questions, names: Sequence[str], records: Records) -> list[str]:
    """Ask the diagnostics ``names`` one after the other and store each as soon as it is there, and why others
    are skipped; the names of those that failed."""
    directory, failed = records.directory, []
    curves = directory.read_table("train")
    last = int(curves["step"].max()) if len(curves) else 0
    for name, reason in questions.skipped.items():
        write_skipped(directory, name, reason)
    for name in names:
        noise = Noise(run.seed).at("diagnostic", name)
        with records.timing.of("diagnostic", name):
            diagnostic, spec = questions.diagnostics[name], questions.specs[name]
            answer = partial(diagnostic, run, noise)
            report = ask(diagnostic, answer, directory, name, spec, questions.figures, run.data.cmap)
        if report.status is Status.FAILED:
            failed.append(name)
        note_findings(run, directory, name, diagnostic, report)
        numbers = {key: estimate.value for key, estimate in report.metrics.items()}
        shown = {f"{name}/{key}": value for key, value in numbers.items() if value == value}  # not NaN
        records.board.scalars(last, shown)
    return failed


def ask(
    question: Question,
    answer: Callable[[], Report],
    directory: ReportDirectory,
    name: str,
    spec: Mapping[str, Any],
    formats: Collection[str],
    cmap: str = GREY,
) -> Report:
    """What a diagnostic says of a run, or a comparison of several, by ``answer``; stored with its pictures in
    these ``formats``, none where it names none, also where it failed. ``cmap``: see
    :func:`~latentrun.plotting.style.paper`."""
    with paper(cmap):
        try:
            report = answer()
            pictures = question.plot(report) if formats else {}
        except NothingToMeasure as reason:
            report, pictures = Report(status=Status.SKIPPED, notes=(str(reason),)), {}
        except Exception as error:
            note_failure(directory, name, error)
            report, pictures = Report(status=Status.FAILED, notes=(f"{type(error).__name__}: {error}",)), {}
        directory.write_pictures(name, pictures, formats)
    entry = {"config": spec, "hash": fingerprint(spec), "answers": question.answers()}
    directory.write_report(name, report, question.metrics, entry)
    if report.status is Status.OK:
        shown = ", ".join(f"{key} {value.value:.4g}" for key, value in list(report.metrics.items())[:4])
        LOGGER.info("%s: %s", name, shown)
    elif report.status is Status.SKIPPED:
        LOGGER.info("%s: skipped, %s", name, " ".join(report.notes))
    return report


def write_skipped(directory: ReportDirectory, name: str, reason: str) -> None:
    """Say that a diagnostic or comparison was not asked, and why."""
    LOGGER.info("%s: skipped, %s", name, reason)
    directory.write_report(name, Report(status=Status.SKIPPED, notes=(reason,)), {}, {})


def redraw(directory: RunDirectory, questions: Questions, names: Sequence[str], cmap: str) -> list[str]:
    """Draw the pictures of what is measured already, from what is on disk; the names of those that failed."""
    failed = []
    for name in names if questions.figures else ():
        with paper(cmap):
            try:
                pictures = questions.diagnostics[name].plot(directory.read_report(name))
                directory.write_pictures(name, pictures, questions.figures)
            except Exception as error:
                failed.append(name)
                note_failure(directory, name, error)
    return failed


def note_failure(directory: ReportDirectory, name: str, error: Exception) -> None:
    """Log that a diagnostic or comparison failed and leave the traceback."""
    LOGGER.error("%s failed: %s: %s", name, type(error).__name__, error)
    directory.write_error(traceback.format_exc())
