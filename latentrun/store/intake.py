"""What a run directory must be like before it is read: someone else may have written it.

Links must not lead out of it, its JSON must be of the form that this program writes, names of files must be
names only; no file may unfold into more than it holds.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import yaml

import latentrun
from latentrun.config.build import fit
from latentrun.errors import InputError
from latentrun.store.archives import Damaged, require_whole

SCHEMA = 2  # of runs and comparisons
WRITTEN_BY = {1: "0.1"}  # the latentrun that wrote, and so reads, an older schema
META = {
    "choices": dict[str, Any],
    "versions": dict[str, Any],
    "device": dict[str, Any],
    "argv": list[str],
    "caveats": list[str],
    "captions": dict[str, str],
    "resumed": list[dict[str, Any]],
    "kind": str,
    "data": dict[str, Any],
    "diagnostics": dict[str, dict[str, Any]],
    "comparisons": dict[str, dict[str, Any]],
    "runs": list[dict[str, Any]],
    "pruned_from": dict[str, Any],
}
REPORT = {
    "status": Literal["ok", "skipped", "failed"],
    "answers": str,
    "notes": list[str],
    "tables": list[str],
}


def require_contained(directory: Path) -> None:
    """InputError where a link leads out of the directory."""
    root = Path(os.path.realpath(directory))
    for path in directory.rglob("*"):
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
            raise InputError(f"{str(path)!r} is a link that leads out of the run's directory")


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file; InputError where there is none."""
    try:
        return fit(json.loads(path.read_text(encoding="utf-8")), dict[str, Any], repr(str(path)))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} is not JSON: {error}") from None


def read_meta(path: Path) -> dict[str, Any]:
    """What ``meta.json`` says; InputError where an entry is not what this program writes."""
    meta = read_json(path)
    _require(meta, META, repr(str(path)))
    for key in ("diagnostics", "comparisons"):
        for name, entry in meta.get(key, {}).items():
            _require(entry, REPORT, f"{str(path)!r}: {key}.{name}")
    return meta


def require_schema(meta: Mapping[str, Any], path: Path) -> None:
    """InputError that says which version reads it, where the directory ``path`` is of another schema."""
    schema = meta.get("schema")
    if schema == SCHEMA and not isinstance(schema, bool):
        return
    here = f"this one, {latentrun.__version__}, reads schema {SCHEMA}"
    if schema in WRITTEN_BY:
        version = WRITTEN_BY[schema]
        raise InputError(
            f"{str(path)!r} was written by latentrun {version} (schema {schema}; {here}): "
            f"read it with latentrun {version}"
        )
    if not isinstance(schema, int):
        raise InputError(f"{str(path / 'meta.json')!r} says no schema; {here}")
    raise InputError(f"{str(path)!r} was written by a newer latentrun (schema {schema}; {here})")


class Tree(yaml.SafeLoader):
    """Plain values without references: a few lines of those can stand for billions of values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"a reference in line {self.peek_event().start_mark.line + 1}")
        return super().compose_node(parent, index)


def yaml_value(text: str) -> Any:
    """What a text means in YAML, plain values only; the text itself where it means nothing."""
    try:
        return yaml.load(text, Tree)
    except yaml.YAMLError:
        return text


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file of plain values; InputError where there is none."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Tree)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from None
    return fit(values, dict[str, Any], repr(str(path)))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, none of which is larger than its bytes in the file; InputError where that
    is not so."""
    try:
        with open(path, "rb") as file:
            require_whole(file)
            with zipfile.ZipFile(file) as archive:
                for entry in archive.infolist():
                    with archive.open(entry) as header:
                        if _bytes_declared(header) > entry.file_size:
                            raise ValueError(f"{entry.filename} unfolds into more than it holds")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
    except (Damaged, ValueError, EOFError, KeyError) as error:
        raise InputError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from None


def _bytes_declared(file: IO[bytes]) -> int:
    """How many bytes of values the header of an array says there are."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return math.prod(shape) * dtype.itemsize


def require_stored(value: Any, where: str) -> None:
    """InputError where a tensor of a checkpoint claims more than the file holds: one number may be declared
    to be terabytes."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            require_stored(inner, where)
    elif (
        hasattr(value, "untyped_storage")
        and value.numel() * value.element_size() > value.untyped_storage().nbytes()
    ):
        raise InputError(f"{where} holds a tensor of shape {tuple(value.shape)} without its values")


def plain(name: str, where: Path) -> str:
    """``name``, if it names a file and no path; InputError otherwise."""
    if name in ("", ".", "..") or any(c in name for c in "/\\\0"):
        raise InputError(f"{str(where)!r} names a file {name!r}: a plain name was expected")
    return name


def _require(values: Mapping[str, Any], form: Mapping[str, Any], where: str) -> None:
    for key, hint in form.items():
        if key in values:
            fit(values[key], hint, f"{where}: {key}")
