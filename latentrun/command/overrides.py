"""What a command line asks for, word by word: ``key=value`` by Hydra's grammar, and what a sweep makes of
it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentrun.config.build import TARGET
from latentrun.config.options import EVERY, GROUPS, PARTS, defaults, options, owners, shipped
from latentrun.errors import InputError, one_line, unknown

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

SEVERAL = ("diagnostic", "comparison")  # groups of which a list is chosen


# ---------------------------------------------------------------- one override
def read(text: str, after: str) -> Override:
    """One override; ``after``: what follows it on the command line, for the message where it cannot be
    read."""
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
    """Conditions, and paths with an = (the directories of a sweep's jobs have one), in the quotes that Hydra
    wants around them."""
    key, _, value = text.partition("=")
    plain = value[:1] not in ("", "[", "'", '"')
    if plain and (key in ("where", "runs") or (key in ("run", "resume") and "=" in value)):
        quote = '"' if "'" in value else "'"
        return f"{key}={quote}{value.replace(quote, chr(92) + quote)}{quote}"
    # A part of an option is chosen as if it were a value; for Hydra it is an option in a place of its own.
    group = key.rpartition(".")[2]
    if (
        group in PARTS
        and group != key
        and "@" not in key
        and re.fullmatch(r"[\w,]+", value)
        and value != "null"
    ):
        return f"{group}@{key}={value}"
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
        return (
            "no such function; several values are given as key=1,2,3, as key=range(1,4) or as "
            "key=choice(1,2,3)"
        )
    if any(text.count(quote) % 2 for quote in "\"'"):
        return "a quote is not closed"
    if any(text.count(left) != text.count(right) for left, right in ("[]", "{}", "()")):
        return "a bracket is not closed, or not quoted: 'key=[a,b]'"
    if not re.fullmatch(r"[+~]{0,2}\w[\w/@-]*(\.\w+)*", key):
        return f"{key!r} is no key; keys are names with points between them: model.latent_dim=3"
    return "a text with special characters stands in quotes of its own: \"key='a: b'\""


# ---------------------------------------------------------------- what one may say
def check_options(override: Override, everywhere: Sequence[Path]) -> None:
    """The options that an override chooses of a group."""
    text, group, value = override.input_line, override.key_or_group, override.value()
    default, known = defaults().get(group, ""), options(group, everywhere)
    several = isinstance(default, list)
    if group in PARTS and override.package is None:
        raise InputError(f"{text!r}: write model.{group}=...")
    if (
        (override.package is not None and group not in PARTS)
        or override.is_force_add()
        or (override.is_add() and not several)
    ):
        raise InputError(f"{text!r}: write {group}=...")
    if isinstance(value, list) and not several:
        raise InputError(f"{text!r}: {group} takes one option, not a list; known: {', '.join(sorted(known))}")
    if isinstance(value, dict):
        raise InputError(
            f"{text!r}: {group} takes the name of an option; values are set with {group}.key=..."
        )
    names = value if isinstance(value, list) else [value]
    for name in names:
        if name is None and default is None:
            continue
        if not isinstance(name, str) or name not in known:
            known = [*known, "null"] if default is None else known
            raise unknown(group, "null" if name is None else str(name), known)
        if names.count(name) > 1:
            raise InputError(f"{text!r}: {name!r} is named twice")


def misplaced(override: Override, cfg: DictConfig, folders: Sequence[Path]) -> InputError | None:
    """What is wrong where the key of an override is not there, or is there and should not be; else None."""
    from omegaconf import DictConfig

    text, key = override.input_line, override.package or override.key_or_group
    adds = override.is_add() or override.is_force_add()
    node: Any = cfg
    parts = key.split(".")
    for depth, part in enumerate(parts):
        if isinstance(node, DictConfig) and part in node.keys():  # not `in node`: the value may be missing
            node = node._get_node(part)
            continue
        parent = ".".join(parts[:depth])
        if isinstance(defaults().get(parent), list) and part in options(parent, [shipped(), *folders]):
            chosen = ", ".join(str(name) for name in node) or "none"
            return InputError(f"{text!r}: the {parent} {part!r} is not one of those chosen: {chosen}")
        if adds:
            return None
        if not parent:
            return _unknown_at_top(text, key, cfg, folders)
        if not isinstance(node, DictConfig):
            return InputError(f"{text!r}: {parent} is a single value; it has no key {part!r}")
        return unknown(f"key of {parent}", part, [str(name) for name in node if name != TARGET])
    if override.is_add():
        return InputError(f"{text!r}: {key} is there already; write {text.lstrip('+')}")
    return None


def _unknown_at_top(text: str, key: str, cfg: DictConfig, folders: Sequence[Path]) -> InputError:
    """What is wrong with a key that the configuration has not: it may be another task's."""
    name = key.partition(".")[0]
    tasks = ", ".join(f"task={task}" for task in owners(name, [shipped(), *folders]))
    if tasks:
        return InputError(f"{text!r}: {name} belongs to {tasks}")
    present = [str(name) for name in cfg if name != "hydra"]
    return unknown("key", key, [*present, *(group for group in GROUPS if group not in cfg)])


# ---------------------------------------------------------------- a sweep
def params_of(hydra: DictConfig) -> dict[str, str]:
    """What the options chosen sweep by themselves, values by key: ``hydra.sweeper.params``; nothing where the
    sweeper is not Hydra's own, for to others they mean other things."""
    from omegaconf import OmegaConf

    if hydra.runtime.choices["hydra/sweeper"] != "basic" or not hydra.sweeper.params:
        return {}
    params = OmegaConf.to_container(hydra.sweeper.params, resolve=True)
    for key, value in params.items():
        if not isinstance(value, str | int | float):
            raise InputError(
                f"hydra.sweeper.params.{key}: must be a text with the values, such as '1,2,3', got {value!r}"
            )
    return {str(key): str(value) for key, value in params.items()}


def all_overrides(overrides: Sequence[str], hydra: DictConfig) -> list[str]:
    """All that a sweep is asked for, each key once: what its options sweep stands first, as in Hydra's own
    sweeper, and takes the value that the command line gives the same key."""
    everything = [*(f"{key}={value}" for key, value in params_of(hydra).items()), *overrides]
    return list({read(text, "").get_key_element(): text for text in everything}.values())


def first_jobs(parsed: Sequence[Override], folders: Sequence[Path]) -> list[list[Override]]:
    """The first job of a sweep, then for each other option that it names the first job with that option in
    its place."""
    values = [
        _values(override, folders) if override.is_sweep_override() else [override] for override in parsed
    ]
    first = [overrides[0] for overrides in values]
    jobs = [first]
    for place, override in enumerate(parsed):
        if override.key_or_group in EVERY:
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
            names = options(key, [shipped(), *folders]) if key in EVERY else {}
            values = iter(value.filter(list(names)))
        else:
            values = override.sweep_string_iterator()
        taken = list(values) if key in EVERY else list(islice(values, 1))
    except ValueError as error:
        raise InputError(f"{text!r} cannot be read: {one_line(error)}") from None
    if not taken:
        raise InputError(f"{text!r}: there are no such values")
    return [read(f"{override.get_key_element()}={value}", "") for value in taken]
