"""Data of few dimensions over the family they come from."""

from __future__ import annotations

import numpy as np
import pytest

from latentrun.config.build import build
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import outline_of
from latentrun.diagnostics.samples.samples_plot import densities
from latentrun.plotting.family import clouds, courses, draw_range, joined, parted
from latentrun.plotting.style import LEAST, figure, printed
from tests.conformance import parts


def outline(name: str, **changes) -> tuple[np.ndarray, np.ndarray]:
    data = build(parts.spec("data", "manifold") | {"name": name, "n": 300} | changes, Dataset, "data")
    return data.split("test").x.numpy(), outline_of(data)["outline"]


def test_curves_are_joined_and_parted_again():
    curves = [np.zeros((3, 2)), np.ones((1, 2)), np.full((2, 2), 4.0)]
    assert [len(part) for part in parted(joined(curves, 2))] == [3, 1, 2]
    assert joined([], 3).shape == (0, 3) and parted(joined([], 3)) == []


def test_only_data_of_few_dimensions_have_an_outline():
    assert outline_of(parts.data("lifted")) == {} and outline_of(parts.data("digits")) == {}
    _, points = outline("points")
    assert [len(part) for part in parted(points)] == [1] * 8
    _, both = outline("line_and_disc")
    curves = [part for part in parted(both) if len(part) > 1]
    assert both.shape[1] == 2 and len(curves) > 8


@pytest.mark.parametrize("name", ["line_and_disc", "points", "sphere_and_line"])
def test_points_and_paths_stand_over_their_family_and_can_be_read(name):
    x, family = outline(name)
    beside = clouds([("test rows", x), ("samples", 2 * x)], family)
    position = np.linspace(0, 1, 5)
    paths = courses([(str(i), position, x[i : i + 5]) for i in range(4)], family, "share of the way")
    for drawn in (beside, paths):
        panels = [ax for ax in drawn.axes if ax.get_label() != "<colorbar>"]
        low, high = np.array([panels[0].get_xlim(), panels[0].get_ylim()]).T
        drawn.draw_without_rendering()
        assert printed(drawn)[0] >= LEAST
        assert all(panel.get_xlim() == panels[0].get_xlim() for panel in panels)
        assert (low <= np.nanmin(family, axis=0)[:2]).all() and (high >= np.nanmax(family, axis=0)[:2]).all()
    assert [len(panel.collections[0].get_offsets()) for panel in beside.axes] == [len(x)] * 2


def test_the_values_of_numbers_are_bands_and_lines():
    _, segment = outline("segment")
    _, points = outline(
        "points", points=parts.spec("data", "manifold")["points"] | {"layout": "grid", "dim": 1}
    )
    fig, axes = figure(1, 2)
    draw_range(axes[0, 0], segment)
    draw_range(axes[0, 1], points)
    assert len(axes[0, 0].patches) == 1 and len(axes[0, 1].lines) == 8
    drawn = densities(np.zeros((20, 1)), np.ones((20, 1)), points)
    assert [line.get_xdata()[0] for line in drawn.axes[0].lines] == [-7, -5, -3, -1, 1, 3, 5, 7]
