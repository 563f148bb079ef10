"""Files and folders that one may not read: one line, exit code 2."""

from __future__ import annotations

import builtins
import errno
import io
import os
from pathlib import Path

import pytest

from tests.cli.places import run

LINES = {
    "data=table data.file={f}/x.csv": "data: '{f}/x.csv' cannot be read: Permission denied",
    "data=images data.path={f}": "data.path: '{f}' cannot be read: Permission denied",
    "data=mnist data.root={f}": "data: '{f}/mnist/",
    "output={f}": "output directory '{f}/",
    "hydra.run.dir={f}/in": "output directory '{f}/in' cannot be made: Permission denied",
    "-m seed=0,1 output={f}": "output directory '{f}/multirun/",
    "--config-dir {f}": "'{f}/config.yaml': Permission denied",
    "--config-dir {f}/in": "'{f}/in': Permission denied",
    "task=diagnose run={f}": "'{f}' cannot be read: Permission denied",
    "resume={f}/in": "'{f}/in': Permission denied",
    "task=report runs={f}": "'{f}' cannot be read: Permission denied",
    "diagnostic=[fid] diagnostic.fid.features={f}/net.pt": "'{f}/net.pt': Permission denied",
}


@pytest.fixture
def locked(tmp_path_factory, monkeypatch):
    """A folder that nobody may look into, also where the tests are run by root."""
    folder = tmp_path_factory.mktemp("locked")

    def refusing(function, at_folder):
        def called(path, *more, **keys):
            place = Path(os.path.abspath(path)) if isinstance(path, str | Path) else Path()
            if folder in place.parents or (at_folder and place == folder):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return function(path, *more, **keys)

        return called

    for name, at_folder in {"stat": 0, "lstat": 0, "mkdir": 0, "open": 1, "scandir": 1, "listdir": 1}.items():
        monkeypatch.setattr(os, name, refusing(getattr(os, name), at_folder))
    for module in (builtins, io):
        monkeypatch.setattr(module, "open", refusing(open, 1))
    return folder


@pytest.mark.parametrize("line", LINES)
def test_what_may_not_be_read_is_said_in_one_line(line, locked, elsewhere, capsys, unmade):
    code, out, err = run(line.replace("{f}", str(locked)).split(), capsys)
    assert code == 2 and err.count("\n") == 1 and out == ""
    assert err.startswith(f"latentrun: {LINES[line].replace('{f}', str(locked))}")
    assert list(elsewhere.iterdir()) == []
