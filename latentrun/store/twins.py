"""Runs that have the fit one wants already, and comparisons of such runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from latentrun.errors import InputError
from latentrun.store.intake import SCHEMA, read_meta

COMPARED = ("*/", "*/*/", "*/*/comparisons/", "*/*/comparisons/*/")  # where directories of comparisons are


def fits(root: str | Path, hashes: Collection[str]) -> list[tuple[Path, dict[str, Any]]]:
    """The runs under ``root`` with one of these fit_hashes, trained or not, and what meta.json says of each.
    Looks where runs are, at most three folders deep, and parses only what holds a hash as text: training
    waits for it."""
    texts = [str(hash_).encode() for hash_ in hashes]
    try:
        places = [path for depth in (1, 2, 3) for path in Path(root).glob(f"{'*/' * depth}meta.json")]
    except OSError:
        return []
    runs = []
    for path in places:
        try:
            content = path.read_bytes()
            if not any(text in content for text in texts):
                continue
            meta = read_meta(path)
        except (OSError, InputError):  # somebody else's files are no reason not to train
            continue
        is_run = meta.get("kind", "run") == "run" and meta.get("schema") == SCHEMA
        if is_run and str(meta.get("fit_hash")) in hashes:
            runs.append((path.parent, meta))
    return runs


def comparisons(root: str | Path) -> list[tuple[Path, dict[str, Any]]]:
    """The directories of comparisons under ``root``, of sweeps and of claims too, and what meta.json says of
    each; the newest first."""
    places = {path for pattern in COMPARED for path in Path(root).glob(f"{pattern}meta.json")}
    directories = []
    for path in places:
        try:
            meta = read_meta(path)
        except (OSError, InputError):
            continue
        if meta.get("kind") == "comparison" and meta.get("schema") == SCHEMA:
            directories.append((path.parent, meta))
    return sorted(directories, key=lambda pair: str(pair[1].get("created")), reverse=True)


def twin(root: str | Path, identity: Mapping[str, Any]) -> Path | None:
    """The newest run under ``root`` that was trained to its end and agrees in every entry of ``identity``
    (fit_hash, data_hash: the same settings, code and rows), or None."""
    trained = [
        (str(meta["trained"]), path)
        for path, meta in fits(root, [str(identity["fit_hash"])])
        if "trained" in meta and all(meta.get(key) == value for key, value in identity.items())
    ]
    return max(trained)[1] if trained else None
