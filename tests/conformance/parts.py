"""What the configuration offers, small: the lists from which the conformance tests are made."""

from __future__ import annotations

import atexit
import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from latentrun.build import build
from latentrun.data.base import Dataset
from latentrun.models.base import Model
from latentrun.nn.base import Network
from latentrun.options import options, shipped
from latentrun.run import Run
from tests.planted import table_file

BESIDE = Path(__file__).parents[3] / "shared" / "data"
DATA, MODELS, DIAGNOSTICS, NETWORKS = (list(options(group, [shipped()])) for group in ("data", "model", "diagnostic", "network"))


def images(folder: Path) -> dict:
    """Two kinds of colour pictures with a brightness, and the values that name them."""
    levels = np.random.default_rng(0).integers(0, 256, 90)
    for i, level in enumerate(levels):
        place = folder / ("even", "odd")[i % 2] / f"{i}.png"
        place.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 7), (level, 255 * (i % 2), 0)).save(place)
    lines = [f"{('even', 'odd')[i % 2]}/{i}.png,{level}" for i, level in enumerate(levels)]
    (folder / "levels.csv").write_text("\n".join(["file,level", *lines]))
    return {"path": str(folder), "labels": "folders", "table": str(folder / "levels.csv")}


def table(folder: Path) -> dict:
    """The planted table, with one of its columns as label and one as factor."""
    return {"file": str(table_file(folder / "table.csv")), "label": "quarter", "factors": ["age"]}


MADE = {"images": images, "table": table}  # data options that need files of one's own: what writes some into a folder and names them
SCRATCH = TemporaryDirectory()
atexit.register(SCRATCH.cleanup)


@cache
def made(name: str) -> dict:
    """The values of a data option for which files had to be made."""
    folder = Path(SCRATCH.name, name)
    folder.mkdir()
    return MADE[name](folder)


def values_in(path: Path) -> dict:
    """What a YAML file of an option says, without the other options it chooses."""
    return {key: value for key, value in yaml.safe_load(path.read_text()).items() if key != "defaults"}


def spec(group: str, name: str) -> dict:
    values = values_in(shipped() / group / f"{name}.yaml")
    return values | made(name) if group == "data" and name in MADE else values


@cache
def data(name: str) -> Dataset:
    """A data set as shipped; skipped by name where it needs files that are not there."""
    values = spec("data", name)
    if "root" in values and not os.environ.get("LATENTRUN_DATA"):
        if not BESIDE.is_dir():
            pytest.skip(f"{name}: no files (set LATENTRUN_DATA)")
        values["root"] = str(BESIDE)
    return build(values, Dataset, "data")


def model(name: str, on: Dataset, network: str = "dense", **changes) -> Model:
    sizes = {"widths": [16]} if network == "dense" else {"channels": [4], "strides": [1], "widths": [16]}
    net = build(spec("network", network) | sizes, Network, "network")
    torch.manual_seed(0)
    given = {"network": net, "event_shape": on.event_shape, "value_range": on.value_range, "columns": on.columns}
    return build(spec("model", name) | changes, Model, "model", **given)


def small(name: str) -> Dataset:
    """A fresh copy of a data set, with 48 rows a split."""
    values = spec("data", name)
    made = build(values, Dataset, "data")
    made.rows = 48
    return made


def run(model_name: str, data_name: str, network: str = "dense", **changes) -> Run:
    on = small(data_name)
    return Run(model(model_name, on, network, **changes), on, config={"model": spec("model", model_name) | changes})
