"""Files of a run directory that a stranger wrote: none runs code, and none unfolds into more than it
holds."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

from latentrun.errors import InputError
from latentrun.store.intake import read_npz, read_yaml, require_stored
from latentrun.system.door import Guarded


def test_yaml_of_plain_values_is_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: {b: [1, 2.5, null, true, text]}\n")
    assert read_yaml(Guarded(tmp_path) / "a.yaml") == {"a": {"b": [1, 2.5, None, True, "text"]}}


@pytest.mark.parametrize(
    "text, said",
    [
        ("!!python/object/apply:os.system ['touch canary']", "could not determine a constructor"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "a reference in line 2"),
        ("a: [1", "expected"),
        ("just text", "must be a mapping"),
        ("[" * 5000 + "]" * 5000, "cannot be read"),
    ],
)
def test_other_yaml_is_refused_in_one_line(text, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=said) as error:
        read_yaml(Guarded(tmp_path) / "a.yaml")
    assert "\n" not in str(error.value) and not (tmp_path / "canary").exists()


def test_arrays_come_back(tmp_path):
    arrays = {
        "x": np.arange(6.0).reshape(2, 3),
        "n": np.array(3),
        "s": np.array(["a", "bc"]),
        "e": np.zeros((0, 4)),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    found = read_npz(Guarded(tmp_path) / "a.npz")
    assert found.keys() == arrays.keys() and all(np.array_equal(found[k], arrays[k]) for k in arrays)


def test_arrays_that_unfold_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros(10**6))
    with pytest.raises(InputError, match="unfolds into more than it holds"):
        read_npz(Guarded(tmp_path) / "bomb.npz")
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(InputError, match="unfolds into more than it holds"):
        read_npz(Guarded(tmp_path) / "claims.npz")


def test_pickled_arrays_and_broken_files_are_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04nothing")
    for name in ("objects", "broken"):
        with pytest.raises(InputError, match="cannot be read"):
            read_npz(Guarded(tmp_path) / f"{name}.npz")


def test_tensors_must_have_their_values():
    require_stored({"a": [torch.zeros(3), torch.zeros(4, 4).T, torch.zeros(10)[2:5]], "b": 1, "c": "x"}, "it")
    with pytest.raises(InputError, match=r"it holds a tensor of shape \(1099511627776,\) without its values"):
        require_stored({"a": [torch.zeros(1).expand(2**40)]}, "it")
