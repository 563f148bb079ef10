"""The command line to a configuration, or one line that says what is wrong with it. Here Hydra's own words end."""

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

from latentrun.errors import InputError, nearest, one_line, unknown
from latentrun.options import GROUPS, defaults, extra, options, owners, packages, shipped

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

SEARCH_PATH = "hydra.searchpath"
PLUGINS = str(Path(__file__).parent / "launchers")  # holds the namespace package in which Hydra finds plugins
ENGINES = {  # launchers and sweepers of other packages, by the module that must be there; the name is that of our extra
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
        for name in (("--help", "-h"), ("--version",), ("--hydra-help",), ("--multirun", "-m"), ("--shell-completion", "-sc")):
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
                raise InputError(f"unknown flag {text!r}: values are given without dashes: {key}={text.partition('=')[2] or '...'}")
            raise InputError(f"unknown flag {text!r}{nearest(name, flags.names)}; see latentrun --help")
    arguments = flags.parse_intermixed_args(argv)
    if (arguments.resolve or arguments.package) and not arguments.cfg:
        raise InputError(f"{'--resolve' if arguments.resolve else '--package'} goes with --cfg; see latentrun --help")
    return arguments


def folders_of(arguments: Namespace) -> list[Path]:
    """The user's own folders (see :func:`latentrun.options.extra`); takes ``hydra.searchpath`` out of the overrides."""
    named: list[str] = []
    for text in [text for text in arguments.overrides if text.lstrip("+").startswith(f"{SEARCH_PATH}=")]:
        value = read(text, "").value()
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise InputError(f"{text!r}: must be a list of folders: '{SEARCH_PATH}=[file:///folder,pkg://package.folder]'")
        named += value
        arguments.overrides.remove(text)
    return extra(arguments.config_dir, named)


# ---------------------------------------------------------------- composing
def compose(overrides: Sequence[str], folders: Sequence[Path], sweep: bool = False) -> DictConfig:
    """The configuration, with the node ``hydra`` resolved as in a run; InputError in one line where it cannot be made.

    ``sweep``: overrides may hold several values. What is returned is then the first job; every option that some job
    names has been composed too, one after the other.
    """
    from hydra.core.hydra_config import HydraConfig

    register()
    parsed = [read(text, after) for text, after in zip(overrides, [*overrides[1:], ""], strict=False)]
    jobs = _jobs(parsed, folders) if sweep else [parsed]
    for job in jobs:
        for override in job:
            _check(override, overrides, folders)
    for job in reversed(jobs):  # the first one last: it stays
        cfg = _composed(job, folders)
    for override in parsed:
        if override.is_delete() and "." not in override.key_or_group and override.key_or_group not in GROUPS:
            raise InputError(f"{override.input_line!r}: {override.key_or_group} cannot be left out")
    HydraConfig.instance().set_config(cfg)
    return cfg


def _composed(job: Sequence[Override], folders: Sequence[Path]) -> DictConfig:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        return _raw([override.input_line for override in job], folders)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise InputError(f"{str(mark.name)!r}, line {mark.line + 1}: {error.problem}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"a file of {', '.join(map(str, folders))} is not UTF-8: {error}") from None
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise _explained(error, job, folders) from None


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
    """The configuration without Hydra's own node."""
    from omegaconf import OmegaConf

    with told():
        return OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])


def values_of(settings: DictConfig) -> dict[str, Any]:
    """Resolved, as plain values; InputError where a value is missing or refers to none."""
    from omegaconf import OmegaConf

    with told():
        missing = sorted(OmegaConf.missing_keys(settings))
        if missing:
            raise InputError(f"{missing[0]}: a value is needed: {missing[0]}=...")
        found = OmegaConf.to_container(settings, resolve=True)
    for group in ("diagnostic", "comparison"):
        found[group] = found.get(group) or {}  # an empty list leaves no node behind
    return found


def about_of(hydra: DictConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's meta.json says of its command: the options chosen, the overrides, and whether the diagnostics are those
    of the default list."""
    from omegaconf import OmegaConf

    return {
        "choices": {key: value for key, value in hydra.runtime.choices.items() if not str(key).startswith("hydra/")},
        "overrides": list(OmegaConf.to_container(hydra.overrides.task, resolve=False)),
        "default_list": list(values["diagnostic"]) == defaults()["diagnostic"],
    }


def own_packages(hydra: DictConfig) -> list[str]:
    """The packages that the user's own files name: trusted in a fresh run; read back from a run directory, they must be named."""
    sources = (source for source in hydra.runtime.config_sources if source.schema == "file" and source.provider != "main")
    return packages(Path(source.path) for source in sources)


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
    """Tell Hydra of ours: ``${slug:text}`` (text as a folder name, at most 80 characters), and where our launcher lies."""
    from omegaconf import OmegaConf

    if PLUGINS not in sys.path:
        sys.path.append(PLUGINS)

    # OmegaConf 2.4 gives the old name a new meaning, and warns of the name that 2.3 wants.
    make = OmegaConf.register_new_resolver if stable() else OmegaConf.register_resolver
    make("slug", lambda text: re.sub(r"[^\w.=,+-]+", "-", str(text))[:80] or "job", replace=True)


# ---------------------------------------------------------------- reading overrides
def read(text: str, after: str) -> Override:
    """One override; ``after``: what follows it on the command line, for the message where it cannot be read."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    text = _verbatim(text)
    try:
        override = OverridesParser.create().parse_override(text)
    except (HydraException, ValueError, RecursionError):
        raise InputError(f"{text!r} cannot be read: {_unreadable(text, after)}") from None
    if not override.key_or_group:
        raise InputError(f"{text!r} cannot be read: write key=value")
    override.input_line = text  # the stable line of Hydra leaves it out here
    return override


def _verbatim(text: str) -> str:
    """Conditions, and paths with an = (the directories of a sweep's jobs have one), in the quotes that Hydra wants around them."""
    key, _, value = text.partition("=")
    plain = value[:1] not in ("", "[", "'", '"')
    if plain and (key in ("where", "runs") or (key in ("run", "resume") and "=" in value)):
        quote = '"' if "'" in value else "'"
        return f"{key}={quote}{value.replace(quote, chr(92) + quote)}{quote}"
    return text


def _unreadable(text: str, after: str) -> str:
    """Why Hydra's grammar may not take a text, guessed from how people mistype."""
    key, equals, value = text.partition("=")
    if not equals:
        for group in GROUPS:
            if text in options(group, [shipped()]):
                return f"write {group}={text}"
        if after.startswith("="):
            return f"no spaces around '=': {text}={after.lstrip('=') or '...'}"
        if re.fullmatch(r"[\w.]+:.*", text):
            return f"write {re.sub(':[ ]*', '=', text, count=1)}"
        return "write key=value"
    if key != key.strip() or value != value.lstrip():
        return f"no spaces around '=': {key.strip()}={value.strip()}"
    if text.rstrip().endswith(","):
        return f"no space after a comma: {text}{after}"
    if re.match(r"\w+\(", value):
        return "no such function; several values are given as key=1,2,3, as key=range(1,4) or as key=choice(1,2,3)"
    if any(text.count(quote) % 2 for quote in "\"'"):
        return "a quote is not closed"
    if any(text.count(left) != text.count(right) for left, right in ("[]", "{}", "()")):
        return "a bracket is not closed, or not quoted: 'key=[a,b]'"
    if not re.fullmatch(r"[+~]{0,2}\w[\w/@-]*(\.\w+)*", key):
        return f"{key!r} is no key; keys are names with points between them: model.latent_dim=3"
    return "a text with special characters stands in quotes of its own: \"key='a: b'\""


def _jobs(parsed: Sequence[Override], folders: Sequence[Path]) -> list[list[Override]]:
    """The first job of a sweep, then for each other option that it names the first job with that option in its place."""
    values = [_values(override, folders) if override.is_sweep_override() else [override] for override in parsed]
    first = [next(iter(each)) for each in values]
    jobs = [first]
    for place, override in enumerate(parsed):
        if override.key_or_group in GROUPS:
            jobs += [[*first[:place], other, *first[place + 1 :]] for other in values[place][1:]]
    return jobs


def _values(override: Override, folders: Sequence[Path]) -> list[Override]:
    """What a sweep gives one key: all options of a group, the first value of everything else."""
    from hydra.core.override_parser.types import Glob, IntervalSweep

    text, key, value = override.input_line, override.key_or_group, override.value()
    if isinstance(value, IntervalSweep):
        return [read(f"{key}={value.start}", "")]
    try:
        if isinstance(value, Glob):
            known = options(key, [shipped(), *folders]) if key in GROUPS else {}
            found = iter(value.filter(list(known)))
        else:
            found = override.sweep_string_iterator()
        chosen = list(found) if key in GROUPS else [next(found)]
    except StopIteration:
        chosen = []
    except ValueError as error:
        raise InputError(f"{text!r} cannot be read: {one_line(error)}") from None
    if not chosen:
        raise InputError(f"{text!r}: there are no such values")
    return [read(f"{override.get_key_element()}={value}", "") for value in chosen]


# ---------------------------------------------------------------- what can be said before composing
def _check(override: Override, overrides: Sequence[str], folders: Sequence[Path]) -> None:
    """Names of options, packages that are not installed, and what may not be done to a group; InputError."""
    text, key = override.input_line, override.key_or_group
    module, wanted = ENGINES.get(text, ("", ""))
    if module and not find_spec(f"hydra_plugins.{module}"):
        raise InputError(f"{text}: {module.replace('_', '-')} is not installed: pip install 'latentrun[{wanted}]'")
    if override.is_sweep_override():
        a_list = f"; a list is written '{key}=[...]'" if isinstance(defaults().get(key), list) else ""
        raise InputError(f"{text!r}: several values need a sweep: latentrun -m {' '.join(overrides)}{a_list}")
    if key in GROUPS and not override.is_delete():
        _check_options(override, [shipped(), *folders])
    elif key in GROUPS and defaults()[key] is not None:
        none = f"; write '{key}=[]' for none" if isinstance(defaults()[key], list) else ""
        raise InputError(f"{text!r}: {key} cannot be left out{none}")


def _check_options(override: Override, everywhere: Sequence[Path]) -> None:
    """The options that an override chooses of a group."""
    text, group, value = override.input_line, override.key_or_group, override.value()
    default, known = defaults()[group], options(group, everywhere)
    several = isinstance(default, list)
    if override.package is not None or override.is_force_add() or (override.is_add() and not several):
        raise InputError(f"{text!r}: write {group}=...")
    if isinstance(value, list) and not several:
        raise InputError(f"{text!r}: {group} takes one option, not a list; known: {', '.join(sorted(known))}")
    if isinstance(value, dict):
        raise InputError(f"{text!r}: {group} takes the name of an option; values are set with {group}.key=...")
    names = value if isinstance(value, list) else [value]
    for name in names:
        if name is None and default is None:
            continue
        if not isinstance(name, str) or name not in known:
            known = [*known, "null"] if default is None else known
            raise unknown(group, "null" if name is None else str(name), known)
        if names.count(name) > 1:
            raise InputError(f"{text!r}: {name!r} is named twice")


# ---------------------------------------------------------------- what Hydra refused
def _explained(error: Exception, job: Sequence[Override], folders: Sequence[Path]) -> InputError:
    """What is wrong with the overrides of a job that does not compose, in one line with the nearest valid name."""
    groups = [override.input_line for override in job if override.key_or_group in GROUPS]
    try:
        cfg = _raw(groups, folders)
    except Exception:  # the options themselves do not compose
        cfg = None
    for override in job if cfg is not None else ():
        if override.key_or_group not in GROUPS and not override.key_or_group.startswith("hydra"):
            wrong = _misplaced(override, cfg, folders)
            if wrong:
                return wrong
    missing = getattr(error, "missing_cfg_file", None)
    if missing and getattr(error, "options", None):
        group, _, name = str(missing).rpartition("/")
        return unknown(group, name, error.options)
    cause = f": {one_line(error.__cause__)}" if error.__cause__ is not None else ""
    return InputError(f"{one_line(error).rstrip('.')}{cause}")


def _misplaced(override: Override, cfg: DictConfig, folders: Sequence[Path]) -> InputError | None:
    """Where the key of an override is not there, or is there and should not be."""
    from omegaconf import DictConfig

    text, key = override.input_line, override.key_or_group
    node: Any = cfg
    parts = key.split(".")
    for depth, part in enumerate(parts):
        if isinstance(node, DictConfig) and part in node.keys():  # `in node` says no where the value is yet to be given
            node = node._get_node(part)
            continue
        if override.is_add() or override.is_force_add():
            return None
        parent = ".".join(parts[:depth])
        if not parent:
            siblings = [*(str(name) for name in node if name != "hydra"), *(group for group in GROUPS if group not in node)]
            tasks = ", ".join(f"task={task}" for task in owners(part, [shipped()]))
            return InputError(f"{text!r}: {part} belongs to {tasks}") if tasks else unknown("key", key, siblings)
        if not isinstance(node, DictConfig):
            return InputError(f"{text!r}: {parent} is a single value; it has no key {part!r}")
        if isinstance(defaults().get(parent), list) and part in options(parent, [shipped(), *folders]):
            chosen = ", ".join(str(name) for name in node)
            return InputError(f"{text!r}: the {parent} {part!r} is not one of those chosen: {chosen}")
        return unknown(f"key of {parent}", part, [str(name) for name in node if name != "_target_"])
    return InputError(f"{text!r}: {key} is there already; write {text.lstrip('+')}") if override.is_add() else None
