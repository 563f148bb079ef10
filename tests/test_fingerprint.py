"""Hashes of fits and diagnostics change with the code that they hang on, and with nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import latentrun
from latentrun.config import fingerprint as module
from latentrun.config.fingerprint import fingerprint, fit_hash, sources

VAE = {"model": {"_target_": "latentrun.models.vae.VAE"}}
HULL = {"_target_": "latentrun.diagnostics.codes.hull.Hull"}


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of latentrun's code, which is hashed in its place."""
    root = tmp_path / "latentrun"
    shutil.copytree(Path(latentrun.__file__).parent, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "ROOT", root)
    return root


def write(path: Path, text: str) -> None:
    """Write a file anew; its time of change is another, however coarse the clock of the disk."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(before + 1_000_000, before + 1_000_000))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    write(path, text.replace(old, new, 1))


# ---------------------------------------------------------------- what counts
@pytest.mark.parametrize(
    ("spec", "file"),
    [
        (VAE, "models/vae.py"),
        (VAE, "models/base.py"),
        (VAE, "nn/likelihood.py"),
        (VAE, "functional/noise.py"),  # of the data that a model may be given, two imports away
        (VAE, "functional/statistics/intervals.py"),
        (VAE, "manifolds/euclidean.py"),  # imported by its package's __init__
        (HULL, "functional/clouds/hulls.py"),
        (HULL, "run.py"),
        ({"training": {"_target_": "latentrun.training.loop.Training"}}, "training/sources.py"),
    ],
)
def test_code_that_is_imported_counts(copy, spec, file):
    before = fingerprint(spec)
    assert fingerprint(spec) == before
    path = copy / file
    write(path, f"{path.read_text()}\nCHANGED = 1\n")
    assert fingerprint(spec) != before


def test_every_statement_counts(copy):
    path = copy / "functional" / "distances" / "divergences.py"
    before, text = fingerprint(VAE), path.read_text()
    for old, new in (("def ", "def other_"), ("2 * log", "3 * log"), (" + torch", " - torch")):
        change(path, old, new)
        assert fingerprint(VAE) != before, old
        write(path, text)
    assert fingerprint(VAE) == before


@pytest.mark.parametrize(
    "file", ["diagnostics/codes/knn.py", "plotting/style.py", "errors.py", "tasks/fit.py", "cli.py"]
)
def test_other_code_does_not(copy, file):
    before = fingerprint(VAE)
    write(copy / file, "CHANGED = 1\n")
    assert fingerprint(VAE) == before


def test_drawing_is_no_part_of_a_diagnostic(copy):
    before = fingerprint(HULL)
    write(copy / "plotting" / "hull.py", "CHANGED = 1\n")
    assert fingerprint(HULL) == before


def test_names_for_type_checkers_bind_nobody(copy):
    path = copy / "models" / "vae.py"
    before = fingerprint(VAE)
    change(
        path,
        "from __future__ import annotations\n",
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from latentrun.diagnostics.codes.knn import KNN\n",
    )
    after = fingerprint(VAE)
    assert after != before  # the import of typing
    write(copy / "diagnostics" / "codes" / "knn.py", "CHANGED = 1\n")
    assert fingerprint(VAE) == after


# ---------------------------------------------------------------- what does not
CODE = '''
"""A module."""

from latentrun.models.base import Model


class Mine(Model):
    """A model."""

    width = 3  # of the network

    def encode(self, x, space="z"):
        """Codes."""
        return (x + 1) * {"a": 2}["a"]
'''
SAME_CODE = """
# Other words.
from latentrun.models.base import Model
class Mine(Model):
    'Another sentence,
    'on lines of its own'
    width = (
        3
    )
    def encode(self, x, space='z'):
        # what it does
        return (x + 1) * {
            'a': 2,
        }['a']
""".replace("'Another sentence,\n", "'''Another sentence,\n").replace("of its own'", "of its own'''")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A file of a user's package, and the spec of the class in it."""
    package = tmp_path / "mine_of_this_test"
    package.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    (package / "__init__.py").touch()
    return package / "models.py", {"_target_": "mine_of_this_test.models.Mine"}


def test_comments_docstrings_and_layout_do_not_count(mine):
    file, spec = mine
    write(file, CODE)
    before = fingerprint(spec)
    write(file, SAME_CODE)
    assert fingerprint(spec) == before
    for old, new in (("+ 1", "+ 2"), ('"a": 2', '"a": 2.0'), ("width = 3", "width = -3"), ("Mine", "Ours")):
        write(file, CODE.replace(old, new))
        assert fingerprint(spec) != before, old


def test_all_files_of_a_users_package_count_and_what_they_import_of_latentrun(mine, copy):
    file, spec = mine
    write(file, CODE)
    before = fingerprint(spec)
    write(file.parent / "layers.py", "WIDTH = 3\n")
    after = fingerprint(spec)
    assert after != before
    write(copy / "models" / "base.py", "CHANGED = 1\n")
    assert fingerprint(spec) != after


def test_a_file_that_is_no_python_counts_by_its_bytes(mine):
    file, spec = mine
    write(file, "def broken(:")
    before = fingerprint(spec)
    write(file, "def broken(:  # still")
    assert fingerprint(spec) != before


def test_a_librarys_code_is_not_read():
    assert sources(["torch.nn.Linear", "nothing.like.This", "no class"]) == set()


# ---------------------------------------------------------------- what it costs
def test_it_imports_nothing_and_is_quick():
    config = {
        "data": {"_target_": "latentrun.data.heatmaps.Heatmaps"},
        "network": {"_target_": "latentrun.nn.conv.Conv"},
        "training": {"_target_": "latentrun.training.loop.Training"},
        **VAE,
    }
    fit_hash(config)
    start = time.perf_counter()
    for _ in range(10):
        fit_hash(config)
    assert (time.perf_counter() - start) / 10 < 0.1
    code = (
        "import sys\nfrom latentrun.config.fingerprint import fit_hash\n"
        f"fit_hash({config!r})\n"
        "print([name for name in ('torch', 'numpy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
