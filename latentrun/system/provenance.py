"""Where and with what a run was made."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import latentrun


def environment(device: torch.device) -> dict[str, Any]:
    """What a reader needs to know of where a run was made."""
    packages = ("torch", "numpy", "pandas", "hydra-core", "omegaconf", "scikit-learn", "matplotlib", "zuko")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "versions": {"latentrun": latentrun.__version__, "python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in packages},
        "git": git_commit(),
        "host": platform.node(),
        "device": {"kind": str(device), "name": name},
        "threads": torch.get_num_threads(),
        "argv": sys.argv[1:],
        "cwd": os.getcwd(),
    }


def git_commit() -> str | None:
    """The commit of the code that runs, with ``+`` where it was changed since; None outside a checkout."""
    try:
        commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changes else "")


def _git(*words: str) -> str:
    """What git says of this package's folder."""
    here = Path(__file__).parents[1]
    done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
