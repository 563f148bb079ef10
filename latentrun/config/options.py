"""What the configuration groups offer, read from the folders themselves: for ``--help``, for error messages,
for trust."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from latentrun.config.build import targets
from latentrun.errors import InputError

GROUPS = (
    "task",
    "data",
    "model",
    "network",
    "training",
    "diagnostic",
    "comparison",
    "claim",
    "experiment",
    "debug",
)


# ---------------------------------------------------------------- folders
def shipped() -> Path:
    """The folder ``conf``: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parents[1]
    return here / "conf" if (here / "conf").is_dir() else here.parent / "conf"


@cache
def defaults() -> dict[str, Any]:
    """What ``conf/config.yaml`` chooses of each group: an option, a list of options where several may be
    chosen, or None."""
    entries = yaml.safe_load((shipped() / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    return {
        group: chosen
        for entry in entries
        if isinstance(entry, dict)
        for group, chosen in entry.items()
        if group in GROUPS
    }


def extra(config_dirs: Sequence[str] = (), search_path: Sequence[str] = ()) -> list[Path]:
    """The user's own folders, in the order in which they are searched: ``--config-dir``, ``hydra.searchpath``
    and the environment variable LATENTRUN_CONFIG_PATH (``:`` between several). InputError where one is no
    folder, or holds an option that another has too: only one of the two would ever be read."""
    named = [("--config-dir", name) for name in config_dirs]
    named += [("hydra.searchpath", name) for name in search_path]
    named += [
        ("LATENTRUN_CONFIG_PATH", name)
        for name in os.environ.get("LATENTRUN_CONFIG_PATH", "").split(os.pathsep)
        if name
    ]
    folders = list(dict.fromkeys(_folder(where, name) for where, name in named))
    seen: dict[tuple[str, str], Path] = {}
    for folder in (shipped(), *folders):
        if folder != shipped() and (folder / "config.yaml").is_file():
            raise InputError(
                f"{str(folder / 'config.yaml')!r} would never be read: write it as experiment/<name>.yaml"
            )
        for path in (path for group in GROUPS for path in sorted((folder / group).glob("*.yaml"))):
            other = seen.setdefault((path.parent.name, path.stem), path)
            if other != path:
                raise InputError(
                    f"{str(path)!r} has the name of {str(other)!r}, which would be read in its place: "
                    "give it another name"
                )
    return folders


def _folder(where: str, name: str) -> Path:
    """A folder by its path, as ``file://path``, or as ``pkg://package.folder``."""
    scheme, _, rest = name.rpartition("://")
    if scheme not in ("", "file", "pkg"):
        raise InputError(f"{where}: {name!r} begins neither with file:// nor with pkg://")
    path = Path(rest).expanduser()
    if scheme == "pkg":
        package, *inner = rest.replace("/", ".").split(".")
        found = importlib.util.find_spec(package) if package.isidentifier() else None
        if found is None or not found.submodule_search_locations:
            raise InputError(
                f"{where}: {name!r}: there is no package {package!r}: it is neither installed nor on "
                "PYTHONPATH"
            )
        path = Path(found.submodule_search_locations[0], *inner)
    if not rest or not path.is_dir():
        raise InputError(
            f"{where}: {name!r} is not a folder" + (f" ({str(path)!r})" if scheme == "pkg" else "")
        )
    return path.resolve()


def digests(folders: Sequence[Path] = ()) -> dict[str, str]:
    """For the shipped folder and each of ``folders``: 16 hex digits of all YAML files in it."""
    found = {}
    for folder in (shipped(), *folders):
        content = hashlib.sha256()
        for path in sorted(folder.glob("*/*.yaml")):
            content.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
        found[str(folder)] = content.hexdigest()[:16]
    return found


# ---------------------------------------------------------------- what is in them
def options(group: str, folders: Iterable[Path]) -> dict[str, str]:
    """The options of a group with their one-line descriptions (the first comment of the file that is not a
    directive)."""
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted((folder / group).glob("*.yaml")):
            found.setdefault(path.stem, _description(path))
    return found


def option(group: str, name: str) -> dict[str, Any]:
    """What a shipped option says, of a group in which several may be chosen; InputError where there is none
    of that name."""
    path = shipped() / group / f"{name}.yaml"
    if not path.is_file():
        raise InputError(
            f"{group} {name!r} is needed and not among those shipped; name it too: '{group}=[{name}]'"
        )
    return yaml.safe_load(path.read_text(encoding="utf-8"))[name]


def owners(key: str, folders: Iterable[Path]) -> list[str]:
    """The tasks that have the key ``key`` at the top level of the configuration, which others have not."""
    files = (path for folder in folders for path in sorted((folder / "task").glob("*.yaml")))
    return [path.stem for path in files if key in (yaml.safe_load(path.read_text(encoding="utf-8")) or ())]


def packages(folders: Iterable[Path]) -> list[str]:
    """The packages of the classes that the files in the user's own folders name: to write a file there is to
    trust it. Never one of the standard library."""
    found = set()
    for path in (path for folder in folders for group in GROUPS for path in (folder / group).glob("*.yaml")):
        try:
            found |= {
                target.partition(".")[0]
                for target in targets(yaml.safe_load(path.read_text(encoding="utf-8")))
            }
        except (yaml.YAMLError, UnicodeDecodeError):
            continue  # said where the file is used
    return sorted(found - sys.stdlib_module_names - {"latentrun", "torch", ""})


def _description(path: Path) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
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
        "  latentrun task=encode run=DIR data=digits              codes of a data set; without data= "
        "of the run's own rows",
        "  latentrun task=sample run=DIR n=1000                   samples of a trained model",
        "  latentrun task=prune run=DIR                           a trained model without its "
        "inactive latent variables",
        "  latentrun task=compare 'runs=[DIR,DIR]'                differences between finished runs, "
        "with intervals",
        "  latentrun task=report 'runs=outputs/**'                one table, pictures and a "
        "leaderboard of many runs",
        "  latentrun task=claims claim=heatmaps                   what a text says, judged by runs "
        "that are found or trained",
        "  latentrun estimate=true                                what training would take: time, "
        "memory, disk",
        "  latentrun debug=quick                                  everything in seconds, to try a set-up",
        "",
    ]
    for group in GROUPS:
        known = options(group, folders)
        if known:
            width = max(18, *(len(name) + 2 for name in known))
            lines += [f"{group}="] + [f"  {name:<{width}}{text}" for name, text in known.items()] + [""]
    lines += [
        "Any value of the configuration can be set: latentrun training.epochs=20 model.beta=4 seed=1 "
        "device=cpu",
        "  --cfg job --resolve   show the configuration and stop       -m   sweep over "
        "comma-separated values",
        "  --config-dir DIR      a folder with options of your own      --version",
        "  --info                how the configuration came about       -sc install=bash|zsh|fish   "
        "tab completion",
        "",
        "Exit codes: 0 done, 1 failed, 2 wrong input, 130 interrupted. LATENTRUN_DEBUG=1 shows tracebacks.",
    ]
    return "\n".join(lines)
