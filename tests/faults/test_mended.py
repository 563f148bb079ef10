"""Directories that must not be written to, and what stays of a fault that was mended."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from latentrun.diagnostics.variables.stationarity import Stationarity
from latentrun.store import RunDirectory
from latentrun.system import disk
from latentrun.tasks import compare, measure
from tests.faults.shared import one_line, run


def protect(monkeypatch, *paths: Path) -> None:
    """Read-only, as a file system may be: root may write where a mode forbids it."""
    access, closed = os.access, {os.path.realpath(path) for path in paths}

    def checked(path, mode, **options):
        return not (mode & os.W_OK and os.path.realpath(path) in closed) and access(path, mode, **options)

    monkeypatch.setattr(disk.os, "access", checked)


CHANGING = {
    "diagnose": ("done", ["task=diagnose", "run=done", "diagnostic=[reconstruction]"]),
    "resume": ("stopped", ["resume=stopped"]),
    "compare": (
        "twin",
        ["task=compare", "runs=[done,twin]", "comparison=[metrics]", "hydra.run.dir=compared"],
    ),
}


@pytest.mark.parametrize("what", ["", "tables", "checkpoints", "run.lock", "run.log"])
@pytest.mark.parametrize("task", CHANGING)
def test_a_run_that_must_not_be_changed_is_refused_at_once(task, what, bench, capsys, monkeypatch):
    name, line = CHANGING[task]
    shutil.copytree(bench.done, bench.folder / "twin")
    protect(monkeypatch, bench.folder / name / what)
    for module in (measure, compare):
        monkeypatch.setattr(module, "extend", None)  # nothing is measured, the other run neither
    monkeypatch.setattr(compare, "missing", lacking(compare.missing))
    before = bench.files()
    assert run(*line) == 2
    inside = f" ({what})" if what else ""
    assert one_line(capsys) == f"latentrun: '{name}' cannot be changed: it is read-only{inside}\n"
    assert bench.files() == before


def lacking(missing):
    """As if a comparison needed a diagnostic that the runs do not have."""

    def needs(comparisons, run, config, trust):
        questions = missing(comparisons, run, config, trust)
        return type(questions)({"stationarity": None}, {"stationarity": {}}, {}, [])

    return needs


@pytest.mark.parametrize("line", [["task=encode"], ["task=sample", "n=3"], ["task=prune", "keep=[0]"]])
def test_a_run_that_is_only_read_may_be_read_only(line, bench, monkeypatch):
    protect(monkeypatch, bench.done, *bench.done.iterdir())
    before = {path: path.stat().st_mtime_ns for path in bench.done.rglob("*")}
    assert run(*line, "run=done", "hydra.run.dir=made") == 0
    assert {path: path.stat().st_mtime_ns for path in bench.done.rglob("*")} == before


def test_a_finished_run_says_so_where_nothing_can_be_written(bench, capsys, monkeypatch):
    protect(monkeypatch, bench.done)
    assert run("resume=done") == 0
    assert "is finished: nothing to resume" in capsys.readouterr().out


# ---------------------------------------------------------------- error.txt
def test_the_traceback_of_a_mended_fault_goes(bench, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Stationarity, "__call__", lambda *arguments: 1 / 0)
        assert run("resume=stopped") == 1
    error = bench.stopped / "error.txt"
    assert "ZeroDivisionError" in error.read_text()
    # another diagnostic succeeds: the fault is still there
    assert run("task=diagnose", "run=stopped", "diagnostic=[reconstruction]", "figures=[]") == 0
    assert error.exists()
    assert run("resume=stopped") == 0
    assert RunDirectory(bench.stopped).finished and not error.exists()


def test_a_resumed_run_says_of_what_it_had_failed(bench, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(measure, "pending", lambda *arguments: 1 / 0)
        patch.setattr("latentrun.tasks.fit.pending", lambda *arguments: 1 / 0)
        assert run("resume=stopped") == 1
    assert (bench.stopped / "error.txt").exists()
    assert run("resume=stopped") == 0
    assert RunDirectory(bench.stopped).meta["resumed"][1]["notes"] == [
        "it had failed: ZeroDivisionError: division by zero"
    ]
    assert not (bench.stopped / "error.txt").exists()
