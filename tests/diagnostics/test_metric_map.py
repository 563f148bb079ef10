"""Maps of metrics that are known: exact surfaces, standard deviations that know the data and such that do
not, draws of dimensions that are alike."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from latentrun.diagnostics.decoder.metric_map import MetricMap
from latentrun.diagnostics.decoder.metric_map_draws import concentration, scatter_of
from latentrun.diagnostics.surface import surface_of
from latentrun.errors import NothingToMeasure
from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.noise import Noise
from latentrun.judgement import Origin, judged
from latentrun.manifolds import space
from latentrun.run import Run
from tests.conformance import parts
from tests.geometry.surfaces import on_sphere
from tests.planted import Deterministic, Rows, planted_run

CENTERS = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
FLAT = torch.tensor([[2.0, 0.5, 0.0], [0.0, 1.0, -1.0]])
SMALL = {"rows": 300, "points": 400, "grid": 12, "jacobians": 40, "shown": 50}

VALUES = parts.spec("diagnostic", "metric_map")["metric_map"] | SMALL
del VALUES["_target_"]


class Uncertain(Deterministic):
    """Codes are the examples; mean and standard deviation of p(x|z) are given functions."""

    def __init__(self, dim: int, mean: Callable, scale: Callable | None = None):
        super().__init__(lambda x: x, mean, dim, (dim,))
        self._sd = scale

    def moments_at(self, z: Tensor) -> tuple[Tensor, ...]:
        mean = self.decode(z)
        return (mean,) if self._sd is None else (mean, self._sd(z))


def clusters(dim: int = 2, n: int = 300) -> Rows:
    """Three blobs, with their number as label."""
    labels = torch.arange(n) % 3
    centers = torch.nn.functional.pad(CENTERS, (0, dim - 2)) if dim > 1 else CENTERS[:, :1]
    x = {
        split: centers[labels] + 0.2 * Noise(i).normal("x", (n, dim))
        for i, split in enumerate(("train", "val", "test"))
    }
    return Rows(x, labels=labels)


def found(run: Run, **changes):
    return MetricMap(**VALUES | changes)(run, Noise(0))


def planted(dim: int, mean: Callable, scale: Callable | None = None, **changes):
    return found(planted_run(Uncertain(dim, mean, scale), clusters(dim)), **changes)


def flat(z: Tensor) -> Tensor:
    return z @ FLAT.to(z)


# ---------------------------------------------------------------- is it uncertain where there are no data?
def far_from_blobs(z: Tensor) -> Tensor:
    """As an RBF precision with kernels on the blobs."""
    near = (-2 * (z.unsqueeze(1) - CENTERS).square().sum(2)).exp().sum(1, keepdim=True)
    return (near + 1e-4).rsqrt().expand(-1, 3)


def near_blobs(z: Tensor) -> Tensor:
    return 1 / far_from_blobs(z)


def same(z: Tensor) -> Tensor:
    return 0.3 * torch.ones_like(flat(z))


def arbitrary(z: Tensor) -> Tensor:
    return (1 + 0.5 * (1000 * z.sum(1, keepdim=True)).sin()).expand(-1, 3)


@pytest.mark.parametrize(
    ("scale", "low", "high", "said"),
    [
        (far_from_blobs, 0.97, 1.0, ["uncertain_off_data"]),
        (near_blobs, 0.0, 0.03, ["arbitrary_off_data"]),
        (arbitrary, 0.44, 0.56, ["arbitrary_off_data"]),
        (same, 0.5, 0.5, ["arbitrary_off_data"]),
    ],
)
def test_the_standard_deviation_tells_where_there_are_no_codes(scale, low, high, said):
    report = planted(2, flat, scale)
    told = judged(MetricMap.rules, report.metrics, Origin("RUN", [], {}))
    assert [finding.name for finding in told] == said
    auroc = report.metrics["auroc.deviation"]
    assert low <= auroc.value <= high
    assert auroc.low is None if scale is same else auroc.low < auroc.high
    # Of a flat decoder the magnification adds nothing but what sigma does.
    if scale is same:
        assert report.metrics["auroc.magnification"].value == pytest.approx(0.5, abs=0.02)


def test_points_off_the_data_are_far_from_every_code_and_in_the_box():
    data = clusters()
    run = planted_run(Uncertain(2, flat, far_from_blobs), data)
    report = found(run, beyond=0.9, reach=2.0)
    table, threshold = report.tables["points"], report.metrics["threshold"].value
    train, test = data.split("train").x, data.split("test").x
    gap = nearest(test, train, 1)[0][:, 0].numpy()
    assert threshold == pytest.approx(np.quantile(gap, 0.9))
    assert (table.loc[table["kind"] == "off", "gap"] > threshold).all()
    np.testing.assert_allclose(table.loc[table["kind"] == "code", "gap"], gap)
    codes = torch.cat([train, test])
    width = (codes.amax(0) - codes.amin(0)).numpy()
    np.testing.assert_allclose(np.ptp(report.arrays["ends"], axis=0), 2 * width, rtol=1e-5)
    assert 0.5 < report.metrics["off"].value < 1


def test_without_a_standard_deviation_there_is_none_to_judge():
    report = planted(2, flat)
    assert "auroc.deviation" not in report.metrics and "map_deviation" not in report.arrays
    assert "concentration" not in report.tables
    assert any("the same everywhere" in note for note in report.notes)


# ---------------------------------------------------------------- known metrics
def test_a_flat_decoder_has_one_metric():
    report = planted(2, flat)
    values = np.linalg.eigvalsh((FLAT @ FLAT.T).double().numpy())
    expected = 0.5 * np.log(values).sum()
    np.testing.assert_allclose(report.arrays["map_magnification"], expected, rtol=1e-5)
    assert report.metrics["magnification.codes"].value == pytest.approx(expected, rel=1e-5)
    assert report.metrics["condition.median"].value == pytest.approx(values[1] / values[0], rel=1e-5)
    expected = 1 - math.sqrt(values.prod()) / values.mean()
    assert report.metrics["anisotropy.p95"].value == pytest.approx(expected, rel=1e-5)
    assert report.metrics["singular"].value == 0


def test_the_magnification_of_a_sphere_is_that_of_its_parallels():
    x = {s: 0.2 + 2.5 * Noise(i).uniform("x", (200, 2)) for i, s in enumerate(("train", "val", "test"))}
    report = found(planted_run(Uncertain(2, on_sphere), Rows(x)), reach=1.0)
    (low, high), grid = report.arrays["ends"][:, 0], report.arrays["map_magnification"]
    polar = low + (high - low) * (np.arange(12) + 0.5) / 12
    np.testing.assert_allclose(grid, np.tile(np.log(np.sin(polar)), (12, 1)), atol=1e-4)


def test_a_direction_that_is_lost_is_singular_and_one_that_nearly_is_not():
    lost = planted(2, lambda z: z[:, :1].expand(-1, 3))
    assert lost.metrics["singular"].value == 1 and "condition.median" not in lost.metrics
    slight = planted(2, lambda z: torch.stack([z[:, 0], 1e-4 * z[:, 1], z[:, 0]], 1))
    assert slight.metrics["singular"].value == 0
    assert slight.metrics["condition.median"].value == pytest.approx(2e8, rel=1e-3)


def test_the_map_of_many_variables_lies_where_the_codes_vary():
    wide = torch.eye(4) * torch.tensor([1.0, 2.0, 3.0, 4.0])
    report = planted(4, lambda z: z @ wide)
    # The blobs lie in the plane of the first two variables.
    np.testing.assert_allclose(report.arrays["map_magnification"], math.log(24), rtol=1e-5)
    assert any("two directions of largest variance" in note for note in report.notes)
    assert report.arrays["codes"].shape == (50, 2) and report.arrays["codes"].std(0).min() > 1


def test_one_variable_has_a_curve():
    report = planted(1, lambda z: torch.cat([z.exp(), z], 1), lambda z: (2 * z).exp().expand(-1, 2))
    ends, curve = report.arrays["ends"], report.arrays["map_magnification"]
    z = ends[0, 0] + np.ptp(ends) * (np.arange(len(curve)) + 0.5) / len(curve)
    np.testing.assert_allclose(curve, 0.5 * np.log(np.exp(2 * z) + 1 + 8 * np.exp(4 * z)), rtol=1e-4)
    assert "condition.median" not in report.metrics


def test_cyclic_coordinates_are_not_left():
    model = Uncertain(2, lambda z: z * torch.tensor([1.0, 3.0]))
    model.spaces["z"] = space("s1")
    x = space("s1").sample(100, Noise(0))
    report = found(planted_run(model, Rows(x)))
    low, high = report.arrays["ends"][:, 0]
    assert high - low == pytest.approx(2 * math.pi, rel=1e-5)


def test_few_codes_are_nothing_to_measure():
    with pytest.raises(NothingToMeasure, match="3 codes of the test split; 20 are needed"):
        found(planted_run(Uncertain(2, flat), Rows(torch.randn(3, 2))))


# ---------------------------------------------------------------- draws
def test_the_scatter_of_draws_is_that_of_draws():
    mean, scale = Noise(0).normal("a", (1, 6, 2)).double(), Noise(1).normal("b", (1, 6, 2)).double()
    j = mean + Noise(2).normal("eps", (200_000, 6, 1)).double() * scale
    for size in (2, 6):
        m = j[:, :size].mT @ j[:, :size]
        expected = m.var(0).sum().sqrt() / m.mean(0).norm()
        assert scatter_of(mean, scale, [size])[0, 0] == pytest.approx(expected.item(), rel=0.02)


def linear(width: int, weight: Tensor) -> Uncertain:
    """mean and standard deviation linear in z, with random rows of sizes ``weight (width, 1)``."""
    a, b = (weight * Noise(i).normal("row", (width, 2)) for i in (0, 1))
    return Uncertain(2, lambda z: z @ a.T, lambda z: 5 + z @ b.T)


def test_the_metric_of_dimensions_that_are_alike_concentrates_like_their_root():
    run = planted_run(linear(2000, torch.ones(2000, 1)), clusters())
    scatter = concentration(surface_of(run), clusters().split("test").x[:60], 6, Noise(0))
    slope, table = scatter.metrics()["concentration.slope"], scatter.table()
    assert slope.value == pytest.approx(-0.5, abs=0.01) and slope.high - slope.low < 0.02
    assert table["dimensions"].tolist()[::5] == [62, 2000]
    assert scatter.metrics()["concentration.cv"].value == pytest.approx(table["cv"].iloc[-1])


def test_where_few_dimensions_count_it_does_not():
    weight = torch.full((2000, 1), 1e-3)
    weight[:4] = 1.0
    run = planted_run(linear(2000, weight), clusters())
    scatter = concentration(surface_of(run), clusters().split("test").x[:60], 6, Noise(0))
    assert scatter.metrics()["concentration.slope"].high > -0.4
    assert scatter.metrics()["concentration.cv"].value > 0.3


# ---------------------------------------------------------------- where there is little
def test_codes_that_are_one_point_leave_nothing_off_the_data():
    report = found(planted_run(Uncertain(2, flat, same), Rows(torch.ones(50, 2))))
    assert report.metrics["off"].value == 0 and "auroc.deviation" not in report.metrics
    assert any("only 0 of" in note for note in report.notes)
    MetricMap(**VALUES).plot(report)
    assert report.metrics["magnification.codes"].value == pytest.approx(0.5 * math.log(8.25), rel=1e-5)


def test_a_decoder_that_gives_no_numbers_far_out_is_counted_not_averaged():
    report = planted(2, lambda z: flat(z) + (3 - z[:, :1]).sqrt(), reach=3.0)
    assert all(math.isfinite(metric.value) for metric in report.metrics.values())
    assert any("the metric is no number are left out" in note for note in report.notes)
    MetricMap(**VALUES).plot(report)
