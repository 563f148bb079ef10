"""From a composed configuration to plain values, and whose files it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml

from latentrun.command.overrides import SEVERAL
from latentrun.config.bounds import Printable
from latentrun.config.build import TARGET, fit, targets
from latentrun.config.options import defaults, options, packages, shipped
from latentrun.config.trust import Trust
from latentrun.errors import InputError, nearest, one_line, unknown

if TYPE_CHECKING:
    from omegaconf import DictConfig


def settings_of(cfg: DictConfig) -> DictConfig:
    """The configuration without Hydra's own node, and without values for what is not chosen."""
    from omegaconf import OmegaConf

    with readable_errors():
        settings = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
    drop(settings, unchosen(cfg))
    return settings


def values_of(settings: DictConfig) -> dict[str, Any]:
    """Resolved, as plain values; InputError where a value is missing or refers to none."""
    from omegaconf import OmegaConf

    with readable_errors():
        missing = sorted(OmegaConf.missing_keys(settings))
        if missing:
            raise InputError(f"{missing[0]}: a value is needed: {missing[0]}=...")
        values = OmegaConf.to_container(settings, resolve=True)
    for group in SEVERAL:
        values[group] = values.get(group) or {}  # an empty list leaves no node behind
    return values


def trust_of(values: Mapping[str, Any], hydra: DictConfig) -> Trust:
    """What ``trust=`` and the user's own files name."""
    return Trust.of(fit(values["trust"], list[str], "trust"), packages(user_folders(hydra)))


def user_folders(hydra: DictConfig) -> list[Path]:
    """The user's own folders of options, as Hydra knows them."""
    return [
        Path(source.path)
        for source in hydra.runtime.config_sources
        if source.schema == "file" and source.provider != "main"
    ]


def choices_of(hydra: DictConfig) -> dict[str, Any]:
    """The option chosen of each group, Hydra's own left out; of a group within another option by its place,
    ``model.likelihood``."""
    return {
        str(key).rpartition("@")[2]: name
        for key, name in hydra.runtime.choices.items()
        if not str(key).startswith("hydra/")
    }


def place_of(hydra: DictConfig, mode: Literal["run", "sweep"]) -> Path:
    """The directory of a run or of a sweep, ``hydra.run.dir``; InputError where it says none, or the one that
    the command is given in."""
    key = f"hydra.{mode}.dir"
    with readable_errors():
        text = fit(hydra[mode].dir, Annotated[str, Printable()], key)
    path = Path(text)
    if path.resolve() == Path.cwd():
        raise InputError(f"{key}: {text!r} is the current directory: name a new one")
    try:
        path.is_dir()
    except OSError as error:  # a name that is too long
        raise InputError(f"output directory {text!r} cannot be made: {error.strerror}") from None
    return path


def overrides_of(hydra: DictConfig) -> list[str]:
    """The overrides of the command, Hydra's own left out."""
    from omegaconf import OmegaConf

    return list(OmegaConf.to_container(hydra.overrides.task, resolve=False))


def launcher_of(hydra: DictConfig) -> dict[str, Any]:
    """The settings of the launcher."""
    from omegaconf import OmegaConf

    with readable_errors():
        settings = OmegaConf.to_container(hydra.launcher)
    return {key: value for key, value in settings.items() if key != TARGET}


def is_default_list(values: Mapping[str, Any]) -> bool:
    """Whether the diagnostics are those of config.yaml, not ones that the user named."""
    return list(values["diagnostic"]) == defaults()["diagnostic"]


@contextmanager
def readable_errors() -> Iterator[None]:
    """Trouble with the values of a configuration as InputError."""
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if getattr(error, "full_key", None) else ""
        raise InputError(f"{where}{one_line(error)}") from None


# ---------------------------------------------------------------- values of what is not chosen
def unchosen(cfg: DictConfig) -> list[tuple[str, str]]:
    """Diagnostics and comparisons, as group and name, that have values though nobody chose them: an
    experiment sets some, and the command line chooses others. InputError where there is no option of that
    name, but one of nearly that name."""
    folders = [shipped(), *user_folders(cfg.hydra)]
    return [
        (group, name)
        for group in SEVERAL
        for name in list((cfg.get(group) or {}).keys())
        if _is_unchosen(cfg[group]._get_node(name), group, name, folders)
    ]


def _is_unchosen(node: Any, group: str, name: str, folders: Sequence[Path]) -> bool:
    from omegaconf import DictConfig

    if not isinstance(node, DictConfig) or not node.keys() or TARGET in node.keys():
        return False
    files = [path for folder in folders if (path := folder / group / f"{name}.yaml").is_file()]
    if not files and nearest(name, known := options(group, folders)):
        raise unknown(group, name, known)
    # An option that lacks its class may well be chosen; that is said where it is built.
    return bool(files) and any(targets(yaml.safe_load(files[0].read_text(encoding="utf-8"))))


def drop(cfg: DictConfig, nodes: Sequence[tuple[str, str]]) -> None:
    """Take nodes, named by group and option, out of a configuration."""
    from omegaconf import open_dict

    with open_dict(cfg):
        for group, name in nodes:
            del cfg[group][name]
