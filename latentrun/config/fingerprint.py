"""Hashes that tell whether a finished fit or diagnostic is the one that is asked for."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from latentrun.config.build import targets

FIT_KEYS = ("data", "model", "network", "training", "seed", "rows")


def fingerprint(spec: Mapping[str, Any]) -> str:
    """16 hex digits of the values in ``spec`` and of the source that its ``_target_`` keys name: the module
    for latentrun's own classes, the whole package for a user's. Nothing is imported."""
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True, default=str).encode())
    for source in sorted({path for target in targets(spec) for path in _sources(target)}):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _sources(target: str) -> Iterable[Path]:
    """The files behind a class; none for a library's, whose version meta.json names, and for what is not
    there."""
    package, _, inner = target.rpartition(".")[0].partition(".")
    if (
        package == "torch"
        or not package.isidentifier()
        or (found := importlib.util.find_spec(package)) is None
    ):
        return ()
    if found.submodule_search_locations is None:
        return (Path(found.origin),) if found.has_location else ()
    folders = [Path(place) for place in found.submodule_search_locations]
    if package != "latentrun":
        return (path for folder in folders for path in folder.rglob("*.py"))
    path = folders[0].joinpath(*inner.split("."))
    return (each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file())


def data_key(config: Mapping[str, Any]) -> str:
    """Equal for configurations with the same settings of the data, which then need them only once."""
    return fingerprint({key: config[key] for key in ("data", "rows")})


def fit_hash(config: Mapping[str, Any]) -> str:
    """What fixes a fit: data, model, network, training, seed and rows."""
    return fingerprint({key: config.get(key) for key in FIT_KEYS})
