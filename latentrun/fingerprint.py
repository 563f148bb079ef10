"""Hashes that tell whether a finished fit or diagnostic is the one that is asked for."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from latentrun.build import TARGET

FIT_KEYS = ("data", "model", "network", "training", "seed", "rows")


def fingerprint(spec: Mapping[str, Any]) -> str:
    """16 hex digits of the values in ``spec`` and of the source of the modules its ``_target_`` keys name."""
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True, default=str).encode())
    for target in sorted(set(_targets(spec))):
        found = importlib.util.find_spec(target.rpartition(".")[0])
        if target.startswith("latentrun.") and found and found.origin:
            digest.update(Path(found.origin).read_bytes())
    return digest.hexdigest()[:16]


def fit_hash(config: Mapping[str, Any]) -> str:
    """What fixes a fit: data, model, network, training, seed and rows."""
    return fingerprint({key: config.get(key) for key in FIT_KEYS})


def _targets(spec: Any) -> Iterator[str]:
    if isinstance(spec, Mapping):
        if TARGET in spec:
            yield str(spec[TARGET])
        for value in spec.values():
            yield from _targets(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from _targets(value)
