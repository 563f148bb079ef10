"""Files that a fault has changed: each is noticed when it is read, and nothing is measured by what it
holds."""

from __future__ import annotations

import json
import shutil
import zipfile
from itertools import cycle, product

import numpy as np
import pytest
import torch

import latentrun
from latentrun.errors import InputError
from latentrun.store import RunDirectory
from tests.faults.shared import SMALL, one_line, run

USES = {
    "encode": ["task=encode", "run=done"],
    "sample": ["task=sample", "run=done", "n=3"],
    "diagnose": ["task=diagnose", "run=done", "diagnostic=[reconstruction]", "figures=[]"],
    "compare": [
        "task=compare",
        "runs=[done,twin]",
        "comparison=[metrics]",
        "diagnostic=[reconstruction]",
        "figures=[]",
    ],
    "prune": ["task=prune", "run=done", "keep=[0]"],
}


def empty(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path, share=0.3):
    """One bit of an array, so that everything can still be read."""
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 0x10
    path.write_bytes(content)


def flip_weight(path):
    """The highest bit of the mantissa of one weight, which lies somewhere in the archive."""
    weight = next(iter(torch.load(path, weights_only=True)["model"].values())).numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(weight) + 2] ^= 0x40
    path.write_bytes(content)


FAULTS = {"empty": empty, "cut": cut, "flipped": flip_weight}


def unlinked(path):
    """A copy of its own: the checkpoint before may be a second name of the same file."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    return path


def used(task, bench, number=0):
    """The exit code of a task on the run ``done``, into a new folder."""
    twin = bench.folder / "twin"
    if task == "compare" and not twin.exists():
        shutil.copytree(bench.done, twin)
    return run(*USES[task], f"hydra.run.dir=out_{task}_{number}")


# ---------------------------------------------------------------- a run that is gone on with
@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_last_checkpoint_is_replaced_by_the_one_before(fault, bench):
    whole = latentrun.load(bench.done).model.state_dict()  # of the same settings, never stopped
    FAULTS[fault](unlinked(bench.stopped / "checkpoints" / "last.pt"))
    assert run("resume=stopped") == 0
    note = RunDirectory(bench.stopped).meta["resumed"][0]["notes"][0]
    assert "last.pt' cannot be read: " in note and note.endswith("the checkpoint before it is used")
    assert note in (bench.stopped / "run.log").read_text()
    again = latentrun.load(bench.stopped).model.state_dict()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize("fault", FAULTS)
def test_with_both_checkpoints_broken_it_begins_anew_and_says_so(fault, bench):
    for name in ("last.pt", "last.previous.pt"):
        FAULTS[fault](unlinked(bench.stopped / "checkpoints" / name))
    assert run("resume=stopped") == 0
    entry = RunDirectory(bench.stopped).meta["resumed"][0]
    assert entry["from"].startswith("from the beginning") and len(entry["notes"]) == 2


def test_codes_recorded_before_are_checked(bench, capsys):
    for name, fault in (("epochs", flip), ("steps", flip), ("epochs", empty)):
        path = bench.stopped / "arrays" / f"history_{name}.f32"
        before = path.read_bytes()
        fault(path)
        assert run("resume=stopped") == 2
        assert f"history_{name}.f32'" in one_line(capsys)
        path.write_bytes(before)
    assert run("resume=stopped") == 0


def test_the_checkpoints_before_the_last_are_kept_until_the_training_ends(bench):
    names = {
        path: {file.name for file in (path / "checkpoints").iterdir()} for path in (bench.done, bench.stopped)
    }
    assert names[bench.done] == {"best.pt", "last.pt"}
    assert "last.previous.pt" in names[bench.stopped]


def test_a_run_whose_training_is_over_can_lose_its_last_checkpoint(bench):
    """Only measuring was interrupted: what was recorded has become the history already."""
    status = json.loads((bench.done / "status.json").read_text())
    (bench.done / "status.json").write_text(json.dumps(status | {"state": "interrupted"}))
    empty(unlinked(bench.done / "checkpoints" / "last.pt"))
    before = latentrun.load(bench.done).model.state_dict()
    assert run("resume=done") == 0
    assert RunDirectory(bench.done).status["state"] == "done"
    after = latentrun.load(bench.done).model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


# ---------------------------------------------------------------- a run that is used
EACH = [*zip(cycle(FAULTS), USES, strict=False)]  # every task and every fault once
REST = [pytest.param(*pair, marks=pytest.mark.slow) for pair in product(FAULTS, USES) if pair not in EACH]


@pytest.mark.parametrize(("fault", "task"), [*EACH, *REST])
def test_the_best_weights_come_from_the_last_checkpoint_where_they_cannot_be_read(fault, task, bench, capsys):
    FAULTS[fault](unlinked(bench.done / "checkpoints" / "best.pt"))
    assert used(task, bench) == 0
    said = capsys.readouterr()
    assert "best.pt' cannot be read: " in said.out and "the weights of last.pt are used" in said.out
    FAULTS[fault](unlinked(bench.done / "checkpoints" / "last.pt"))
    before = bench.files()
    assert used(task, bench, 1) == 2
    assert "best.pt' cannot be read: " in one_line(capsys) and bench.files() == before


def test_the_weights_of_the_last_checkpoint_are_the_best(bench):
    for path in (bench.done, bench.stopped):
        best = latentrun.load(path).model.state_dict()
        empty(unlinked(path / "checkpoints" / "best.pt"))
        run_ = latentrun.load(path)
        other = run_.model.state_dict()
        assert all(torch.equal(best[name], other[name]) for name in best) and len(run_.notes) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("task", USES)
def test_weights_that_are_no_numbers_are_used_for_nothing(task, value, bench, capsys):
    path = bench.done / "checkpoints" / "best.pt"
    state = torch.load(path, weights_only=True)
    name = list(state["model"])[2]
    state["model"][name].view(-1)[0] = value
    torch.save(state, unlinked(path))
    before = bench.files()
    assert used(task, bench) == 2
    error = one_line(capsys)
    shutil.rmtree(bench.folder / "twin", ignore_errors=True)
    assert f"NaN or infinite weights, in {name!r}: its training diverged" in error
    assert bench.files() == before


def test_a_training_that_diverged_is_not_gone_on_with(bench, capsys):
    path = bench.stopped / "checkpoints" / "last.pt"
    state = torch.load(path, weights_only=True)
    for values in state["model"].values():
        values[...] = float("nan")
    torch.save(state, unlinked(path))
    before = bench.files()
    assert run("resume=stopped") == 2
    assert "and 6 more: its training diverged" in one_line(capsys) and bench.files() == before


def test_a_checkpoint_of_another_model_names_tensor_and_shapes(bench, capsys):
    for path in (bench.done / "checkpoints" / "best.pt", bench.stopped / "checkpoints" / "last.pt"):
        state = torch.load(path, weights_only=True)
        name = list(state["model"])[0]
        shape = state["model"][name].shape
        state["model"][name] = torch.zeros(5, 5)
        torch.save(state, unlinked(path))
    for line in (USES["encode"], ["resume=stopped"]):
        assert run(*line) == 2
        error = one_line(capsys)
        assert f"{name} has shape (5, 5); the model needs {tuple(shape)}" in error


def test_a_damaged_training_is_not_taken_over(bench, capsys):
    empty(unlinked(bench.done / "checkpoints" / "last.pt"))
    before = bench.files()
    assert run(*SMALL, "output=.", "reuse=true", "hydra.run.dir=new") == 2
    error = one_line(capsys)
    assert "reuse: checkpoint 'done/checkpoints/last.pt' cannot be read: it is empty" in error
    assert error.endswith("reuse=false trains anew\n") and bench.files() == before


@pytest.mark.parametrize("array", ["history", "latents_train"])
@pytest.mark.parametrize("fault", [empty, cut, flip])
def test_arrays_are_checked_too(array, fault, bench, capsys):
    fault(bench.done / "arrays" / f"{array}.npz")
    with pytest.raises(InputError, match=f"{array}.npz' cannot be read: "):
        RunDirectory(bench.done).read_arrays(array)


# ---------------------------------------------------------------- every place of a file
def same(first, second) -> bool:
    """Whether two trees of tensors and plain values are equal."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    return first == second


def test_any_changed_byte_of_a_checkpoint_is_noticed_or_does_no_harm(tmp_path):
    state = {"model": {"weight": torch.arange(12.0).reshape(3, 4)}, "epoch": 3}
    (tmp_path / "meta.json").write_text('{"schema": 3, "diagnostics": {}}')
    path = tmp_path / "checkpoints" / "best.pt"
    path.parent.mkdir()
    torch.save(state, path)
    whole, directory = path.read_bytes(), RunDirectory(tmp_path)
    listed = zipfile.ZipFile(path).start_dir  # nothing but their list says what the entries are
    bits = [(place, bit) for place in range(listed, len(whole)) for bit in (0, 4)]
    bits += [(place, place % 8) for place in range(0, listed, 5)]
    noticed = 0
    for place, bit in bits:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
        try:
            assert same(directory.load_checkpoint("best"), state)
        except InputError as error:
            noticed += 1
            assert "\n" not in str(error)
    print(f"{noticed} of {len(bits)} checkpoints with a changed bit are refused, the others hold the same")
    assert noticed > 0.5 * len(bits)
    for length in range(0, len(whole), 100):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="cannot be read: it is (empty|damaged)"):
            directory.load_checkpoint("best")


def test_any_changed_byte_of_an_array_is_noticed_or_does_no_harm(tmp_path):
    arrays = {"codes": np.arange(6.0).reshape(2, 3), "index": np.arange(2)}
    (tmp_path / "meta.json").write_text('{"schema": 3, "diagnostics": {}}')
    directory = RunDirectory(tmp_path)
    directory.write_arrays("history", arrays)
    path = tmp_path / "arrays" / "history.npz"
    whole, noticed = path.read_bytes(), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        try:
            after = directory.read_arrays("history")
            assert after.keys() == arrays.keys() and all(np.array_equal(after[k], arrays[k]) for k in arrays)
        except InputError:
            noticed += 1
    print(f"{noticed} of {len(whole)} arrays with a changed bit are refused, the others hold the same")
    assert noticed > 0.5 * len(whole)
