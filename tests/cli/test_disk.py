"""What the command says when the disk is full."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import torch

from latentrun.sweep.engine import warm
from tests.cli.places import run
from tests.processes import carry_out


def test_a_full_disk_is_refused_before_and_ends_in_one_line_during_a_run(elsewhere, capsys, monkeypatch):
    from collections import namedtuple

    tiny = [
        "debug=quick",
        "rows=32",
        "data=digits",
        "network=dense",
        "network.widths=[8]",
        "diagnostic=[reconstruction]",
    ]
    free = namedtuple("usage", "total used free")
    with monkeypatch.context() as small:
        small.setattr(
            "latentrun.system.disk.shutil.disk_usage", lambda path: free(2**30, 2**30 - 2**20, 2**20)
        )
        code, _, err = run([*tiny, "hydra.run.dir=full"], capsys)
        assert code == 2 and err.startswith(
            "latentrun: output directory 'full': 1 MiB are free, the run needs about 6 MiB"
        )
        assert list(elsewhere.iterdir()) == []

    def fsync(file: int) -> None:
        if os.fstat(file).st_size > 20_000:  # the first whole checkpoint
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", fsync)
    code, _, err = run([*tiny, "hydra.run.dir=full"], capsys)
    assert code == 1 and err.count("\n") == 1
    assert "No space left on device: 'full/checkpoints/" in err
    status = json.loads((elsewhere / "full" / "status.json").read_text())
    assert status["state"] == "failed" and "No space left on device" in status["reason"]
    assert (
        not list(elsewhere.rglob("*.part")) and not (elsewhere / "full" / "checkpoints" / "last.pt").exists()
    )
    assert torch.load(elsewhere / "full" / "checkpoints" / "best.pt", weights_only=True)[
        "model"
    ]  # what was whole stays whole


def test_a_checkpoint_that_meets_the_end_of_the_disk_says_so(tmp_path):
    """Torch hides what the system said behind words of its own."""
    shown = tmp_path / "shown.txt"
    process = warm("latentrun.tasks.child").Process(target=with_short_files, args=(tmp_path, shown))
    process.start()
    process.join()
    last = shown.read_text().splitlines()[-1]
    assert process.exitcode == 1 and "Traceback" not in shown.read_text()
    assert last.startswith("latentrun: ") and "File too large: 'run/checkpoints/" in last
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("*.pt"))


def with_short_files(folder: Path, shown: Path) -> None:
    """A run in a folder, none of whose files may grow to more than 30 kB."""
    import resource

    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
    tiny = ["debug=quick", "rows=32", "data=digits", "network=dense", "network.widths=[200]", "diagnostic=[]"]
    carry_out([*tiny, "hydra.run.dir=run"], shown)
