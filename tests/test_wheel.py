"""The installed package works from any directory and brings its configuration along."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_runs_elsewhere(tmp_path):
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = tmp_path.glob("latentrun-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert {"latentrun/conf/config.yaml", "latentrun/report/report.html.j2", "latentrun/py.typed"} <= set(
        names
    )
    assert not any(name.startswith(("tests/", "scripts/")) for name in names)
    for name in ROOT.glob("conf/*/*.yaml"):
        assert f"latentrun/conf/{name.parent.name}/{name.name}" in names
    (tmp_path / "elsewhere").mkdir()
    code = (
        "import latentrun, sys; print(latentrun.__file__); from latentrun.cli import main; main(sys.argv[1:])"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    tiny = [
        "debug=quick",
        "rows=16",
        "data=digits",
        "network.channels=[4]",
        "network.strides=[1]",
        "diagnostic=[reconstruction]",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *tiny],
        cwd=tmp_path / "elsewhere",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stdout.splitlines()[0]
    assert len(list((tmp_path / "elsewhere" / "outputs").glob("*/*_vae_digits/report.html"))) == 1
