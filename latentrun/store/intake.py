"""What is read back of a stored file: plain values, tables and arrays, never anything that runs."""

from __future__ import annotations

import json
import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import yaml

from latentrun.config.build import fit
from latentrun.errors import InputError, one_line
from latentrun.store.archives import Damaged, require_whole
from latentrun.store.cells import original
from latentrun.system.door import Guarded
from latentrun.system.plain import ARRAYS, CHECKPOINT, JSON, TABLE, YAML

if TYPE_CHECKING:
    import pandas as pd

DIGITS = 18  # of a whole number in JSON: those fit 64 bits


def read_json(file: Guarded) -> dict[str, Any]:
    """The mapping in a JSON file; InputError where there is none, Absent where there is no file."""
    try:
        values = json.loads(file.text(JSON), parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(file.path)!r} is not JSON: {one_line(error)}") from None
    return fit(values, dict[str, Any], repr(str(file.path)))


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


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


def read_yaml(file: Guarded) -> dict[str, Any]:
    """The mapping in a YAML file of plain values; InputError where there is none, Absent where there is no
    file."""
    try:
        values = yaml.load(file.text(YAML), Tree)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{str(file.path)!r} cannot be read: {' '.join(str(error).split())}") from None
    return fit(values, dict[str, Any], repr(str(file.path)))


def read_table(file: Guarded, **options: Any) -> pd.DataFrame:
    """The table in a CSV file, empty where it has no columns; ``options``: of pandas' ``read_csv``.
    InputError where it is none, Absent where there is no file."""
    import pandas as pd

    with file.opened(TABLE) as lines:
        try:
            return original(pd.read_csv(lines, low_memory=False, **options))
        except pd.errors.EmptyDataError:
            return pd.DataFrame()
        except (ValueError, OverflowError) as error:  # those of pandas are such too
            raise InputError(f"{str(file.path)!r} cannot be read: {one_line(error)}") from None


def read_npz(file: Guarded) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, none of which is larger than its bytes in the file; InputError where that
    is not so or the file is damaged, Absent where there is no file."""
    with file.opened(ARRAYS) as content:
        try:
            require_whole(content)
            with zipfile.ZipFile(content) as archive:
                for entry in archive.infolist():
                    with archive.open(entry) as header:
                        if _bytes_declared(header) > entry.file_size:
                            raise ValueError(f"{entry.filename} unfolds into more than it holds")
            content.seek(0)
            with np.load(content, allow_pickle=False) as arrays:
                return dict(arrays)
        except (Damaged, OSError, ValueError, EOFError, KeyError) as error:
            raise InputError(f"{str(file.path)!r} cannot be read: {one_line(error)}") from None


def read_checkpoint(file: Guarded, device: Any = "cpu") -> dict[str, Any]:
    """The tensors and plain values of a checkpoint; Damaged where they are not what was written, InputError
    where it is none, Absent where there is no file."""
    import torch

    where = f"checkpoint {str(file.path)!r}"
    with file.opened(CHECKPOINT) as content:
        try:
            require_whole(content)
            # one line is said below, whatever torch thinks of the file
            with warnings.catch_warnings(action="ignore"):
                state = torch.load(content, map_location=device, weights_only=True)
        except Damaged as error:
            raise Damaged(f"{where} cannot be read: {error}") from None
        except Exception as error:
            reason = one_line(error).split(". ")[0] or type(error).__name__
            raise InputError(f"{where} cannot be read: {reason}") from None
    require_stored(state, where)
    return fit(state, dict[str, Any], where)


def _bytes_declared(file: IO[bytes]) -> int:
    """How many bytes of values the header of an array says there are."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return math.prod(shape) * dtype.itemsize


def require_stored(value: Any, where: str) -> None:
    """InputError where a checkpoint holds itself, or a tensor that claims more than the file holds: one
    number may be declared to be terabytes."""
    waiting: list[Iterator[Any]] = [iter([value])]
    around: list[int] = []  # the collections that hold the present one
    seen: set[int] = set()
    while waiting:
        inner = next(waiting[-1], waiting)
        if inner is waiting:  # the collection is through
            waiting.pop()
            del around[-1:]
        elif isinstance(inner, Mapping | list | tuple | set | frozenset):
            if id(inner) in around:
                raise InputError(f"{where} holds itself")
            if id(inner) not in seen:  # what stands in many places is looked at once
                seen.add(id(inner))
                around.append(id(inner))
                waiting.append(iter(inner.values() if isinstance(inner, Mapping) else inner))
        elif (
            hasattr(inner, "untyped_storage")
            and inner.numel() * inner.element_size() > inner.untyped_storage().nbytes()
        ):
            raise InputError(f"{where} holds a tensor of shape {tuple(inner.shape)} without its values")
