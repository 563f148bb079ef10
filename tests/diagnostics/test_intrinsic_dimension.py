"""Dimensions of data, codes and samples that are known, at scales that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentrun.config.build import build
from latentrun.data.base import Dataset
from latentrun.diagnostics.samples.intrinsic_dimension import IntrinsicDimension
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from tests.conformance import parts
from tests.diagnostics.test_samples import Generator
from tests.planted import Deterministic, Rows, planted_run


def shape(**changes) -> Dataset:
    return build(
        parts.spec("data", "manifold") | {"n": 3000, "test_fraction": 0.5} | changes, Dataset, "data"
    )


def make(**changes) -> IntrinsicDimension:
    return IntrinsicDimension(**({"n": 3000, "k": 20, "neighbours": [5, 20, 100]} | changes))


def cube(n: int, d: int) -> torch.Tensor:
    return Noise(d).uniform("x", (n, d))


def test_data_codes_and_samples_have_a_dimension_each():
    """A flat square in R^4, whose code keeps one of its coordinates; samples fill three dimensions."""
    flat = torch.cat([cube(2000, 2), torch.zeros(2000, 2)], dim=1)
    report = make()(
        planted_run(Deterministic(lambda x: x[:, :1], lambda z: z, 1, (4,)), Rows(flat)), Noise(0)
    )
    assert report.metrics["dimension.data"].value == pytest.approx(2, abs=0.1)
    assert report.metrics["dimension.codes"].value == pytest.approx(1, abs=0.05)
    assert report.metrics["two_nn.data"].value == pytest.approx(2, abs=0.15)
    widen = Generator(lambda z: torch.cat([z, 0 * z[:, :1]], dim=1), (4,), 3)
    report = make()(planted_run(widen, Rows(flat)), Noise(0))
    assert report.metrics["dimension.samples"].value == pytest.approx(3, abs=0.25)
    assert "dimension.codes" not in report.metrics


def test_noise_makes_a_curve_a_plane_below_its_scale_and_leaves_it_one_above():
    clean, noisy = (shape(name="circle", noise=noise) for noise in (0.0, 0.02))
    model = Generator(lambda z: z, (2,), 2)
    reports = [
        make(neighbours=[5, 20, 50, 150])(planted_run(model, data), Noise(0)) for data in (clean, noisy)
    ]
    curves = [
        table.loc[table["set"] == "data", "dimension"].to_numpy()
        for table in (report.tables["scales"] for report in reports)
    ]
    assert np.abs(curves[0] - 1).max() < 0.1
    assert curves[1][0] > 1.7 and curves[1][-1] < 1.2 and (np.diff(curves[1]) < 0).all()
    assert reports[1].arrays["noise"].tolist() == [0.02] and reports[1].arrays["known"].tolist() == [1]
    figure = make().plot(reports[1])["scales"]
    assert "three standard deviations" in figure.caption


def test_isolated_points_have_no_dimension_and_say_so():
    data = shape(name="points")
    with pytest.raises(NothingToMeasure, match="data: 1500 rows, 8 of them different"):
        make()(planted_run(Deterministic(lambda x: x, lambda z: z, 2, (2,)), data), Noise(0))
    with pytest.raises(NothingToMeasure, match="10 test rows have no 20-th neighbour"):
        make(n=10)(planted_run(Deterministic(lambda x: x, lambda z: z, 2, (2,)), Rows(cube(99, 2))), Noise(0))


def test_a_list_of_no_neighbours_is_refused():
    with pytest.raises(InputError, match="neighbours: at least one"):
        make(neighbours=[])
