"""Every task on every bad run: exit code 2 and one line, nothing written outside, nothing half-written, no
Python error, no more than 10 s."""

from __future__ import annotations

from contextlib import suppress

import pytest

from latentrun.claims.evidence import Evidence
from latentrun.errors import InputError
from latentrun.store.overview import inside
from latentrun.store.twins import comparisons, fits, twin
from latentrun.system.door import Guarded
from latentrun.tables.collect import collect, runs_in
from tests.hostile import builder
from tests.hostile.builder import RUN
from tests.hostile.conftest import TASKS, bounded, snapshot

# Tasks that come upon a spoiling and must refuse the run for it, where they are not these two.
USUAL = ("resume", "encode")
MEASURED = (
    *builder.STATUS,
    *builder.TABLES,
    *(f"{what} at status.json" for what in ("terabytes", "nonsense")),
    *(f"{what} at tables/timing.csv" for what in ("terabytes", "nonsense")),
    *(f"{what} at tables/reconstruction.errors.csv" for what in ("terabytes", "nonsense")),
    *(f"{what} at arrays/reconstruction.npz" for what in ("terabytes", "nonsense")),
    "meta without choices",
    "hard link at run.lock",
    "hard link at run.log",
)
CODED = (*builder.CODES, *(f"{what} at arrays/latents_train.npz" for what in ("terabytes", "nonsense")))
LOADED = (
    *builder.BEST,
    "meta without data",
    "meta with a strange shape of the data",
    "meta with a negative shape of the data",
)
READERS = {
    **dict.fromkeys(MEASURED, ("resume", "diagnose")),
    **dict.fromkeys(CODED, ("encode", "sample")),
    **dict.fromkeys(LOADED, ("encode", "diagnose")),
    **dict.fromkeys((*builder.LAST, "terabytes at checkpoints/last.pt"), ("resume",)),
    "terabytes at checkpoints/best.pt": ("encode", "diagnose", "resume"),
}
# What only task=report reads, which shows the run as unreadable and goes on with the others.
REPORTED = {*builder.SUMMARY, "terabytes at tables/summary.json", "nonsense at tables/summary.json"}
# A damaged checkpoint is no reason to give up: another one holds the weights too.
MENDED = {"nonsense at checkpoints/best.pt": "encode", "nonsense at checkpoints/last.pt": "resume"}


def refused(task, answer) -> None:
    """One line and exit code 2; nothing half-written."""
    assert answer.code == 2, (task, answer)
    assert len(answer.errors) == 1 and len(answer.errors[0]) < 800, (task, answer)
    assert "Traceback" not in answer.out and not answer.left and not answer.changed, (task, answer)


@pytest.mark.parametrize("name", [name for name in RUN if name not in REPORTED | MENDED.keys()])
def test_a_bad_run_is_refused(name, kit, capsys, monkeypatch):
    for task in READERS.get(name, USUAL):
        bad = kit.spoiled("stopped" if task == "resume" else "run", RUN[name])
        refused(task, kit.answer(task, bad, capsys, monkeypatch))


@pytest.mark.parametrize("name", sorted(REPORTED))
def test_what_only_tables_of_runs_need_makes_an_unreadable_row(name, kit, capsys, monkeypatch):
    bad = kit.spoiled("run", RUN[name])
    with bounded():
        row = collect(runs_in([str(bad)])).iloc[0]
    assert row["state"] == "unreadable" and row["reason"] and "\n" not in row["reason"]
    answer = kit.answer("report", bad, capsys, monkeypatch)
    assert answer.code == 0 and not answer.errors and not answer.changed


@pytest.mark.parametrize("name", MENDED)
def test_a_run_with_a_damaged_checkpoint_is_used_and_it_is_said(name, kit, capsys, monkeypatch):
    task, file = MENDED[name], name.rpartition("/")[2]
    bad = kit.spoiled("stopped" if task == "resume" else "run", RUN[name])
    answer = kit.answer(task, bad, capsys, monkeypatch)
    assert answer.code == 0 and not answer.errors and f"{file}' cannot be read: it is damaged" in answer.out


@pytest.mark.parametrize("name", RUN)
def test_nobody_who_looks_for_runs_minds_a_bad_one(name, kit):
    """What every training and task=claims do with the output root, and task=report with all."""
    bad = kit.spoiled("run", RUN[name])
    before = snapshot(kit.place)
    with bounded():
        fits(kit.place, ["abc"])
        twin(kit.place, {"fit_hash": "abc", "data_hash": "abc"})
        comparisons(kit.place)
        evidence = Evidence([kit.job], Guarded(kit.place) / "logs", {0: kit.data_hash})
        evidence.look(kit.place)
        for act in (evidence.incomplete, lambda: evidence.metrics(kit.job)):
            with suppress(InputError):
                act()
        inside(kit.place)
        states = collect(runs_in([str(kit.run.parent)]))["state"]
    assert "done" in set(states) and snapshot(kit.place) == before, bad


def test_good_runs_pass(kit, capsys, monkeypatch):
    """The kit itself: what is refused is refused for its spoiling."""
    for task in TASKS:
        good = kit.spoiled("stopped" if task == "resume" else "run", lambda path: None)
        answer = kit.answer(task, good, capsys, monkeypatch)
        assert answer.code == 0 and not answer.errors, (task, answer)


def test_the_number_of_cases():
    assert len(RUN) >= 180 and REPORTED | MENDED.keys() | READERS.keys() <= RUN.keys()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_task_survives_every_bad_run(task, kit, capsys, monkeypatch):
    for name, spoil in RUN.items():
        bad = kit.spoiled("stopped" if task == "resume" else "run", spoil)
        answer = kit.answer(task, bad, capsys, monkeypatch)
        assert answer.code in (0, 2) and "Traceback" not in answer.out, (name, answer)
        if answer.code == 2:
            refused(task, answer)
