"""Data that are not those of the run any more: said in one line, before anything is loaded or measured."""

from __future__ import annotations

import json

import pytest

from latentrun.store import RunDirectory
from latentrun.tasks import fit, loading, measure
from tests.faults.shared import one_line, run, write_homes


def edited(change):
    def fault(folder):
        path = folder / "homes.csv"
        head, *rows = path.read_text().splitlines()
        path.write_text("\n".join(change([head, *rows])) + "\n")

    return fault


def shuffled_columns(lines):
    return [",".join((b, a, *rest)) for a, b, *rest in (line.split(",") for line in lines)]


CHANGES = {
    "a row added": (edited(lambda lines: [*lines, "0.1,0.2,0.3,gas"]), "121 rows instead of 120, digest "),
    "a row gone": (edited(lambda lines: lines[:-1]), "119 rows instead of 120, digest "),
    "a column added": (
        edited(
            lambda lines: [lines[0] + ",e", *(f"{line},{i * i % 97}.5" for i, line in enumerate(lines[1:]))]
        ),
        "column 'e' added, digest ",
    ),
    "a column gone": (edited(lambda lines: [line.partition(",")[2] for line in lines]), "column 'a' gone, "),
    "a column renamed": (
        edited(lambda lines: [lines[0].replace("b", "rooms"), *lines[1:]]),
        "column 'rooms' added, column 'b' gone; ",
    ),
    "columns in another order": (edited(shuffled_columns), "columns in another order, digest "),
    "a new category": (
        edited(lambda lines: [*lines[:-1], lines[-1].replace("wood", "sun")]),
        "column 'heating' of another kind or other levels, digest ",
    ),
    "a value": (
        edited(lambda lines: [lines[0], "0.5" + lines[1][lines[1].index(",") :], *lines[2:]]),
        "other values, digest ",
    ),
}

USES = {
    "encode": ["task=encode", "hydra.run.dir=codes"],
    "diagnose": ["task=diagnose", "diagnostic=[stationarity]", "figures=[]"],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_training_is_not_gone_on_with_on_other_data(name, bench, capsys, monkeypatch):
    fault, said = CHANGES[name]
    fault(bench.folder)
    before = bench.files()
    monkeypatch.setattr(fit.RunDirectory, "load_checkpoint", None)  # nothing is loaded
    assert run("resume=stopped") == 2
    error = one_line(capsys)
    assert "'stopped': the data have changed since the run began: " in error and said in error
    assert "task=diagnose" not in error  # there is nothing to measure yet
    assert bench.files() == before


def test_a_file_that_does_not_even_read(bench, capsys):
    (bench.folder / "homes.csv").write_text("a,b\n1\n")
    assert run("resume=stopped") == 2
    assert "'stopped': its data cannot be had as they were when it began: data.file: " in one_line(capsys)


def test_what_is_trained_can_be_measured_all_the_same(bench, capsys):
    status = json.loads((bench.done / "status.json").read_text())
    (bench.done / "status.json").write_text(json.dumps(status | {"state": "interrupted"}))
    CHANGES["a row added"][0](bench.folder)
    assert run("resume=done") == 2
    assert one_line(capsys).endswith("; task=diagnose run=done measures what is trained\n")
    assert run("task=diagnose", "run=done", "diagnostic=[reconstruction]", "figures=[]") == 0
    note = "the run's data are not those it was trained on: 121 rows instead of 120, digest "
    assert note in capsys.readouterr().out and note in (bench.done / "run.log").read_text()


@pytest.mark.parametrize("task", USES)
@pytest.mark.parametrize(
    "name, said",
    [
        ("a row gone", "are not those it was trained on: 119 rows instead of 120, digest "),
        ("a value", "are not those it was trained on: other values, digest "),
        ("a column added", None),  # the model does not see it
        ("columns in another order", None),
    ],
)
def test_other_rows_are_noted_where_they_are_used(name, said, task, bench, capsys):
    CHANGES[name][0](bench.folder)
    assert run(*USES[task], "run=done") == 0
    shown = capsys.readouterr().out
    assert said in shown if said else "not those" not in shown


@pytest.mark.parametrize("name", ["a column gone", "a column renamed", "a new category"])
@pytest.mark.parametrize("task", USES)
def test_data_that_do_not_fit_are_refused_before_anything_is_written(name, task, bench, capsys, monkeypatch):
    CHANGES[name][0](bench.folder)
    before = bench.files()
    monkeypatch.setattr(measure, "measure", None)  # nothing is measured
    assert run(*USES[task], "run=done") == 2
    assert "data.file: 'homes.csv'" in one_line(capsys) or name == "a new category"
    assert bench.files() == before
    assert RunDirectory(bench.done).status["state"] == "done"


def test_data_that_are_as_they_were_are_not_spoken_of(bench, capsys):
    write_homes(bench.folder)
    assert run("resume=stopped") == 0
    assert RunDirectory(bench.stopped).meta["resumed"][0]["notes"] == []
    assert loading.load(bench.stopped).notes == ()
