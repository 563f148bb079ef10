"""The settings of runs as flat rows, and which of them tell runs apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from latentrun.config.build import TARGET
from latentrun.config.fingerprint import FIT_KEYS

REPLICATE = "seed"  # runs that differ in nothing else are repetitions of one experiment


def key_of(override: str) -> str:
    """The key that an override of the command line sets: ``model.latent_dim`` of ``+model.latent_dim=3``."""
    return override.lstrip("+~").partition("=")[0]


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


def settings(config: Mapping[str, Any], choices: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run what it is, flat: the options chosen and their values, ``{"model": "vae", "seed": 0,
    "model.latent_dim": 3}``; the task too, for a pruned model is none that was trained with its settings."""
    options = {key: choices[key] for key in FIT_KEYS if isinstance(choices.get(key), str)} | {
        "task": str(choices.get("task", "train"))
    }
    return {**options, **flatten({key: config[key] for key in FIT_KEYS if key in config})}


def varied(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys in which flat rows differ, seed included, in order of appearance; not those that follow from
    an option in which they do (the settings of a model that only one of two models has)."""

    def distinct(keys: Sequence[str]) -> int:
        return len({tuple(repr(row.get(key)) for key in keys) for row in rows})

    differing = [key for key in dict.fromkeys(key for row in rows for key in row) if distinct([key]) > 1]
    options = [key for key in differing if "." not in key and key != REPLICATE]
    return [
        key
        for key in differing
        if key in (*options, REPLICATE) or distinct([*options, key]) > distinct(options)
    ]
