"""What a command line asks for, word by word: ``key=value`` by Hydra's grammar, and what a sweep makes of
it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from latentrun.command.slips import slip
from latentrun.command.typed import typed
from latentrun.config.options import EVERY, PARTS, defaults, options, require_said, shipped
from latentrun.config.settings import key_of
from latentrun.errors import InputError, one_line, unknown

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

SEVERAL = ("diagnostic", "comparison")  # groups of which a list is chosen
MOST = 2000  # values in one override: Hydra's grammar takes seconds for some thousands, and minutes for more
JOBS = 10_000  # of a sweep: each is composed and built before the first one starts


# ---------------------------------------------------------------- one override
def read(text: str, after: str) -> Override:
    """One override; ``after``: what follows it on the command line, for the message where it cannot be
    read."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if text.count(",") >= MOST:
        raise InputError(
            f"{text[:40]!r}...: more than {MOST:,} values are for a file of options (--config-dir)"
        )
    try:
        override = OverridesParser.create().parse_override(as_read := typed(text))
    except (HydraException, ValueError, RecursionError):
        raise InputError(f"{text!r} cannot be read: {slip(text, after)}") from None
    if not override.key_or_group:
        raise InputError(f"{text!r} cannot be read: write key=value")
    override.input_line = as_read  # the stable line of Hydra leaves it out here
    return override


def require_once(parsed: Sequence[Override]) -> None:
    """InputError where a key or group is set twice: the first would be lost without a word."""
    lines: dict[str, str] = {}
    for override in parsed:
        key, line = key_of(override.input_line), override.input_line
        if key in lines:
            raise InputError(f"{line!r}: {key} is set twice; {lines[key]!r} stands before it")
        lines[key] = line


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
        require_said(group, name, everywhere)


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
    return latest([*(f"{key}={value}" for key, value in params_of(hydra).items()), *overrides])


def latest(overrides: Sequence[str]) -> list[str]:
    """Each key once, in the place of its first and with the value of its last override."""
    return list({read(text, "").get_key_element(): text for text in overrides}.values())


def require_few(parsed: Sequence[Override]) -> None:
    """InputError where a sweep repeats a value, or has more than ``JOBS`` jobs: nothing is listed to find
    that out."""
    count = 1
    for override in parsed:
        if override.is_sweep_override():
            count *= _count(override)
            if count > JOBS:
                raise InputError(f"{override.input_line!r}: a sweep has at most {JOBS:,} jobs")


def _count(override: Override) -> int:
    """How many values a sweep gives one key."""
    from hydra.core.override_parser.types import ChoiceSweep, RangeSweep

    text, value = override.input_line, override.value()
    if isinstance(value, RangeSweep):
        if not value.step:
            raise InputError(f"{text!r} cannot be read: range() arg 3 must not be zero")
        return max(0, math.ceil((value.stop - value.start) / value.step))
    if not isinstance(value, ChoiceSweep):
        return 1
    names = [str(getattr(choice, "text", choice)) for choice in value.list]  # those in quotes are objects
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{text!r}: {twice} is named twice")
    return len(names)


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
    if key in EVERY or getattr(value, "shuffle", False):  # all are listed
        require_few([override])
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
