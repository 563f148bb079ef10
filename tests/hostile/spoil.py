"""Ways to spoil a directory: each makes a function of its root."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

GIANT = 2**42  # bytes of a sparse file
OUTSIDE = "OUTSIDE"  # stands for a folder with files that nothing may touch
Spoil = Callable[[Path], object]


# ---------------------------------------------------------------- what takes the place of a file or folder
def gone(path: Path) -> None:
    """Take a file or folder away."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def linked(name: str) -> Spoil:
    """A link to a file, or folder, of somebody else's."""

    def spoil(root: Path) -> None:
        path = root / name
        target = outside(root) / ("folder" if path.is_dir() else "file.txt")
        gone(path)
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(target)

    return spoil


def piped(name: str) -> Spoil:
    """A FIFO."""

    def spoil(root: Path) -> None:
        gone(root / name)
        (root / name).parent.mkdir(exist_ok=True)
        os.mkfifo(root / name)

    return spoil


def hollow(name: str) -> Spoil:
    """A sparse file of terabytes."""

    def spoil(root: Path) -> None:
        gone(root / name)
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
        os.truncate(root / name, GIANT)

    return spoil


def foldered(name: str) -> Spoil:
    """A folder where a file should be."""

    def spoil(root: Path) -> None:
        gone(root / name)
        (root / name).mkdir(parents=True)

    return spoil


def filled(name: str, content: bytes | str) -> Spoil:
    """Other bytes."""

    def spoil(root: Path) -> None:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def doubled(name: str) -> Spoil:
    """A second name of a file of somebody else's."""

    def spoil(root: Path) -> None:
        gone(root / name)
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).hardlink_to(outside(root) / "file.txt")

    return spoil


def outside(root: Path) -> Path:
    """The folder beside a directory, or one that it lies in, that nothing may touch."""
    return next(path / OUTSIDE for path in root.parents if (path / OUTSIDE).is_dir())


# ---------------------------------------------------------------- other values
ABSENT = object()


def put(values: Any, keys: tuple[Any, ...], value: Any) -> None:
    *parents, last = keys
    for key in parents:
        values = values[key]
    if value is ABSENT:
        del values[last]
    else:
        values[last] = value


def in_json(name: str, *keys: Any, to: Any = ABSENT) -> Spoil:
    """Another value of a key, or none."""

    def spoil(root: Path) -> None:
        values = json.loads((root / name).read_text())
        put(values, keys, to)
        (root / name).write_text(json.dumps(values))

    return spoil


def in_yaml(name: str, *keys: Any, to: Any = ABSENT) -> Spoil:
    """As :func:`in_json`."""

    def spoil(root: Path) -> None:
        values = yaml.safe_load((root / name).read_text())
        put(values, keys, to)
        (root / name).write_text(yaml.safe_dump(values, sort_keys=False))

    return spoil


def in_checkpoint(name: str, *keys: Any, to: Any = ABSENT) -> Spoil:
    """As :func:`in_json`; ``to`` may be a function of the state."""

    def spoil(root: Path) -> None:
        path = root / "checkpoints" / f"{name}.pt"
        state = torch.load(path, weights_only=True)
        put(state, keys, to(state) if callable(to) else to)
        torch.save(state, path)
        (root / "checkpoints" / f"{name}.previous.pt").unlink(missing_ok=True)

    return spoil


def in_arrays(name: str, key: str, to: Any = ABSENT) -> Spoil:
    """As :func:`in_json`, in an .npz file."""

    def spoil(root: Path) -> None:
        with np.load(root / "arrays" / f"{name}.npz") as stored:
            arrays = dict(stored)
        put(arrays, (key,), to)
        np.savez(root / "arrays" / f"{name}.npz", **arrays)

    return spoil


def in_table(name: str, column: str, to: Any = ABSENT) -> Spoil:
    """Another text in a column of a CSV file, or no such column."""

    def spoil(root: Path) -> None:
        import pandas as pd

        table = pd.read_csv(root / name, dtype=str, keep_default_na=False)
        table = table.drop(columns=column) if to is ABSENT else table.assign(**{column: to})
        table.to_csv(root / name, index=False)

    return spoil


def diagnostic(**changes: Any) -> Spoil:
    """Another entry of the diagnostic in meta.json."""

    def spoil(root: Path) -> None:
        meta = json.loads((root / "meta.json").read_text())
        meta["diagnostics"]["reconstruction"] |= changes
        (root / "meta.json").write_text(json.dumps(meta))

    return spoil


def renamed(file: str, group: str, to: str) -> Spoil:
    """Another name of the diagnostic."""

    def spoil(root: Path) -> None:
        read, dump = (json.loads, json.dumps) if file.endswith("json") else (yaml.safe_load, yaml.safe_dump)
        values = read((root / file).read_text())
        (entry,) = values[group].values()
        values[group] = {to: entry}
        (root / file).write_text(dump(values))

    return spoil
