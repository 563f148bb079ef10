"""What the configuration groups offer, read from the folders themselves: for ``--help`` and for error messages."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from latentrun.errors import InputError

GROUPS = ("task", "data", "model", "network", "training", "diagnostic", "experiment", "debug")


def shipped() -> Path:
    """The folder ``conf``: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    return here / "conf" if (here / "conf").is_dir() else here.parent / "conf"


def extra(config_dir: str | None) -> list[Path]:
    """The user's own folders: ``--config-dir`` and the environment variable LATENTRUN_CONFIG_PATH (``:`` between several)."""
    named = [("--config-dir", config_dir)] if config_dir else []
    named += [("LATENTRUN_CONFIG_PATH", part) for part in os.environ.get("LATENTRUN_CONFIG_PATH", "").split(os.pathsep) if part]
    for where, name in named:
        if not Path(name).expanduser().is_dir():
            raise InputError(f"{where}: {name!r} is not a folder")
    return [Path(name).expanduser().resolve() for _, name in named]


def options(group: str, folders: Iterable[Path]) -> dict[str, str]:
    """The options of a group with their one-line descriptions (the first comment of the file that is not a directive)."""
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted((folder / group).glob("*.yaml")):
            found.setdefault(path.stem, _description(path))
    return found


def _description(path: Path) -> str:
    with open(path, encoding="utf-8") as file:
        for line in file:
            text = line.strip()
            if text.startswith("#") and not text.startswith("# @package"):
                return text.lstrip("# ")
            if text and not text.startswith("#"):
                break
    return ""


def help_text(folders: list[Path]) -> str:
    """The page of ``latentrun --help``."""
    lines = [
        "latentrun: train a latent-variable model on a data set and say what its latent space is like",
        "",
        "  latentrun model=vae data=heatmaps 'diagnostic=[reconstruction,latents]' model.latent_dim=3",
        "  latentrun -m model.latent_dim=1,2,3,4 seed=0,1,2      one run for each combination",
        "  latentrun task=diagnose run=DIR 'diagnostic=[samples]' add diagnostics to a finished run",
        "  latentrun debug=quick                                  everything in seconds, to try a set-up",
        "",
    ]
    for group in GROUPS:
        known = options(group, folders)
        if known:
            lines += [f"{group}="] + [f"  {name:<18}{text}" for name, text in known.items()] + [""]
    lines += [
        "Any value of the configuration can be set: latentrun training.epochs=20 model.beta=4 seed=1 device=cpu",
        "  --cfg job --resolve   show the configuration and stop       -m   sweep over comma-separated values",
        "  --config-dir DIR      a folder with options of your own      --version",
        "",
        "Exit codes: 0 done, 1 failed, 2 wrong input, 130 interrupted. LATENTRUN_DEBUG=1 shows tracebacks.",
    ]
    return "\n".join(lines)
