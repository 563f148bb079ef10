"""Maps of planted decoders side by side: known means, one scale for all, groups without a plane."""

from dataclasses import replace

import numpy as np
import pytest

from latentrun.comparisons.metric_maps import MetricMaps
from latentrun.functional.factors import factor_table
from latentrun.functional.noise import Noise
from latentrun.plotting.planes import shades
from latentrun.types import Estimate, Factor, Report
from tests.comparisons.planted import planted

DIGIT = Factor("digit", "categorical", 0.0, 1.0)


def mapped(
    name: str, seed: int, auroc: float, deviation: float | None, axes: int = 2, factor: Factor = DIGIT
):
    """A run whose standard deviation is the same all over the map."""
    arrays = {
        "ends": np.array([[-1.0] * axes, [2.0] * axes]),
        "codes": np.zeros((3, axes), np.float32),
        "values": np.array([0.0, 1.0, 1.0], np.float32),
        "names": np.array(["z0", "z1"][:axes]),
        "map_magnification": np.full((4,) * axes, 5.0, np.float32),
    }
    metrics = {"auroc.magnification": Estimate(0.5)}
    if deviation is not None:
        arrays["map_deviation"] = np.full((4,) * axes, deviation, np.float32)
        metrics["auroc.deviation"] = Estimate(auroc)
    report = Report(metrics, {"colour": factor_table([factor])}, arrays)
    return replace(planted(f"{name}-{seed}", seed, model=name), reports={"metric_map": report})


def rows(report):
    return report.tables["groups"].set_index(["group", "metric"])


def test_means_over_runs_and_their_interval():
    runs = [mapped("rbf", seed, 0.9 + 0.01 * seed, 9.0) for seed in range(3)]
    runs += [mapped("vae", seed, 0.5, 0.1) for seed in range(3)]
    comparison = MetricMaps()
    report = comparison(runs, Noise(0))
    found = report.metrics["auroc.deviation.model=rbf"]
    half = 4.302653 * 0.01 / np.sqrt(3)  # Student, 2 degrees of freedom
    assert (found.value, found.low, found.high) == pytest.approx((0.91, 0.91 - half, 0.91 + half), rel=1e-4)
    assert rows(report).loc[("model=vae", "auroc.deviation"), ["value", "runs"]].tolist() == [0.5, 3]
    assert list(comparison.plot(report)) == ["maps"]


def test_all_rows_have_the_same_shades():
    maps = [np.linspace(0.1, 1, 100), np.linspace(10, 100, 100)]
    both = shades(maps, logarithmic=True)
    assert both.vmin < 0.2 and both.vmax > 90
    assert shades(maps[:1], logarithmic=True).vmax < 1.01


def test_a_decoder_of_one_spread_has_no_map_of_it_and_a_line_no_map_at_all():
    comparison = MetricMaps()
    runs = [mapped("vae", 0, 0.5, None), mapped("rbf", 0, 0.99, 3.0), mapped("line", 0, 0.7, 1.0, axes=1)]
    report = comparison(runs, Noise(0))
    assert report.arrays["drawn"].tolist() == ["model=vae", "model=rbf"]
    assert "map_deviation_0" not in report.arrays and "auroc.deviation.model=vae" not in report.metrics
    assert report.metrics["auroc.deviation.model=line"].value == 0.7
    panels = [ax for ax in comparison.plot(report)["maps"].figure.axes if ax.get_xlabel() == "$z_{0}$"]
    assert len(panels) == 4 and sum(bool(ax.images) for ax in panels) == 3
    lines = comparison([mapped("line", seed, 0.7, 1.0, axes=1) for seed in range(2)], Noise(0))
    assert comparison.plot(lines) == {}


def test_codes_have_a_colour_only_where_it_means_the_same():
    other = replace(DIGIT, name="letter")
    runs = [mapped("vae", 0, 0.5, 1.0), mapped("rbf", 0, 0.9, 2.0, factor=other)]
    comparison = MetricMaps()
    report = comparison(runs, Noise(0))
    assert "colour" not in report.tables and list(comparison.plot(report)) == ["maps"]
    assert "coloured" not in comparison.plot(report)["maps"].caption
