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
    "variant",
    "debug",
)
# groups of which a part within another option is chosen: model.likelihood=gaussian
PARTS = ("likelihood", "posterior")
EVERY = (*GROUPS, *PARTS)


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
        for path in (path for group in EVERY for path in sorted((folder / group).glob("*.yaml"))):
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
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise InputError(
                f"{where}: {name!r}: there is no package {package!r}: "
                "it is neither installed nor on PYTHONPATH"
            )
        path = Path(spec.submodule_search_locations[0], *inner)
    if not rest or not path.is_dir():
        place = f" ({str(path)!r})" if scheme == "pkg" else ""
        raise InputError(f"{where}: {name!r} is not a folder{place}")
    return path.resolve()


def digests(folders: Sequence[Path] = ()) -> dict[str, str]:
    """For the shipped folder and each of ``folders``: 16 hex digits of all YAML files in it."""
    digests_by_folder = {}
    for folder in (shipped(), *folders):
        content = hashlib.sha256()
        for path in sorted(folder.glob("*/*.yaml")):
            content.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
        digests_by_folder[str(folder)] = content.hexdigest()[:16]
    return digests_by_folder


def stamps(folders: Sequence[Path] = ()) -> tuple[tuple[str, int, int], ...]:
    """For each YAML file in the shipped folder and in ``folders``: its name, the time of its last change in
    nanoseconds and its size in bytes."""
    paths = [path for folder in (shipped(), *folders) for path in sorted(folder.glob("*/*.yaml"))]
    stats = [(path, path.stat()) for path in paths if path.is_file()]
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats)


# ---------------------------------------------------------------- what is in them
def options(group: str, folders: Iterable[Path]) -> dict[str, str]:
    """The options of a group with their one-line descriptions (the first comment of the file that is not a
    directive)."""
    descriptions: dict[str, str] = {}
    for folder in folders:
        for path in sorted((folder / group).glob("*.yaml")):
            descriptions.setdefault(path.stem, _description(path))
    return descriptions


def require_said(group: str, name: str, folders: Iterable[Path]) -> None:
    """InputError where the file of an option says nothing: what was chosen would be left out without a
    word."""
    for path in (folder / group / f"{name}.yaml" for folder in folders):
        if path.is_file():
            lines = path.read_bytes().splitlines()  # what is no text is said where the file is used
            if all(line.isascii() and line.lstrip()[:1] in (b"", b"#") for line in lines):
                raise InputError(f"{group} {name!r}: its file {str(path)!r} says nothing")


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
    folders = list(folders)
    return [name for name in options("task", folders) if key in task_keys(name, folders)]


def task_keys(name: str, folders: Iterable[Path]) -> list[str]:
    """The keys at the top level of the configuration that a task owns."""
    for path in (folder / "task" / f"{name}.yaml" for folder in folders):
        if path.is_file():
            try:
                content = yaml.safe_load(path.read_text(encoding="utf-8"))
            except (yaml.YAMLError, UnicodeDecodeError):
                return []  # said where the file is used
            return [key for key in content or () if key not in (*GROUPS, "defaults", "hydra")]
    return []


def packages(folders: Iterable[Path]) -> list[str]:
    """The packages of the classes that the files in the user's own folders name: to write a file there is to
    trust it. Never one of the standard library."""
    names = set()
    for path in (path for folder in folders for group in EVERY for path in (folder / group).glob("*.yaml")):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            continue  # said where the file is used
        names |= {target.partition(".")[0] for target in targets(content)}
    return sorted(names - sys.stdlib_module_names - {"latentrun", "torch", ""})


def _description(path: Path) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            text = line.strip()
            if text.startswith("#") and not text.startswith("# @package"):
                return text.lstrip("# ")
            if text and not text.startswith("#"):
                break
    return ""
