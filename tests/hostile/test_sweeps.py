"""Bad sweeps, bad roots and bad names: nothing starts, and nothing outside is touched."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from PIL import Image

from latentrun.cli import main
from latentrun.data import images
from latentrun.data.formats import idx, sheet
from latentrun.data.formats.images import image_source
from latentrun.errors import InputError
from latentrun.store import ComparisonDirectory, RunDirectory, comparisons, now, twin
from latentrun.store.overview import matching
from latentrun.sweep.plan import Sweep
from latentrun.tables.collect import collect, collect_sweep, runs_in, write_tables
from latentrun.tasks.base import check_settings
from latentrun.tasks.sweep import unfinished
from tests.hostile.builder import COMPARISON, JOB, RUN, SWEEP
from tests.hostile.conftest import TINY, bounded, snapshot
from tests.hostile.spoil import OUTSIDE, filled
from tests.hostile.test_runs import refused


@pytest.mark.parametrize("name", SWEEP)
def test_a_bad_sweep_is_not_gone_on_with(name, kit, capsys, monkeypatch):
    bad = kit.spoiled("sweep", SWEEP[name])
    refused("resume", kit.answer("resume", bad, capsys, monkeypatch))


@pytest.mark.parametrize("name", SWEEP)
def test_tables_of_a_bad_sweep_write_nothing_outside(name, kit):
    bad = kit.spoiled("sweep", SWEEP[name])
    before = snapshot(kit.place / OUTSIDE)
    with bounded():
        try:
            write_tables(bad)
        except InputError as error:
            assert "\n" not in str(error)
    assert snapshot(kit.place / OUTSIDE) == before


@pytest.mark.parametrize("name", ["link at tables", "FIFO at status.json", "meta without diagnostics"])
def test_a_sweep_with_a_bad_run_is_not_gone_on_with(name, kit, capsys, monkeypatch):
    bad = kit.spoiled("sweep", lambda path: RUN[name](path / JOB))
    refused("resume", kit.answer("resume", bad, capsys, monkeypatch))


def test_a_good_sweep_goes_on_with_what_is_missing(kit):
    good = kit.spoiled("sweep", lambda path: None)
    assert [job.number for job in unfinished(Sweep(good))] == [1]
    write_tables(good)
    assert collect_sweep(good)[0]["state"].tolist() == ["done", "missing"]


@pytest.mark.parametrize("name", COMPARISON)
def test_a_bad_comparison_is_refused(name, kit):
    bad, place = kit.spoiled("comparison", COMPARISON[name]), kit.place
    before = snapshot(place)
    with bounded():
        comparisons(place.parent)  # what task=claims looks through
        with pytest.raises(InputError) as error:
            ComparisonDirectory(bad).check()
    assert "\n" not in str(error.value) and snapshot(place) == before


def test_a_good_comparison_is_read(kit):
    good = ComparisonDirectory(kit.spoiled("comparison", lambda path: None))
    good.check()
    assert len(good.read_table("metrics")) and "metrics" in good.reports


# ---------------------------------------------------------------- who works on a run
@pytest.mark.parametrize(
    "heartbeat", ["9999-12-31T23:59:59+00:00", "2026-11-21T00:00:00", "never", "", "9" * 400, None]
)
def test_a_strange_sign_of_life_locks_nothing(heartbeat, kit, capsys, monkeypatch):
    entries = {"state": "training", "host": "elsewhere", "pid": 1}
    entries |= {} if heartbeat is None else {"heartbeat": heartbeat}
    bad = kit.spoiled("stopped", filled("status.json", json.dumps(entries)))
    assert collect([bad])["state"].item() == "killed"
    answer = kit.answer("resume", bad, capsys, monkeypatch)
    assert answer.code == 0 and not answer.errors


def test_a_young_sign_of_life_does(kit, capsys, monkeypatch):
    entries = {"state": "training", "host": "elsewhere", "heartbeat": now()}
    bad = kit.spoiled("stopped", filled("status.json", json.dumps(entries)))
    assert collect([bad])["state"].item() == "training"
    answer = kit.answer("resume", bad, capsys, monkeypatch)
    assert answer.code == 2 and "is in use on elsewhere" in answer.errors[0]


# ---------------------------------------------------------------- links among many runs
def test_a_pattern_follows_no_link_and_a_full_name_does(kit):
    bad = kit.spoiled("run", lambda path: None)
    folder = kit.place / "out"
    (folder / "inner").mkdir(parents=True)
    for link in (folder / "a", folder / "inner" / "b"):
        link.symlink_to(bad)
    for pattern in (f"{folder}/*", f"{folder}/**", f"{folder}/?", str(folder), f"{kit.place}/ou*/a"):
        with pytest.raises(InputError, match="there is no run in|nothing is called"):
            runs_in([pattern])
    assert runs_in([f"{folder}/a"]) == [folder / "a"] and matching(f"{kit.place}/ba[d]") == [bad]
    assert twin(folder, {"fit_hash": RunDirectory(bad).meta["fit_hash"]}) is None
    assert twin(kit.place, {"fit_hash": RunDirectory(bad).meta["fit_hash"]}) == bad


def test_folders_that_lie_in_each_other_without_end_are_left(kit):
    def deep(path):
        for _ in range(300):
            path = path / "d"
            path.mkdir()

    bad = kit.spoiled("run", deep)
    with bounded():
        assert runs_in([str(kit.place)]) == [bad]


# ---------------------------------------------------------------- training where bad directories lie
BESIDE = (
    "FIFO at meta.json",
    "link at meta.json",
    "meta is deep",
    "terabytes at meta.json",
    "link at tables",
)


def test_a_training_does_not_mind_what_lies_in_its_output_root(kit, capsys, monkeypatch):
    kit.spoiled("run", lambda path: None)
    root = kit.place / "out"
    for number, name in enumerate(BESIDE):
        shutil.copytree(kit.run, root / "day" / str(number))
        (root / OUTSIDE / "folder").mkdir(parents=True, exist_ok=True)
        (root / OUTSIDE / "file.txt").write_text("mine")
        RUN[name](root / "day" / str(number))
    before = snapshot(root)
    line = [
        *TINY,
        "model=ae",
        "diagnostic=[]",
        f"output={root}",
        f"hydra.run.dir={root}/new",
        "training.epochs=1",
    ]
    with pytest.raises(SystemExit) as ended, bounded():
        main(line)
    assert ended.value.code == 0 and not capsys.readouterr().err
    assert before.items() <= snapshot(root).items()


@pytest.mark.parametrize("name", ["link at checkpoints/last.pt", "nonsense at checkpoints/best.pt"])
def test_a_training_that_cannot_be_taken_over_leaves_nothing(name, kit, capsys):
    bad = kit.spoiled("run", RUN[name])
    line = [
        *TINY,
        "model=ae",
        "diagnostic=[]",
        f"output={kit.place}",
        "reuse=true",
        f"hydra.run.dir={kit.place}/out",
    ]
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended, bounded():
        main(line)
    (said,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and str(bad) in said and not (kit.place / "out").exists()


# ---------------------------------------------------------------- names
@pytest.mark.parametrize("name", ["../../../victim", "/etc/x", "a/b", "..", ""])
@pytest.mark.parametrize("group", ["diagnostic", "comparison", "claim"])
def test_names_that_are_paths_are_refused_when_they_are_read(group, name):
    with pytest.raises(InputError, match="a plain name was expected"):
        check_settings({group: {name: {}}})


# ---------------------------------------------------------------- data of the user's
@pytest.mark.parametrize("kind", ["FIFO", "device", "folder", "giant"])
@pytest.mark.parametrize("key", ["file", "table", "npy", "npz", "idx"])
def test_data_are_plain_files_of_bounded_size(kind, key, tmp_path):
    name = {"file": "a.csv", "table": "a.csv", "npy": "a.npy", "npz": "a.npz", "idx": "a-idx3-ubyte"}[key]
    path = tmp_path / name
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 2**43)
    read = {
        "file": lambda: sheet.read(sheet.located(str(path)), ",", ()),
        "table": lambda: images._table(path, None),
        "npy": lambda: image_source(path),
        "npz": lambda: image_source(path),
        "idx": lambda: idx.shape_of(path, 3),
    }[key]
    with pytest.raises(InputError) as error, bounded():
        read()
    assert (
        "\n" not in str(error.value) and str(path) in str(error.value) and str(error.value).startswith("data")
    )


def test_links_below_a_folder_of_pictures_are_not_followed(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "a").mkdir(parents=True)
    Image.new("L", (4, 4)).save(folder / "a" / "0.png")
    (folder / "b").symlink_to(folder / "a")
    assert image_source(folder).names == ["a/0.png"]
    (folder / "a" / "1.png").symlink_to(folder / "a" / "0.png")
    with pytest.raises(InputError, match="1.png' is a link; a plain file was expected"):
        image_source(folder)
    (folder / "a" / "1.png").unlink()
    os.mkfifo(folder / "a" / "1.png")
    with pytest.raises(InputError, match="1.png' is a FIFO"), bounded():
        image_source(folder)


def test_the_number_of_cases():
    assert len(SWEEP) >= 45 and len(COMPARISON) >= 20
