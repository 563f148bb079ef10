"""What stands in every stored file: which keys, columns and arrays there must be, and of which types.

Whatever is read back goes through one of these forms, so that what a stranger or a fault has put there is
said in one line and not found out later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

import latentrun
from latentrun.config.bounds import Ge, Printable
from latentrun.config.build import fit, shown
from latentrun.errors import InputError
from latentrun.store.intake import read_json, read_npz, read_table, read_yaml
from latentrun.system.door import Guarded
from latentrun.system.plain import plain
from latentrun.types import History

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SCHEMA = 3  # of runs and comparisons
WRITTEN_BY = {1: "0.1", 2: "0.2"}  # the latentrun that wrote, and so reads, an older schema
Values = dict[str, Any]
Number = Annotated[int, Ge(0)]


@dataclass(frozen=True)
class Form:
    """What a mapping may hold: the type of each key in ``hints``, and which are ``needed``; the keys of the
    mappings under ``names`` are names of files. Other keys are nobody's business."""

    hints: Mapping[str, Any]
    needed: Sequence[str] = ()
    names: Sequence[str] = ()
    inner: Mapping[str, Form] = field(default_factory=dict)  # of every value of the mapping under a key

    def require(self, values: Mapping[str, Any], where: str) -> None:
        """InputError, in one line, for a key that is missing or whose value is something else."""
        for key, hint in self.hints.items():
            if key in values:
                fit(values[key], hint, f"{where}: {key}")
        for key in self.needed:
            if key not in values:
                raise InputError(f"{where}: {key} is missing")
        for key in self.names:
            for name in values.get(key) or ():
                plain(name, f"{where}: {key}")
        for key, form in self.inner.items():
            for name, value in (values.get(key) or {}).items():
                form.require(value, f"{where}: {key}.{name}")


REPORT = Form(
    {"status": Literal["ok", "skipped", "failed"], "answers": str, "notes": list[str], "tables": list[str]},
    needed=("status", "notes", "tables"),
    names=("tables",),
)
META = Form(
    {
        "kind": str,
        "choices": Values,
        "versions": Values,
        "device": Values,
        "threads": Annotated[int, Ge(1)],
        "argv": list[str],
        "caveats": list[str],
        "captions": dict[str, str],
        "resumed": list[Values],
        "fit_hash": str | None,
        "data_hash": str | None,
        "default_list": bool,
        "data": Values,
        "diagnostics": dict[str, Values],
        "comparisons": dict[str, Values],
        "runs": list[Values],
        "pruned_from": Values,
        "trained": str,
        "reused": str,
    },
    names=("captions", "diagnostics", "comparisons"),
    inner={"diagnostics": REPORT, "comparisons": REPORT},
)
COMPARED = Form(  # what a comparison says of each of its runs
    {
        "name": str,
        "path": Annotated[str, Printable()],
        "seed": int,
        "choices": Values | None,
        "measured": Values,
    },
    needed=("name", "path"),
)
RESUMED = Form({"at": str, "from": str, "notes": list[str]}, needed=("at", "from", "notes"))
CONFIG = Form(
    {
        "seed": Number,
        "rows": int | None,
        "device": str,
        "skip_inapplicable": bool | None,
        "data": Values,
        "model": Values,
        "network": Values,
        "training": Values,
        "diagnostic": dict[str, Values],
        "comparison": dict[str, Values] | None,
        "figures": list[str],
    },
    names=("diagnostic", "comparison"),
)
WHOLE = ("seed", "rows", "device", "skip_inapplicable", "data", "model", "network", "training", "diagnostic")
STATUS = Form(
    {
        "state": str,
        "heartbeat": str,
        "reason": str | None,
        "pid": int,
        "host": str,
        "step": int,
    },
    needed=("state",),
)
STUDY = Form(
    {"metrics": list[str], "directions": list[str], "storage": str, "name": str},
    needed=("metrics", "directions", "storage", "name"),
)
SWEEP = Form(
    {
        "kind": str,
        "launcher": str,
        "sweeper": str,
        "swept": list[str],
        "argv": list[str],
        "options": dict[str, str],
        "study": Values,
    }
)
JOB = Form({"config": Values, "about": Values}, needed=("config", "about"))
ABOUT = Form(
    {"choices": Values, "default_list": bool, "overrides": list[str]}, needed=("choices", "default_list")
)
CHECKPOINTS = {
    "best": Form({"model": Values, "epoch": int}, needed=("model",)),
    "last": Form(
        {"model": Values, "within": Values | None, "progress": Values, "history": Values},
        needed=("model", "within", "progress", "history"),
    ),
}
# What a directory of a run or comparison consists of; other things in it are nobody's business.
FILES = ("meta.json", "status.json", "run.log", "run.lock", "compare.log", "error.txt", "report.html")
FOLDERS = (".hydra", "tables", "arrays", "checkpoints", "plots", "tensorboard")
ENDINGS = (".csv", ".json", ".yaml", ".npz", ".f32", ".pt", ".png", ".pdf", ".svg", ".gif", ".html")
# The columns that tables must have; those that hold numbers.
COLUMNS = {
    "metrics": ("metric", "value", "low", "high", "method", "unit", "direction", "status"),
    "train": ("phase", "epoch", "step"),
    "timing": ("stage", "name", "seconds"),
    "findings": ("diagnostic", "finding", "weight", "sentence", "command"),
}
NUMBERS = {"metrics": ("value", "low", "high"), "train": ("epoch", "step"), "timing": ("seconds",)}


def require_layout(folder: Guarded) -> None:
    """InputError where a directory of a run or comparison holds anything but plain files and folders, a
    folder in the place of a file, or a file in that of a folder."""
    folder.require_plain()
    for name in FILES:
        (folder / name).require_kind("a file")
    for name in FOLDERS:
        (folder / name).require_kind("a folder")
        for inner in (folder / name).items():
            if inner.kind == "a folder" and inner.name.endswith(ENDINGS):
                (folder / name / inner.name).require_kind("a file")


# ---------------------------------------------------------------- mappings
def read_meta(file: Guarded) -> dict[str, Any]:
    """What meta.json says, of whatever kind of directory; InputError where an entry is not what this program
    writes."""
    meta = read_json(file)
    where = repr(str(file.path))
    META.require(meta, where)
    for run in meta.get("runs", ()):
        COMPARED.require(run, f"{where}: runs")
    for entry in meta.get("resumed", ()):
        RESUMED.require(entry, f"{where}: resumed")
    return meta


def require_schema(meta: Mapping[str, Any], folder: Guarded) -> None:
    """InputError that says which version reads it, where a directory is of another schema."""
    schema, path = meta.get("schema"), str(folder.path)
    if schema == SCHEMA and not isinstance(schema, bool):
        return
    here = f"this one, {latentrun.__version__}, reads schema {SCHEMA}"
    if not isinstance(schema, int):
        raise InputError(f"{str(folder.path / 'meta.json')!r} says no schema; {here}")
    if schema in WRITTEN_BY:
        version = WRITTEN_BY[schema]
        raise InputError(
            f"{path!r} was written by latentrun {version} (schema {schema}; {here}): "
            f"read it with latentrun {version}"
        )
    raise InputError(f"{path!r} was written by a newer latentrun (schema {schema}; {here})")


def read_config(file: Guarded, whole: bool = True) -> dict[str, Any]:
    """The configuration of a run; ``whole``: with all that a run is made of."""
    return require_config(read_yaml(file), repr(str(file.path)), whole)


def require_config(config: dict[str, Any], where: str, whole: bool = True) -> dict[str, Any]:
    """A configuration, if its values are of their types and its names are names; InputError."""
    Form(CONFIG.hints, WHOLE if whole else (), CONFIG.names).require(config, where)
    return config


def read_status(file: Guarded) -> dict[str, Any]:
    """What status.json says."""
    status = read_json(file)
    STATUS.require(status, repr(str(file.path)))
    return status


def read_summary(file: Guarded) -> dict[str, Any]:
    """One flat row: texts, numbers, true, false or null; of a metric, whose name has a stroke, no text."""
    row, where = read_json(file), repr(str(file.path))
    for key, value in row.items():
        if not isinstance(value, int | float | None if "/" in key else bool | int | float | str | None):
            kind = "a number or null" if "/" in key else "a plain value"
            raise InputError(f"{where}: {key}: must be {kind}, got {shown(value)}")
    return row


def read_sweep_meta(file: Guarded) -> dict[str, Any]:
    """What meta.json of a sweep says."""
    meta, where = read_json(file), repr(str(file.path))
    SWEEP.require(meta, where)
    if "study" in meta:
        STUDY.require(meta["study"], f"{where}: study")
        if len(meta["study"]["metrics"]) != len(meta["study"]["directions"]):
            raise InputError(f"{where}: study: as many directions as metrics were expected")
    return meta


def read_job(file: Guarded) -> dict[str, Any]:
    """What a job of a sweep needs: its ``config``, and what goes to meta.json ``about`` it."""
    stored, where = read_yaml(file), repr(str(file.path))
    JOB.require(stored, where)
    require_config(stored["config"], f"{where}: config")
    ABOUT.require(stored["about"], f"{where}: about")
    return stored


# ---------------------------------------------------------------- tables and arrays
def read_named_table(file: Guarded, first: str = "") -> pd.DataFrame:
    """A table of a run or comparison, those that :data:`COLUMNS` knows with their columns; ``first``: the
    column of metrics.csv that names reports. InputError; Absent."""
    name = file.name.removesuffix(".csv")
    table = read_table(file)
    columns = [*([first] if name == "metrics" and first else ()), *COLUMNS.get(name, ())]
    if len(table.columns):
        require_columns(table, columns, NUMBERS.get(name, ()), repr(str(file.path)))
    if name == "train":
        rest = [column for column in table.columns if column != "phase"]
        require_columns(table, rest, rest, repr(str(file.path)))
    return table


def require_columns(table: pd.DataFrame, columns: Sequence[str], numbers: Sequence[str], where: str) -> None:
    """InputError where a column is missing, or one of ``numbers`` holds anything else."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    for name in columns:
        if name not in table.columns:
            raise InputError(f"{where}: the column {name!r} is missing")
    for name in numbers:
        values = table[name].dropna()
        if len(values) and (is_bool_dtype(values) or not is_numeric_dtype(values)):
            raise InputError(f"{where}: the column {name!r} must hold numbers, got {values.iloc[0]!r}")


def read_history(file: Guarded) -> History:
    """``history.npz``; InputError where an array is missing, or of a shape that does not go with the others;
    Absent where there is none."""
    arrays, where = read_npz(file), repr(str(file.path))
    dims = {"index": 1, "epochs": 1, "step_index": 1, "steps": 1}
    names = [entry.name for entry in fields(History)]
    for name in names:
        require_array(arrays, name, dims.get(name, 3), where)
    for series, times, index in (("epoch", "epochs", "index"), ("step", "steps", "step_index")):
        expected = (len(arrays[times]), len(arrays[index]))
        for name in (name for name in names if name.startswith(f"{series}_") and name not in dims):
            if arrays[name].shape[:2] != expected:
                raise InputError(
                    f"{where}: {name} has shape {arrays[name].shape}; {expected} rows were expected of it"
                )
    return History(**{name: arrays[name] for name in names})


def require_array(arrays: Mapping[str, np.ndarray], name: str, dims: int, where: str) -> None:
    """InputError where there is no array of numbers of that name, with so many axes."""
    if name not in arrays:
        raise InputError(f"{where}: the array {name} is missing")
    values = arrays[name]
    if values.ndim != dims or values.dtype.kind not in "iuf":
        raise InputError(
            f"{where}: {name} is {values.dtype} of shape {values.shape}; numbers with {dims} axes were "
            "expected"
        )


def json_value(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
