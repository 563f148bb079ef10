"""``task=encode``: codes of data by a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd

from latentrun.config.bounds import Printable
from latentrun.config.build import build
from latentrun.config.settings import key_of
from latentrun.data.base import SPLITS, Dataset
from latentrun.errors import InputError
from latentrun.models.base import HasEncoder
from latentrun.run import Run
from latentrun.store.files import write_table
from latentrun.system.door import Guarded
from latentrun.tasks.base import MACHINE, Command, Task
from latentrun.tasks.changed import cautions
from latentrun.tasks.outputs import describe, fresh, show_written, trained
from latentrun.types import Factor, Latents

SYMBOLS = {"codes": "z", "posterior_scale": "sigma"}  # arrays that are columns of codes.csv, one a variable


class Encode(Task):
    """Write the codes of the run's own rows, or of all rows of another data set.

    ``source``: directory of the trained run; ``format``: which files, codes.npz and codes.csv.
    """

    beside = (*MACHINE, "data")

    def __init__(self, run: Annotated[str, Printable()], format: list[Literal["npz", "csv"]]):
        self.source, self.formats = run, format

    def run(self, command: Command) -> int:
        if not self.formats:
            raise InputError("format: must name at least one of npz, csv")
        directory, run = trained(self.source, command.trust.directory, command.values["device"])
        if not isinstance(run.model, HasEncoder):
            raise InputError(f"task=encode needs an encoder; the model of {self.source!r} has none")
        data, spec, splits = data_to_encode(command, run)
        notes = cautions(run) if splits else list(run.notes)
        with fresh(command.path) as folder:
            arrays = encoded(run, data, splits)
            count = len(arrays["index"])
            write_codes(folder, arrays, data.factors, self.formats)
            describe(folder / "codes.json", directory, run, {"data": spec, "rows": count, "notes": notes})
        show_written(command.path, f"{count:,} codes", notes)
        return 0


def data_to_encode(command: Command, run: Run) -> tuple[Dataset, Mapping[str, Any], tuple[str, ...]]:
    """The data set to encode, its configuration, and the splits that its rows are marked with: those of the
    run's own rows. Another data set comes from the command, and may be a class of the user's own."""
    keys = [key_of(text) for text in command.overrides]
    if "data" in keys:
        spec = command.values["data"]
        data = build(spec, Dataset, "data", command.trust.fresh)
        data.align(run.data)
        return data, spec, ()
    if any(key.startswith("data.") for key in keys):
        raise InputError("data: name the data set too: data=...; without it the run's own rows are encoded")
    return run.data, run.config["data"], SPLITS


def encoded(run: Run, data: Dataset, splits: Sequence[str]) -> dict[str, np.ndarray]:
    """The codes of all rows and what is known of them: of the ``splits`` one below the other and marked with
    their names, without any in the order of the row numbers."""
    parts = [data.split(name) for name in splits] or data.parts()
    arrays = stacked([run.code(rows) for rows in parts])
    if splits:
        return {**arrays, "split": np.repeat(splits, [len(rows.x) for rows in parts])}
    order = np.argsort(arrays["index"], kind="stable")
    return {name: values[order] for name, values in arrays.items()}


def stacked(parts: Sequence[Latents]) -> dict[str, np.ndarray]:
    """The arrays of all parts, one below the other; those that are None are left out."""
    arrays = [part.arrays() for part in parts]
    return {name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]}


def write_codes(
    folder: Guarded, arrays: Mapping[str, np.ndarray], factors: Sequence[Factor], formats: Sequence[str]
) -> None:
    """``codes.npz`` and ``codes.csv``."""
    if "npz" in formats:
        names = np.array([factor.name for factor in factors], dtype=str)
        content: dict[str, Any] = {**arrays, "factors": names}
        with (folder / "codes.npz").writing("wb") as file:
            np.savez(file, **content)
    if "csv" in formats:
        write_table(folder / "codes.csv", table(arrays, factors))


def table(arrays: Mapping[str, np.ndarray], factors: Sequence[Factor]) -> pd.DataFrame:
    """One line a row: ``index``, ``split``, every factor in its unit or by the name of its category, z0 ...,
    sigma0 ...

    A factor that has the name of another column is called ``y_<name>``.
    """
    first = {name: arrays[name] for name in ("index", "split") if name in arrays}
    last = {
        f"{symbol}{i}": column
        for name, symbol in SYMBOLS.items()
        if name in arrays
        for i, column in enumerate(arrays[name].T)
    }
    middle = {}
    for factor, y in zip(factors, arrays["y"].T, strict=True):
        name = f"y_{factor.name}" if factor.name in first | last else factor.name
        middle[name] = pd.Series(y).map(dict(enumerate(factor.categories))) if factor.categories else y
    return pd.DataFrame(first | middle | last)
