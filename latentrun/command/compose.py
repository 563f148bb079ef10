"""The command line to a configuration, or one line that says what is wrong with it. Here Hydra's own words
end."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from latentrun.command.overrides import SEVERAL, asked, check_options, first_jobs, misplaced, params_of, read
from latentrun.config.build import TARGET, targets
from latentrun.config.options import GROUPS, defaults, extra, options, packages, shipped
from latentrun.errors import InputError, nearest, one_line, unknown

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

SEARCH_PATH = "hydra.searchpath"
PLUGINS = str(
    Path(__file__).parents[1] / "launchers"
)  # holds the namespace package in which Hydra finds plugins
# launchers and sweepers of other packages, by the module that must be there; the name is that of our extra
ENGINES = {
    "hydra/launcher=joblib": ("hydra_joblib_launcher", "joblib"),
    "hydra/launcher=submitit_local": ("hydra_submitit_launcher", "submitit"),
    "hydra/launcher=submitit_slurm": ("hydra_submitit_launcher", "submitit"),
    "hydra/launcher=ray": ("hydra_ray_launcher", "ray"),
    "hydra/sweeper=optuna": ("hydra_optuna_sweeper", "optuna"),
}


# ---------------------------------------------------------------- flags
class Flags(ArgumentParser):
    """The flags of the command; those of Hydra's that make sense here, by Hydra's names."""

    def __init__(self):
        super().__init__("latentrun", add_help=False, allow_abbrev=False)
        self.add_argument("overrides", nargs="*")
        self.add_argument("--resolve", action="store_true")
        self.add_argument("--package", "-p")
        self.add_argument("--config-dir", "-cd", action="append", default=[])
        what = self.add_mutually_exclusive_group()
        for name in (
            ("--help", "-h"),
            ("--version",),
            ("--hydra-help",),
            ("--multirun", "-m"),
            ("--shell-completion", "-sc"),
        ):
            what.add_argument(*name, action="store_true")
        what.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
        infos = ["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"]
        what.add_argument("--info", "-i", nargs="?", const="all", choices=infos)

    @property
    def names(self) -> list[str]:
        """Every spelling of every flag."""
        return [name for action in self._actions for name in action.option_strings]

    def error(self, message: str) -> None:
        """Wrong use is wrong input."""
        raise InputError(f"{message}; see latentrun --help")


def parse(argv: Sequence[str]) -> Namespace:
    """Flags and overrides, in any order."""
    flags = Flags()
    for text in argv:
        name = text.partition("=")[0]
        if text.startswith("-") and text != "--" and name not in flags.names:
            key = name.lstrip("-")
            if key.partition(".")[0] in GROUPS or (text != name and not nearest(name, flags.names)):
                raise InputError(
                    f"unknown flag {text!r}: values are given without dashes: "
                    f"{key}={text.partition('=')[2] or '...'}"
                )
            raise InputError(f"unknown flag {text!r}{nearest(name, flags.names)}; see latentrun --help")
    arguments = flags.parse_intermixed_args(argv)
    if (arguments.resolve or arguments.package) and not arguments.cfg:
        raise InputError(
            f"{'--resolve' if arguments.resolve else '--package'} goes with --cfg; see latentrun --help"
        )
    return arguments


def folders_of(arguments: Namespace) -> list[Path]:
    """The user's own folders (see :func:`latentrun.config.options.extra`); takes ``hydra.searchpath`` out of
    the overrides."""
    named: list[str] = []
    for text in [text for text in arguments.overrides if text.lstrip("+").startswith(f"{SEARCH_PATH}=")]:
        value = read(text, "").value()
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise InputError(
                f"{text!r}: must be a list of folders: '{SEARCH_PATH}=[file:///folder,pkg://package.folder]'"
            )
        named += value
        arguments.overrides.remove(text)
    return extra(arguments.config_dir, named)


# ---------------------------------------------------------------- composing
def compose(overrides: Sequence[str], folders: Sequence[Path], sweep: bool = False) -> DictConfig:
    """The configuration, with the node ``hydra`` resolved as in a run; InputError in one line where it cannot
    be made.

    ``sweep``: overrides may hold several values, and options may sweep more (see
    :func:`latentrun.command.overrides.asked`). What is returned is then the first job; every option that some
    job names has been composed too, one after the other. Without it comparisons that an option brings along
    are left out: they are of a sweep's runs.
    """
    register()
    parsed = _parsed(overrides)
    if not sweep:
        cfg = compose_job(overrides, folders)
        if cfg.task != "compare" and not any(
            override.key_or_group.partition(".")[0] == "comparison" for override in parsed
        ):
            _drop(cfg, [("comparison", name) for name in cfg.get("comparison") or ()])
        return cfg
    cfg = _first(parsed, overrides, folders)
    if params := params_of(cfg.hydra):
        try:
            texts = asked(overrides, cfg.hydra)
            cfg = _first(_parsed(texts), texts, folders)
        except InputError as error:
            raise InputError(f"hydra.sweeper.params ({_shown(params)}): {error}") from None
    return _settled(cfg)


def compose_job(overrides: Sequence[str], folders: Sequence[Path]) -> DictConfig:
    """The configuration of a single run or of one job of a sweep, as :func:`compose` makes it."""
    parsed = _parsed(overrides)
    for override in parsed:
        _check(override, overrides, folders)
    return _settled(_composed(parsed, folders))


def _parsed(overrides: Sequence[str]) -> list[Override]:
    return [read(text, after) for text, after in zip(overrides, [*overrides[1:], ""], strict=False)]


def _settled(cfg: DictConfig) -> DictConfig:
    """The configuration as that of the command in hand."""
    from hydra.core.hydra_config import HydraConfig

    HydraConfig.instance().set_config(cfg)
    return cfg


def _first(parsed: Sequence[Override], overrides: Sequence[str], folders: Sequence[Path]) -> DictConfig:
    """The first job of a sweep; InputError where one of its options cannot be composed, or sweeps by itself
    while it is swept."""
    jobs = first_jobs(parsed, folders)
    for job in jobs:
        for override in job:
            _check(override, overrides, folders)
    cfgs = [_composed(job, folders) for job in jobs]
    found = [params_of(cfg.hydra) for cfg in cfgs]
    if any(found):
        single = [each for each in parsed if not each.is_sweep_override()]
        shared = [
            each for each in single if each.key_or_group in GROUPS or each.key_or_group.startswith("hydra")
        ]
        known = params_of(_raw([each.input_line for each in shared], folders).hydra)
        for job, params in zip(jobs, found, strict=True):
            if params != known:  # Hydra's own sweeper would not see them
                texts = [
                    each.input_line for each in job if each.key_or_group in GROUPS and each not in shared
                ]
                raise InputError(
                    f"{' '.join(texts)} sweeps {_shown(params) or 'nothing'} by itself "
                    "(hydra.sweeper.params): choose it alone"
                )
    return cfgs[0]


def _shown(params: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in params.items())


def _composed(job: Sequence[Override], folders: Sequence[Path]) -> DictConfig:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        cfg = _raw([override.input_line for override in job], folders)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise InputError(f"{str(mark.name)!r}, line {mark.line + 1}: {error.problem}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"a file of {', '.join(map(str, folders))} is not UTF-8: {error}") from None
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise _explained(error, job, folders) from None
    for override in job:
        if override.is_delete() and "." not in override.key_or_group and override.key_or_group not in GROUPS:
            raise InputError(f"{override.input_line!r}: {override.key_or_group} cannot be left out")
    idle = unchosen(cfg)
    _drop(cfg, idle)
    for override in job:
        if tuple(override.key_or_group.split(".")[:2]) in idle and (
            wrong := misplaced(override, cfg, folders)
        ):
            raise wrong
    return cfg


def unchosen(cfg: DictConfig) -> list[tuple[str, str]]:
    """Diagnostics and comparisons, as group and name, that have values though nobody chose them: an
    experiment sets some, and the command line chooses others. InputError where there is no option of that
    name, but one of nearly that name."""
    from omegaconf import DictConfig

    found, folders = [], [shipped(), *own_folders(cfg.hydra)]
    for group in SEVERAL:
        chosen = cfg.get(group)
        for name in [] if chosen is None else list(chosen.keys()):
            node = chosen._get_node(name)
            if not isinstance(node, DictConfig) or not node.keys() or TARGET in node.keys():
                continue
            places = [path for folder in folders if (path := folder / group / f"{name}.yaml").is_file()]
            if not places and nearest(name, known := options(group, folders)):
                raise unknown(group, name, known)
            # An option that lacks its class may well be chosen; that is said where it is built.
            if places and any(targets(yaml.safe_load(places[0].read_text(encoding="utf-8")))):
                found.append((group, name))
    return found


def _drop(cfg: DictConfig, nodes: Sequence[tuple[str, str]]) -> None:
    from omegaconf import open_dict

    with open_dict(cfg):
        for group, name in nodes:
            del cfg[group][name]


def _raw(overrides: Sequence[str], folders: Sequence[Path]) -> DictConfig:
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(shipped()), job_name="latentrun", **version_base()):
        return hydra.compose("config", [*overrides, *search_path(folders)], return_hydra_config=True)


def search_path(folders: Sequence[Path]) -> list[str]:
    """The override that lets Hydra find the user's own options."""
    quoted = (f"'file://{folder}'".replace("\\", "\\\\") for folder in folders)
    return [f"{SEARCH_PATH}=[{','.join(quoted)}]"] if folders else []


def settings_of(cfg: DictConfig) -> DictConfig:
    """The configuration without Hydra's own node, and without values for what is not chosen."""
    from omegaconf import OmegaConf

    with told():
        settings = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
    _drop(settings, unchosen(cfg))
    return settings


def values_of(settings: DictConfig) -> dict[str, Any]:
    """Resolved, as plain values; InputError where a value is missing or refers to none."""
    from omegaconf import OmegaConf

    with told():
        missing = sorted(OmegaConf.missing_keys(settings))
        if missing:
            raise InputError(f"{missing[0]}: a value is needed: {missing[0]}=...")
        found = OmegaConf.to_container(settings, resolve=True)
    for group in SEVERAL:
        found[group] = found.get(group) or {}  # an empty list leaves no node behind
    return found


def about_of(hydra: DictConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's meta.json says of its command: the options chosen, the overrides, and whether the
    diagnostics are those of the default list."""
    from omegaconf import OmegaConf

    return {
        "choices": {
            key: value for key, value in hydra.runtime.choices.items() if not str(key).startswith("hydra/")
        },
        "overrides": list(OmegaConf.to_container(hydra.overrides.task, resolve=False)),
        "default_list": list(values["diagnostic"]) == defaults()["diagnostic"],
    }


def own_packages(hydra: DictConfig) -> list[str]:
    """The packages that the user's own files name: trusted in a fresh run; read back from a run directory,
    they must be named."""
    return packages(own_folders(hydra))


def own_folders(hydra: DictConfig) -> list[Path]:
    """The user's own folders of options, as Hydra knows them."""
    return [
        Path(source.path)
        for source in hydra.runtime.config_sources
        if source.schema == "file" and source.provider != "main"
    ]


@contextmanager
def told() -> Iterator[None]:
    """Trouble with the values of a configuration as InputError."""
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if getattr(error, "full_key", None) else ""
        raise InputError(f"{where}{one_line(error)}") from None


# ---------------------------------------------------------------- Hydra 1.3 and 1.4
def stable() -> bool:
    """Whether this is Hydra 1.3 with OmegaConf 2.3, and not what comes after."""
    import hydra

    return hydra.__version__.startswith("1.3")


def version_base() -> dict[str, str]:
    """Hydra 1.3 wants to be told which defaults hold; 1.4 warns when it is."""
    return {"version_base": "1.3"} if stable() else {}


def register() -> None:
    """Tell Hydra of ours: ``${slug:text}`` (text as a folder name, at most 80 characters), and where our
    launcher lies."""
    from omegaconf import OmegaConf

    if PLUGINS not in sys.path:
        sys.path.append(PLUGINS)

    # OmegaConf 2.4 gives the old name a new meaning, and warns of the name that 2.3 wants.
    make = OmegaConf.register_new_resolver if stable() else OmegaConf.register_resolver
    make("slug", lambda text: re.sub(r"[^\w.=,+-]+", "-", str(text))[:80] or "job", replace=True)


# ---------------------------------------------------------------- what can be said before composing
def _check(override: Override, overrides: Sequence[str], folders: Sequence[Path]) -> None:
    """Names of options, packages that are not installed, and what may not be done to a group; InputError."""
    text, key = override.input_line, override.key_or_group
    module, wanted = ENGINES.get(text, ("", ""))
    if module and not find_spec(f"hydra_plugins.{module}"):
        raise InputError(
            f"{text}: {module.replace('_', '-')} is not installed: pip install 'latentrun[{wanted}]'"
        )
    if override.is_sweep_override():
        a_list = f"; a list is written '{key}=[...]'" if isinstance(defaults().get(key), list) else ""
        raise InputError(f"{text!r}: several values need a sweep: latentrun -m {' '.join(overrides)}{a_list}")
    if key in GROUPS and not override.is_delete():
        check_options(override, [shipped(), *folders])
    elif key in GROUPS and defaults()[key] is not None:
        none = f"; write '{key}=[]' for none" if isinstance(defaults()[key], list) else ""
        raise InputError(f"{text!r}: {key} cannot be left out{none}")


# ---------------------------------------------------------------- what Hydra refused
def _explained(error: Exception, job: Sequence[Override], folders: Sequence[Path]) -> InputError:
    """What is wrong with the overrides of a job that does not compose, in one line with the nearest valid
    name."""
    groups = [override.input_line for override in job if override.key_or_group in GROUPS]
    try:
        cfg = _raw(groups, folders)
        _drop(cfg, unchosen(cfg))
    except Exception:  # the options themselves do not compose
        cfg = None
    for override in job if cfg is not None else ():
        if override.key_or_group not in GROUPS and not override.key_or_group.startswith("hydra"):
            wrong = misplaced(override, cfg, folders)
            if wrong:
                return wrong
    missing = getattr(error, "missing_cfg_file", None)
    if missing and getattr(error, "options", None):
        group, _, name = str(missing).rpartition("/")
        return unknown(group, name, error.options)
    what, _, rest = str(error).strip().partition("\n")
    why = (
        one_line(error.__cause__ or rest.split("\n")[0])
        if error.__cause__ is not None or what.endswith(":")
        else ""
    )
    return InputError(": ".join(filter(None, (one_line(what).rstrip(".:"), why))))
