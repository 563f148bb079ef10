"""Keys that are not where the command line looks for them, and where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentrun.config.build import TARGET
from latentrun.config.options import GROUPS, defaults, options, owners, shipped
from latentrun.errors import InputError, nearest, unknown

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

SHOWN = 3  # places that are named of a key that stands in several


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
        return _unknown(f"key of {parent}", part, [str(name) for name in node if name != TARGET], cfg, key)
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
    return _unknown("key", key, [*present, *(group for group in GROUPS if group not in cfg)], cfg, key)


def _unknown(what: str, name: str, here: Sequence[str], cfg: DictConfig, key: str) -> InputError:
    """``name`` is none of the keys ``here``; the places that have it, or nearly, elsewhere in ``cfg`` are
    named."""
    suggested, last = suggestions(key, cfg), key.rpartition(".")[2]
    same = bool(suggested) and suggested[0].endswith(f".{last}")
    # A key of nearly that name beside it is meant before one elsewhere, unless that has the very name.
    if not suggested or get_close_matches(name, here, 1, 0.8) or (nearest(name, here) and not same):
        return unknown(what, name, here)
    named = " or ".join(repr(place) for place in suggested[:SHOWN])
    more = f" or {len(suggested) - SHOWN} more" if len(suggested) > SHOWN else ""
    return InputError(
        f"unknown {what} {name!r} (did you mean {named}{more}?); known: {', '.join(sorted(here))}"
    )


def suggestions(key: str, cfg: DictConfig) -> list[str]:
    """The keys in the whole of ``cfg``, Hydra's own left out, that end with ``key``; where there are none,
    those whose last part is that of ``key``, else those of the nearest last part. Those nearest to the top
    first."""
    last = key.rpartition(".")[2]
    by_name: dict[str, list[str]] = {}
    for place in _places(cfg, ""):
        by_name.setdefault(place.rpartition(".")[2], []).append(place)
    whole = [place for place in by_name.get(last, ()) if "." in key and place.endswith(f".{key}")]
    if whole:
        return whole
    names = [last] if last in by_name else get_close_matches(last, by_name, 1, 0.75)
    return sorted((place for name in names for place in by_name[name]), key=lambda place: place.count("."))


def _places(node: Any, prefix: str) -> Iterator[str]:
    """Every key below a node, its values unread."""
    from omegaconf import DictConfig

    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing():
        return
    for name in node.keys():
        if name == TARGET or (name == "hydra" and not prefix):
            continue
        yield f"{prefix}{name}"
        yield from _places(node._get_node(name), f"{prefix}{name}.")
