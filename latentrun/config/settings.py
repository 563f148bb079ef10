"""The settings of runs as flat rows, and which of them tell runs apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latentrun.config.build import TARGET
from latentrun.config.fingerprint import FIT_KEYS

REPLICATE = "seed"  # runs that differ in nothing else are repetitions of one experiment
VARIANT = "variant"  # an option that is a name for several settings


def key_of(override: str) -> str:
    """The key that an override of the command line sets.

    >>> key_of("+model.latent_dim=3"), key_of("likelihood@model.likelihood=gaussian")
    ('model.latent_dim', 'model.likelihood')
    """
    return override.lstrip("+~").partition("=")[0].rpartition("@")[2]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings to one level: ``{"model.latent_dim": 3}``; lists become text, class names are left
    out."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif key != TARGET:
            flat[prefix + key] = (
                value if isinstance(value, bool | int | float | str | type(None)) else str(value)
            )
    return flat


def _place(key: str) -> tuple[int, str]:
    """Where an option stands among the others: with its group, in the order of ``FIT_KEYS``."""
    return FIT_KEYS.index(key.partition(".")[0]), key


def settings(config: Mapping[str, Any], choices: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run what it is, flat: the options chosen and their values, ``{"model": "vae", "seed": 0,
    "model.latent_dim": 3}``; the task too, for a pruned model is none that was trained with its settings; the
    variant, where there is one, for it names them."""
    options = {
        key: option
        for key, option in choices.items()
        if isinstance(option, str) and key.partition(".")[0] in FIT_KEYS
    }
    options = {key: options[key] for key in sorted(options, key=_place)}
    options["task"] = str(choices.get("task", "train"))
    if isinstance(choices.get(VARIANT), str):
        options = {VARIANT: choices[VARIANT], **options}
    return {**options, **flatten({key: config[key] for key in FIT_KEYS if key in config})}


@dataclass(frozen=True)
class Group:
    """Rows that differ only in the seed and in what they are paired on. ``values``: of the keys that tell the
    groups apart, and so the ``name``; ``members[pair]``: the number of each row."""

    name: str
    values: dict[str, Any]
    members: dict[tuple, int]


def groups(rows: Sequence[Mapping[str, Any]], names: Sequence[str], pair_on: Sequence[str]) -> list[Group]:
    """Flat rows by the keys that vary among them, except the seed and ``pair_on``; in the order in which they
    are given. ``names``: of each row, for groups that no setting tells apart.

    Where nothing else varies, the seed tells the groups apart. Rows that agree in everything are repetitions,
    the first of each in one group, the second in another.
    """
    paired = [*pair_on, REPLICATE]
    keys = [key for key in varied(rows) if key not in paired]
    if not keys and len({_values(row, paired) for row in rows}) == len(rows):
        keys, paired = [REPLICATE], list(pair_on)
    members: dict[tuple, dict[tuple, int]] = {}
    for number, row in enumerate(rows):
        values, pair = _values(row, keys), _values(row, paired)
        repeat = next(i for i in range(len(rows)) if pair not in members.get((*values, i), ()))
        members.setdefault((*values, repeat), {})[pair] = number
    repeated = any(repeat for *_, repeat in members)
    made = []
    for (*values, repeat), by_pair in members.items():
        named = dict(zip(keys, values, strict=True)) | ({"repeat": repeat + 1} if repeated else {})
        name = ", ".join(f"{key}={value}" for key, value in named.items()) or "all"
        if repeated and len(members) == len(rows):
            name = names[next(iter(by_pair.values()))]
        made.append(Group(name, named, by_pair))
    return made


def _values(row: Mapping[str, Any], keys: Sequence[str]) -> tuple:
    return tuple(row.get(key) for key in keys)


def follows_seed(key: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a seed within a part, such as ``data.seed``, is that of the run in all rows.

    >>> follows_seed("data.seed", [{"seed": 0, "data.seed": 0}, {"seed": 1, "data.seed": 1}])
    True
    """
    return key.endswith(f".{REPLICATE}") and all(row.get(key) == row.get(REPLICATE) for row in rows)


def varied(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys in which flat rows differ, seed included, in order of appearance; not those that follow from
    an option in which they do (the settings of a model that only one of two models has, the model that a
    variant chooses), nor those that follow the seed."""

    def distinct(keys: Sequence[str]) -> int:
        return len({tuple(repr(row.get(key)) for key in keys) for row in rows})

    names = dict.fromkeys(key for row in rows for key in row)
    differing = [key for key in names if distinct([key]) > 1 and not follows_seed(key, rows)]
    options = [key for key in differing if "." not in key and key != REPLICATE]
    if VARIANT in options:
        options = [key for key in options if key == VARIANT or distinct([VARIANT, key]) > distinct([VARIANT])]
    return [
        key
        for key in differing
        if key in (*options, REPLICATE) or distinct([*options, key]) > distinct(options)
    ]
