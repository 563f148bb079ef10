"""What the configuration offers, small: the lists from which the conformance tests are made."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from latentrun.build import build
from latentrun.data.base import Dataset
from latentrun.models.base import Model
from latentrun.nn.base import Network
from latentrun.options import options, shipped
from latentrun.run import Run

BESIDE = Path(__file__).parents[3] / "shared" / "data"
DATA, MODELS, DIAGNOSTICS, NETWORKS = (list(options(group, [shipped()])) for group in ("data", "model", "diagnostic", "network"))


def spec(group: str, name: str) -> dict:
    return yaml.safe_load((shipped() / group / f"{name}.yaml").read_text())


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
    given = {"network": net, "event_shape": on.event_shape, "value_range": on.value_range}
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
