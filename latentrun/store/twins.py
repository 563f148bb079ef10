"""Runs that have the fit one wants already, and comparisons of such runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from latentrun.errors import InputError
from latentrun.store.schema import SCHEMA, read_meta
from latentrun.system.door import Guarded
from latentrun.system.plain import JSON


def fits(root: str | Path, hashes: Collection[str]) -> list[tuple[Path, dict[str, Any]]]:
    """The runs under ``root`` with one of these fit_hashes, trained or not, and what meta.json says of each.
    Looks where runs are, at most three folders deep, and parses only what holds a hash as text: training
    waits for it."""
    texts = [str(hash_).encode() for hash_ in hashes]
    runs = []
    for folder in folders_below(Guarded(root), 3):
        file = folder / "meta.json"
        try:
            content = file.content(JSON)
            if not any(text in content for text in texts):
                continue
            meta = read_meta(file)
        except InputError:  # somebody else's files are no reason not to train
            continue
        is_run = meta.get("kind", "run") == "run" and meta.get("schema") == SCHEMA
        if is_run and str(meta.get("fit_hash")) in hashes:
            runs.append((folder.path, meta))
    return runs


def folders_below(folder: Guarded, depth: int) -> Iterator[Guarded]:
    """The folders in a folder and, to that ``depth``, in those; none that cannot be looked into, or to which
    only a link leads."""
    try:
        folders = folder.folders()
    except InputError:
        return
    for inner in folders:
        yield inner
        if depth > 1:
            yield from folders_below(inner, depth - 1)


def comparisons(root: str | Path) -> list[tuple[Path, dict[str, Any]]]:
    """The directories of comparisons under ``root``, of sweeps and of claims too, and what meta.json says of
    each; the newest first."""
    above = list(folders_below(Guarded(root), 2))
    beside = [folder / "comparisons" for folder in above if len(folder.names) == 2]
    directories = []
    for folder in (*above, *beside, *(inner for outer in beside for inner in folders_below(outer, 1))):
        try:
            meta = read_meta(folder / "meta.json")
        except InputError:
            continue
        if meta.get("kind") == "comparison" and meta.get("schema") == SCHEMA:
            directories.append((folder.path, meta))
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
