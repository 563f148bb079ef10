"""``latentrun model=vae --help``: every setting of what is chosen, with its value, type and bounds, and the
comment that its file has for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml

from latentrun.command.overrides import SEVERAL
from latentrun.command.values import choices_of, readable_errors, settings_of, user_folders
from latentrun.config.annotations import described, hints_of, texts_of
from latentrun.config.bounds import OF_TORCH
from latentrun.config.build import TARGET, shown
from latentrun.config.options import GROUPS, PARTS, options, shipped
from latentrun.config.settings import key_of
from latentrun.tasks.base import SETTINGS

if TYPE_CHECKING:
    from omegaconf import DictConfig

QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
LONGEST = 48  # characters of a value or a type that others are put in line with


def listing(cfg: DictConfig, overrides: Sequence[str]) -> str:
    """The page for a composed configuration; what the ``overrides`` choose stands first."""
    from omegaconf import OmegaConf

    with readable_errors():
        values = OmegaConf.to_container(settings_of(cfg), resolve=True)
    folders, choices = [shipped(), *user_folders(cfg.hydra)], choices_of(cfg.hydra)
    # Hydra says nothing of what is chosen in a list, as of the default list.
    choices |= {group: list(values[group]) for group in SEVERAL if values.get(group)}
    comments = {**comments_of(shipped() / "config.yaml"), **comments_of_choices(choices, folders)}
    target = values["task"][TARGET]
    named, hints = [key_of(text).partition(".")[0] for text in overrides], hints_of(target)
    taken = texts_of(target, "beside")  # None: everything
    groups = [group for group in GROUPS if group != "task" and (taken is None or group in taken)]
    groups.sort(key=lambda group: group not in named)
    sections = [section(group, values.get(group), choices, comments, folders) for group in groups]
    general = {
        key: value
        for key, value in values.items()
        if key not in GROUPS and (taken is None or key in (*taken, *hints))
    }
    about = options("task", folders).get(str(choices["task"]), "")
    rows = rows_of(general, SETTINGS | hints, "", comments)
    sections.append(f"task={choices['task']}  {about}\n" + table(list(rows)))
    return "\n\n".join(filter(None, sections)) + "\n\nlatentrun --help lists what each group offers."


def section(
    group: str, value: Any, choices: Mapping[str, Any], comments: Mapping[str, str], folders: Sequence[Path]
) -> str:
    """The settings of one group; empty where nothing is chosen of it."""
    if not value:
        return ""
    descriptions = options(group, folders)
    if group in SEVERAL:
        parts = []
        for name, spec in value.items():
            rows = table(list(rows_of_spec(spec, f"{group}.{name}", comments)))
            parts.append(f"{group}={name}  {descriptions.get(name, '')}\n{rows}".rstrip())
        return "\n\n".join(parts)
    name = str(choices.get(group))
    title = f"{group}={name}  {descriptions.get(name, '')}"
    return f"{title}\n{table(list(rows_of_spec(value, group, comments)))}".rstrip()


# ---------------------------------------------------------------- rows
def rows_of_spec(spec: Any, where: str, comments: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """The settings of something that is made of a class, and of all that is made for it."""
    if isinstance(spec, Mapping):
        target = str(spec.get(TARGET, ""))
        kinds = {key: type(value) for key, value in spec.items() if value is not None}
        of_torch = target.partition(".")[0] == "torch"
        bounds = {key: OF_TORCH[key] for key in kinds if of_torch and key in OF_TORCH}
        hints = kinds | {key: Annotated[kinds[key], bound] for key, bound in bounds.items()}
        hints |= hints_of(target) if target else {}
        yield from rows_of(spec, hints, f"{where}.", comments)


def rows_of(
    values: Mapping[str, Any], hints: Mapping[str, Any], prefix: str, comments: Mapping[str, str]
) -> Iterator[tuple[str, ...]]:
    """Key, value, type with bounds, comment of each."""
    for key, value in values.items():
        where = f"{prefix}{key}"
        if key == TARGET:
            continue
        if isinstance(value, Mapping) and value:
            yield from rows_of_spec(value, where, comments)
            continue
        said = described(hints[key]) if key in hints else ""
        yield where, "(needed)" if value == "???" else in_short(value), said, comments.get(where, "")


def in_short(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, list):
        return f"[{','.join(in_short(element) for element in value)}]"
    return value if isinstance(value, str) and value else shown(value)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in line, each two blanks from the left."""
    widths = [max((len(row[i]) for row in rows if len(row[i]) <= LONGEST), default=0) for i in range(3)]
    lines = (
        "  ".join(["", *(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


# ---------------------------------------------------------------- comments
def comments_of_choices(choices: Mapping[str, Any], folders: Sequence[Path]) -> dict[str, str]:
    """The comments of the files of all options chosen, by key."""
    comments: dict[str, str] = {}
    for place, chosen in choices.items():
        group = place.rpartition(".")[2]
        if group not in (*GROUPS, *PARTS):
            continue
        for name in chosen if isinstance(chosen, Sequence) and not isinstance(chosen, str) else [chosen]:
            alone = group == place and group not in SEVERAL
            prefix = f"{place}." if alone or group in PARTS else f"{group}."
            files = files_of(group, str(name), folders)
            whole = any("@package _global_" in file.read_text(encoding="utf-8") for file in files)
            for file in files:
                for key, text in comments_of(file).items():
                    comments.setdefault(key if whole else f"{prefix}{key}", text)
    return comments


def files_of(group: str, name: str, folders: Sequence[Path]) -> list[Path]:
    """The file of an option, then those of the options of its group that it builds on."""
    found = [path for folder in folders if (path := folder / group / f"{name}.yaml").is_file()][:1]
    for path in list(found):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for base in content.get("defaults", ()) if isinstance(content, dict) else ():
            if isinstance(base, str) and base not in ("_self_", name):
                found += files_of(group, base, folders)
    return found


def comments_of(path: Path) -> dict[str, str]:
    """The comments behind the values of a YAML file, by key; those that go on in the next lines whole."""
    comments: dict[str, str] = {}
    above: list[tuple[int, str]] = []  # the keys that a line lies below, with their indentation
    column, last = -1, ""
    for line in path.read_text(encoding="utf-8").splitlines():
        bare = QUOTED.sub(lambda match: "x" * len(match[0]), line)
        key, mark = re.match(r"(\s*)([\w.-]+):(\s|$)", bare), re.search(r"(?:^|\s)#", bare)
        if key is None:
            goes_on = mark is not None and bare.index("#") == column and not bare[:column].strip()
            if goes_on:
                comments[last] += f" {line[column + 1 :].strip()}"
            elif bare.strip():
                column = -1
            continue
        indent = len(key[1])
        above = [*((depth, name) for depth, name in above if depth < indent), (indent, key[2])]
        column = -1
        if mark is not None:
            column, last = bare.index("#"), ".".join(name for _, name in above)
            comments[last] = line[column + 1 :].strip()
    return comments
