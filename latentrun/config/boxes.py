"""From plain values to dataclasses, each value checked against its annotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from latentrun.config.build import fit
from latentrun.errors import InputError, unknown

Box = TypeVar("Box")


def box(kind: type[Box], values: Any, where: str) -> Box:
    """The dataclass ``kind`` with these values; fields with a default may be left out.

    A field that is a dataclass, or a tuple of them, is read in the same way. ``where``: the key of
    ``values``, for messages. Raises InputError for a key that is unknown or missing, and a value that is not
    what its annotation says.
    """
    hints = get_type_hints(kind, include_extras=True)
    needed = [
        field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING
    ]
    return kind(**keyed(hints, values, where, needed))


def keyed(hints: Mapping[str, Any], values: Any, where: str, needed: list[str]) -> dict[str, Any]:
    """The values by key, each as its annotation in ``hints`` says; InputError as in :func:`box`."""
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: must be a mapping, got {values!r}")
    for key in values:
        if key not in hints:
            raise unknown(f"key of {where}", str(key), list(hints))
    for key in needed:
        if key not in values:
            raise InputError(f"{where}: {key} is missing")
    return {key: _read(value, hints[key], f"{where}.{key}") for key, value in values.items()}


def _read(value: Any, hint: Any, where: str) -> Any:
    inner = get_args(hint)[0] if get_origin(hint) is tuple else None
    if is_dataclass(hint):
        return box(hint, value, where)
    if is_dataclass(inner):
        return tuple(box(inner, part, f"{where}[{i}]") for i, part in enumerate(fit(value, list, where)))
    return fit(value, hint, where)
