"""What the configuration offers, small: the lists from which the conformance tests are made."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image

from latentrun.config.build import build
from latentrun.config.options import PARTS, options, shipped
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, Question
from latentrun.models.base import Model
from latentrun.nn.base import Network
from latentrun.plotting.style import LEAST, paper, printed
from latentrun.run import Run
from latentrun.store import ComparisonDirectory, ReportDirectory, RunDirectory
from latentrun.tasks.contract import within
from latentrun.types import Animation, Picture, Report
from tests.planted import table_file

BESIDE = Path(__file__).parents[3] / "shared" / "data"
DATA, MODELS, DIAGNOSTICS, COMPARISONS, NETWORKS = (
    list(options(group, [shipped()])) for group in ("data", "model", "diagnostic", "comparison", "network")
)


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


# Data options that need files of one's own: what writes some into a folder and names them.
MADE = {"images": images, "table": table}
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


def with_parts(path: Path) -> dict:
    """What a YAML file says, on top of the one of its folder that it begins with, with the parts
    (likelihoods, posteriors) that its defaults list chooses within it."""
    values, whole = values_in(path), yaml.safe_load(path.read_text())
    for entry in whole.get("defaults", ()):
        if isinstance(entry, str) and entry != "_self_":
            values = with_parts(path.with_name(f"{entry}.yaml")) | values
        for key, name in entry.items() if isinstance(entry, dict) else ():
            anew = key.startswith("override ")
            group, _, place = key.removeprefix("override ").removeprefix("/").partition("@")
            if group in PARTS:
                *parents, last = place.split(".")
                node = values
                for parent in parents:
                    node = node.get(parent, {})
                if not anew or "_target_" in node.get(last, {}):  # else it is a part of another file
                    own = {} if anew else node.get(last, {})
                    node[last] = values_in(shipped() / group / f"{name}.yaml") | own
    return values


FEW = {"rigid_body": {"n": 400}}  # rows of what takes a second to draw


def spec(group: str, name: str) -> dict:
    values = with_parts(shipped() / group / f"{name}.yaml")
    if group == "data":
        values |= FEW.get(name, {})
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


SMALL = {  # sizes of networks that take no time
    "dense": {"widths": [16]},
    "smooth": {"widths": [16]},
    "conv": {"channels": [4], "strides": [1], "widths": [16]},
    "resnet": {"channels": [4, 6], "blocks": 1, "widths": [16]},
    "draw": {"steps": 3, "size": 12, "glimpse": 3, "patch": 4},
}


def model(name: str, on: Dataset, network: str = "dense", **changes) -> Model:
    net = build(spec("network", network) | SMALL.get(network, {}), Network, "network")
    torch.manual_seed(0)
    given = {
        "network": net,
        "event_shape": on.event_shape,
        "value_range": on.value_range,
        "columns": on.columns,
    }
    return build(spec("model", name) | changes, Model, "model", **given)


def small(name: str) -> Dataset:
    """A fresh copy of a data set, with 48 rows a split."""
    values = spec("data", name)
    made = build(values, Dataset, "data")
    made.rows = 48
    return made


def run(model_name: str, data_name: str, network: str = "dense", **changes) -> Run:
    on = small(data_name)
    return Run(
        model(model_name, on, network, **changes), on, config={"model": spec("model", model_name) | changes}
    )


# ---------------------------------------------------------------- promises of diagnostics and comparisons
def values(report: Report) -> dict[str, float]:
    return {key: estimate.value for key, estimate in report.metrics.items()}


def lows(report: Report) -> dict[str, float]:
    """The lower ends of the intervals that there are."""
    return {key: estimate.low for key, estimate in report.metrics.items() if estimate.low is not None}


def highs(report: Report) -> dict[str, float]:
    """The upper ends."""
    return {key: estimate.high for key, estimate in report.metrics.items() if estimate.high is not None}


def undeclared(question: Question, report: Report) -> list[str]:
    """Metrics of which the question does not say what they mean."""
    return [key for key in report.metrics if key.partition(".")[0] not in question.metrics]


# What the ends of a table's row belong to, where they are called low and high alone.
MIDDLES = ("difference", "delta_var", "value", "mean", "bound", "ratio", "share", "falling")


def intervals(report: Report) -> Iterator[tuple[str, float, float, float]]:
    """Name, value and ends, infinite where there are none, of all metrics and of all cells of tables that
    have ends beside them: ``x_low`` and ``x_high``, or ``low`` and ``high``."""
    for key, e in report.metrics.items():
        yield key, e.value, -np.inf if e.low is None else e.low, np.inf if e.high is None else e.high
    for name, table in report.tables.items():
        for low in (column for column in table if str(column).endswith("low")):
            column = low.removesuffix("low").removesuffix("_")
            middle = column or next(filter(table.__contains__, MIDDLES), "")
            high = f"{low.removesuffix('low')}high"
            if middle in table and high in table:
                ends = table[[middle, low, high]].astype(float)
                ends = ends.fillna({low: -np.inf, high: np.inf})
                for row in ends.itertuples():
                    yield f"{name}[{row.Index}].{middle}", *row[1:]


def outside_intervals(report: Report) -> list[str]:
    """Metrics, and cells of tables, whose value does not lie in its interval."""
    return [
        f"{name}: {value} is not in [{low}, {high}]"
        for name, value, low, high in intervals(report)
        if np.isfinite(value) and not within(value, low, high)
    ]


def intervals_of_unknown_make(report: Report) -> list[str]:
    """Metrics that have an interval and do not say how it was made, or say that there is none, or have one
    without width."""
    wrong = []
    for key, estimate in report.metrics.items():
        given = estimate.low is not None or estimate.high is not None
        if given and (not estimate.method or estimate.method.startswith("none")):
            wrong.append(f"{key}: {estimate}")
        if given and estimate.low == estimate.high:
            wrong.append(f"{key} has an interval without width: {estimate}")
        if not given and estimate.method and not estimate.method.startswith("none"):
            wrong.append(f"{key} has no interval: {estimate}")
    return wrong


def units_that_speak_of_intervals(question: Question) -> list[str]:
    """An interval is another one over seeds: how it was made does not belong to what a metric is."""
    return [name for name, metric in question.metrics.items() if "interval" in metric.unit]


def shares_out_of_range(question: Question) -> list[str]:
    """Metrics whose unit says that they are a share, or yes and no, and that may lie outside of [0, 1]: that
    they cannot is what their intervals over seeds go by."""
    return [
        name
        for name, metric in question.metrics.items()
        if metric.unit.startswith(("share of", "share that", "1 where ")) and not metric.is_share
    ]


def broken(question: Question, report: Report) -> list[str]:
    """What a report's metrics, and the question's units, do not keep of what is promised of them."""
    return [
        *(f"{key} is not declared" for key in undeclared(question, report)),
        *(f"{key} is no float" for key, value in values(report).items() if not isinstance(value, float)),
        *outside_intervals(report),
        *intervals_of_unknown_make(report),
        *out_of_range(question, report),
        *(f"the unit of {name} speaks of intervals" for name in units_that_speak_of_intervals(question)),
        *(f"the share {name} may lie outside of [0, 1]" for name in shares_out_of_range(question)),
    ]


def assert_equal(again: Report, first: Report) -> None:
    """The same numbers, intervals and how they were made, tables and arrays."""
    for part in (values, lows, highs):
        assert part(again) == pytest.approx(part(first), nan_ok=True)
    assert [e.method for e in again.metrics.values()] == [e.method for e in first.metrics.values()]
    assert again.arrays.keys() == first.arrays.keys()
    for name, array in again.arrays.items():
        if array.dtype.kind in "US":
            assert array.tolist() == first.arrays[name].tolist(), name
        else:
            np.testing.assert_allclose(array, first.arrays[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert again.tables.keys() == first.tables.keys()
    for table, frame in again.tables.items():
        pd.testing.assert_frame_equal(frame, first.tables[table], rtol=1e-5, atol=1e-6)


def out_of_range(question: Question, report: Report) -> list[str]:
    """Metrics outside the range that is declared for them."""
    outside = []
    for key, value in values(report).items():
        meaning = question.metrics[key.partition(".")[0]]
        below = meaning.low is not None and value < meaning.low
        above = meaning.high is not None and value > meaning.high
        if below or above:
            outside.append(f"{key} = {value} is not in [{meaning.low}, {meaning.high}]")
    return outside


def stored(name: str, question: Question, report: Report, folder: Path) -> ReportDirectory:
    """A directory that holds the report."""
    kind = RunDirectory if isinstance(question, Diagnostic) else ComparisonDirectory
    extra = ({},) if kind is RunDirectory else ()
    directory = kind.create(folder / "stored", {}, *extra)
    directory.write_report(name, report, question.metrics, {})
    return directory


def drawn_from_disk(name: str, question: Question, directory: ReportDirectory) -> dict[str, Picture]:
    with paper():
        return question.plot(directory.read_report(name))


def too_small(picture: Picture) -> str:
    """The text of a figure that is not to be read at the width of a column, or page, of a paper, if any."""
    if not isinstance(picture.figure, Figure):
        return ""
    size, text = printed(picture.figure)
    return "" if size >= LEAST - 0.05 else f"{text!r}: {size:.2f} points"


def is_figure(picture: Picture) -> bool:
    return isinstance(picture.figure, Figure) or hasattr(picture.figure, "to_html")


def files_of(pictures: dict[str, Picture]) -> int:
    """How many files the pictures are: those that move are a still and a GIF."""
    return len(pictures) + sum(isinstance(picture, Animation) for picture in pictures.values())
