"""Diagnostics are asked of a run, comparisons of several, and what they find is stored with its pictures."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from latentrun.config.build import happened
from latentrun.config.fingerprint import fingerprint
from latentrun.diagnostics.base import Question
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.plotting.style import GREY, paper
from latentrun.run import Run
from latentrun.store import ReportDirectory, RunDirectory
from latentrun.system.provenance import commit
from latentrun.tasks.changed import cautions
from latentrun.tasks.console import LOGGER, measuring, table_lines, told
from latentrun.tasks.contract import picture_slips, report_slips
from latentrun.tasks.findings import note_findings
from latentrun.tasks.questions import Questions
from latentrun.tasks.records import Records, conclude, recording
from latentrun.types import Picture, Report, Status


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
    for number, name in enumerate(names, 1):
        noise = Noise(run.seed).at("diagnostic", name)
        with records.timing.of("diagnostic", name), measuring(name, number, len(names)):
            diagnostic, spec = questions.diagnostics[name], questions.specs[name]
            answer = partial(diagnostic, run, noise)
            report = ask(diagnostic, answer, directory, name, spec, questions.figures, run.data.cmap)
        noted = note_findings(run, directory, name, diagnostic, report)
        if report.status is Status.FAILED or not noted:
            failed.append(name)
        numbers = {key: estimate.value for key, estimate in report.metrics.items()}
        records.board.metrics(last, {f"{name}/{key}": value for key, value in numbers.items()})
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
    these ``formats``, none where it names none, also where it failed: then it names file and line.
    ``cmap``: see :func:`~latentrun.plotting.style.paper`."""
    with paper(cmap):
        report, pictures = answered(question, answer, directory, name, bool(formats))
        try:
            directory.write_pictures(name, pictures, formats)
        except (InputError, OSError):  # not the figure's fault: the directory's, or the disk's
            raise
        except Exception as error:  # some figures fail only as they are drawn
            report = failure(directory, name, question, error)
            directory.write_pictures(name, {}, formats)
    entry = {"config": spec, "hash": fingerprint(spec), "git": commit(), "answers": question.answers()}
    directory.write_report(name, report, question.metrics, entry)
    if report.status is Status.OK:
        LOGGER.info("%s", told(name, question.metrics, report))
        for line in table_lines(report.tables.get(question.console_table or "")):
            LOGGER.info("%s", line)
    elif report.status is Status.SKIPPED:
        LOGGER.info("%s: skipped, %s", name, " ".join(report.notes))
    return report


def answered(
    question: Question, answer: Callable[[], Report], directory: ReportDirectory, name: str, draws: bool
) -> tuple[Report, Mapping[str, Picture]]:
    """The report, and its pictures where it ``draws``; of a question that fails, or does not keep what it
    promises, a report that says so."""
    try:
        report = answer()
        require_kept(report_slips(question, report))
        pictures = question.plot(report) if draws else {}
        require_kept(picture_slips(question, pictures))
    except NothingToMeasure as reason:
        return Report(status=Status.SKIPPED, notes=(str(reason),)), {}
    except Exception as error:
        return failure(directory, name, question, error), {}
    return report, pictures


def write_skipped(directory: ReportDirectory, name: str, reason: str) -> None:
    """Say that a diagnostic or comparison was not asked, and why."""
    LOGGER.info("%s: skipped, %s", name, reason)
    directory.write_report(name, Report(status=Status.SKIPPED, notes=(reason,)), {}, {})


def redraw(directory: RunDirectory, questions: Questions, names: Sequence[str], cmap: str) -> list[str]:
    """Draw the pictures of what is measured already, from what is on disk; the names of those that failed."""
    failed = []
    for name in names if questions.figures else ():
        with paper(cmap):
            diagnostic = questions.diagnostics[name]
            try:
                pictures = diagnostic.plot(directory.read_report(name))
                require_kept(picture_slips(diagnostic, pictures))
                directory.write_pictures(name, pictures, questions.figures)
            except Exception as error:
                failed.append(name)
                failure(directory, name, diagnostic, error)
    return failed


class BrokenPromise(Exception):
    """A diagnostic or comparison does not keep what it promises; the text says what, in which file and
    line."""


def require_kept(slips: Sequence[str]) -> None:
    """BrokenPromise where there are any."""
    if slips:
        raise BrokenPromise("; ".join(slips))


def failure(directory: ReportDirectory, name: str, question: Question, error: Exception) -> Report:
    """The report of a diagnostic or comparison that failed, which says where in its file; logged, with the
    traceback in error.txt."""
    broken = isinstance(error, BrokenPromise)
    text = str(error) if broken else happened(error, type(question).__module__)
    LOGGER.error("%s failed: %s", name, text)
    directory.write_error(traceback.format_exc())
    return Report(status=Status.FAILED, notes=(text,))
