"""What Windows and Macs have not, taken away: latentrun is imported, trains, measures and goes on without
it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from latentrun.errors import InputError
from latentrun.system.machine import UNKNOWN, free_memory, of_libc
from latentrun.tasks.assembly import device_named, measuring
from latentrun.tasks.estimate import memory

ROOT = Path(__file__).parents[1]
# Windows has msvcrt in the place of fcntl: here one that remembers which files are locked.
LIBRARIES = (
    "import numpy, pandas, scipy.stats, torch, matplotlib.figure, tensorboard.summary\n"  # of this system
)
MASK = """
import os, signal, sys, types

class Locks(types.ModuleType):
    LK_NBLCK = 2
    holders = {}  # by file, the number of the open one that was locked

    def locking(self, number, mode, count):
        inode, place = os.fstat(number).st_ino, os.lseek(number, 0, os.SEEK_CUR)
        holder = self.holders.get(inode, number)
        if holder != number and self.is_open(holder, inode):
            raise PermissionError(13, "Permission denied")
        assert (mode, count) == (self.LK_NBLCK, 1) and place > 2**20
        self.holders[inode] = number

    def is_open(self, number, inode):
        try:
            return os.fstat(number).st_ino == inode
        except OSError:
            return False

sys.modules["fcntl"] = sys.modules["resource"] = None
sys.modules["msvcrt"] = Locks("msvcrt")
for name in ("SIGUSR1", "SIGUSR2"):
    delattr(signal, name)
for name in "O_NOFOLLOW O_DIRECTORY O_NONBLOCK O_CLOEXEC setpgrp sched_getaffinity uname sysconf".split():
    delattr(os, name)

def by_path_only(function):
    def masked(*arguments, **options):
        if {"dir_fd", "src_dir_fd", "dst_dir_fd"} & options.keys():
            raise NotImplementedError("dir_fd unavailable on this platform")
        if function is opened and os.path.isdir(arguments[0]):
            raise PermissionError(13, "Permission denied")
        return function(*arguments, **options)
    return masked

opened = os.open
for name in "open stat mkdir unlink rename replace rmdir link".split():
    setattr(os, name, by_path_only(getattr(os, name)))
os.supports_dir_fd.clear()
import multiprocessing, shutil
shutil._use_fd_functions = False
multiprocessing.get_all_start_methods = lambda: ["spawn"]
"""
ACTS = """
from latentrun.system import folders
assert not folders.HANDLES
from latentrun.cli import main
from latentrun.system.door import Guarded

def run(*line):
    try:
        main(list(line))
    except SystemExit as ended:
        assert not ended.code, ended.code

small = ["data=digits", "network=dense", "network.widths=[4]", "model.latent_dim=2", "rows=64", "figures=[]",
         "training.epochs=1", "diagnostic=[reconstruction]"]
if __name__ == "__main__":
    run(*small, "hydra.run.dir=run")
    lock = Guarded("run") / "run.lock"
    with lock.locked() as first, lock.locked() as second:
        assert first and not second and lock.is_held()
    assert not lock.is_held()
    run("resume=run")
    assert sys.modules["msvcrt"].holders
    print("all done")
"""


DOOR = """
from latentrun.system.door import Guarded
from latentrun.system.interrupts import SIGNALS, interruptible
import latentrun.cli, latentrun.system.machine, latentrun.system.disk, latentrun.system.plain

with interruptible():
    file = Guarded("folder") / "a" / "b.txt"
    with file.writing() as new:
        new.write("text")
    lock = Guarded("folder") / "run.lock"
    with lock.locked() as first, lock.locked() as second:
        assert first and not second and lock.is_held()
    assert not lock.is_held() and file.text(99) == "text" and len(SIGNALS) == 2
    Guarded("folder").remove_tree()
print("all done")
"""


@pytest.mark.parametrize(
    "acts", [pytest.param(DOOR, id="door"), pytest.param(ACTS, id="training", marks=pytest.mark.slow)]
)
def test_it_works_where_posix_is_missing(acts, tmp_path):
    libraries = "" if acts is DOOR else LIBRARIES
    (tmp_path / "masked.py").write_text(libraries + MASK + acts)
    line = [sys.executable, "-W", "error::ImportWarning", "masked.py"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("all done\n"), done.stdout + done.stderr
    assert (tmp_path / "run" / "report.html").is_file() or acts is DOOR


GIVEN_BACK = """
from pathlib import Path
from latentrun.system.machine import give_back, prepare
prepare()

def taken():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line]
    return int(line.split()[1]) // 1024

before = taken()
blocks = [bytearray(b"1") * 2**24 for _ in range(8)]
del blocks
kept = taken() - before
give_back()
print(kept, taken() - before)
"""


@pytest.mark.skipif(of_libc("malloc_trim") is None, reason="no malloc_trim here")
def test_a_process_that_waits_gives_its_memory_back():
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", GIVEN_BACK], env=environment, capture_output=True, text=True, check=True
    )
    kept, left = map(int, done.stdout.split())
    assert kept > 100 and left < 10


def test_memory_that_nobody_counts_refuses_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory(torch.device("cpu"))[0] == 0
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    monkeypatch.delattr(os, "sysconf")
    assert free_memory() == UNKNOWN


def test_a_macs_gpu_is_taken_where_it_is_and_named(monkeypatch):
    with pytest.raises(InputError, match="device: 'mps' is not on this machine; allowed: auto, cpu"):
        device_named("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert device_named("mps") == torch.device("mps") and device_named("auto") == torch.device("cpu")
    with pytest.raises(InputError, match="allowed: auto, cpu, mps"):
        device_named("cuda")


def test_what_is_trained_without_float64_is_measured_with_it():
    assert measuring(torch.device("mps")) == torch.device("cpu")
    assert measuring(torch.device("cuda:1")) == torch.device("cuda:1")
