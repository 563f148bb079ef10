"""Where and with what a run was made."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

import latentrun

PACKAGE = Path(__file__).parents[1]


def environment(device: torch.device) -> dict[str, Any]:
    """What a reader needs to know of where a run was made."""
    packages = ("torch", "numpy", "pandas", "hydra-core", "omegaconf", "scikit-learn", "matplotlib", "zuko")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "versions": {"latentrun": latentrun.__version__, "python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in packages},
        "git": commit(),
        "host": platform.node(),
        "device": {"kind": str(device), "name": name},
        "threads": torch.get_num_threads(),
        "argv": sys.argv[1:],
        "cwd": os.getcwd(),
    }


@cache
def commit() -> str | None:
    """:func:`git_commit` when this process first asked: what it runs it has read by then."""
    return git_commit()


def git_commit(package: Path = PACKAGE) -> str | None:
    """The commit of the code that runs, with ``+`` where it or the settings that it ships, in ``conf/``, were
    changed since; None outside a checkout, and where the package only lies in somebody else's."""
    # An installed package has its settings inside it.
    settings = [] if (package / "conf").is_dir() else ["../conf"]
    try:
        _git(package, "ls-files", "--error-unmatch", "--", "__init__.py")
        commit = _git(package, "rev-parse", "HEAD")
        changes = _git(package, "status", "--porcelain", "--", ".", *settings)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changes else "")


def _git(folder: Path, *words: str) -> str:
    """What git says in a folder."""
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
