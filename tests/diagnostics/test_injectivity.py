"""Injectivity of maps whose folds are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from latentrun.config.build import build
from latentrun.data.base import Oracle
from latentrun.data.heatmaps import Heatmaps, HeatmapsT
from latentrun.diagnostics.base import Diagnostic, misfit
from latentrun.diagnostics.needs import FLAT
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.manifolds.base import Manifold
from latentrun.types import Factor
from tests.planted import Deterministic, Gaussian, Rows, Span, planted_run

CONF = Path(__file__).parents[2] / "conf"
SHIPPED = yaml.safe_load((CONF / "diagnostic" / "injectivity.yaml").read_text())["injectivity"]
GRID = torch.cartesian_prod(*[torch.linspace(-1, 1, 11)] * 3)  # of the three factors of Span
FRAME = torch.linalg.qr(torch.randn(16, 3, generator=torch.Generator().manual_seed(5)))[0].T


def make(**changes) -> Diagnostic:
    return build(SHIPPED | changes, Diagnostic, "injectivity")


def value(report, name: str) -> float:
    return report.metrics[name].value


class Planted(Rows, Oracle):
    """4 x 4 pictures of three factors in [-1, 1], their coordinates bent by a given function and laid along
    orthonormal pictures."""

    intrinsic_dim, betti = 3, (1,)

    def __init__(self, bend, names=("correlation", "variance_x", "variance_y"), y=GRID):
        self.bend = bend
        super().__init__(
            self.render(y), y, tuple(Factor(name, "real", -1, 1) for name in names), value_range=(-1, 1)
        )

    def render(self, factors):
        return (self.bend(factors) @ FRAME.to(factors)).view(-1, 1, 4, 4)

    def project(self, x):
        raise NotImplementedError

    def run(self, mix=None):
        """A run whose code is ``mix (d, 3)`` times the picture's coordinates."""
        mix = torch.eye(3) if mix is None else mix
        return planted_run(
            Deterministic(lambda x: x.flatten(1) @ FRAME.T @ mix.T, lambda z: z, len(mix), self.event_shape),
            self,
        )


def vanishing(y):
    """(r, a, b) -> (r (1 - a) / 2, a, b): at a = 1 the first factor is lost."""
    return torch.stack([y[:, 0] * (1 - y[:, 1]) / 2, y[:, 1], y[:, 2]], 1)


# ---------------------------------------------------------------- controls
def test_an_isometry_loses_nothing_anywhere():
    report = make()(Span(GRID).run(), Noise(0))
    # A range of 2 for every factor: all singular values are 2, and 1 per unit of the factors.
    for name, expected in (
        ("least", 2),
        ("median", 2),
        ("condition", 1),
        ("corner", 1),
        ("factor_corner", 1),
        ("collision", 2),
    ):
        assert value(report, f"image_{name}") == pytest.approx(expected, rel=1e-6), name
    assert value(report, "raw.image") == pytest.approx(1, rel=1e-6)
    points = report.tables["points"]
    assert np.allclose(points[["image.correlation", "image.variance_x", "image.greatest"]], 2)
    # Codes are the factors, whitened: each divided by the sd of eleven even values, 2 / sd apart at the ends.
    sd = GRID[:, 0].double().std().item()
    for name in ("least", "median", "collision"):
        assert value(report, f"latent_{name}") == pytest.approx(2 / sd, rel=1e-4), name
    assert not any(name.startswith("posterior") for name in report.metrics)


def test_a_linear_encoder_has_the_singular_values_of_its_matrix():
    mix = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    data = Planted(lambda y: y)
    model = Gaussian(
        lambda x: x.flatten(1) @ FRAME.T @ mix.T,
        lambda x: torch.full((len(x), 4), 0.25),
        lambda z: z,
        4,
        data.event_shape,
    )
    report = make()(planted_run(model, data), Noise(0))
    values = np.linalg.svd(
        2 * mix.double().numpy() / 0.25, compute_uv=False
    )  # per range, in posterior standard deviations
    assert value(report, "posterior_least") == pytest.approx(values[-1], rel=1e-5)
    assert value(report, "posterior_condition") == pytest.approx(values[0] / values[-1], rel=1e-5)
    norms = np.linalg.norm(2 * mix.double().numpy() / 0.25, axis=0)
    for name, norm in zip(("correlation", "variance_x", "variance_y"), norms, strict=True):
        assert np.allclose(report.tables["points"][f"posterior.{name}"], norm, rtol=1e-5)
    # Whitening undoes any linear map of these even and independent factors.
    assert value(report, "latent_condition") == pytest.approx(1, rel=1e-4)
    assert report.tables["points"].filter(like="posterior.weak").std().max() < 1e-4


# ---------------------------------------------------------------- a fold
def test_a_factor_that_vanishes_in_the_corner_is_found_there():
    report = make(corner={"variance_x": "high"}, within=0.01)(Planted(vanishing).run(), Noise(0))
    for space in ("image", "latent"):
        for name in ("least", "corner", "rank", "factor_corner", "factor_rank"):
            assert value(report, f"{space}_{name}") == pytest.approx(0, abs=1e-6), name
        assert value(report, f"{space}_alignment") == pytest.approx(1, abs=1e-6)
        # Pictures of all r at a = 1 are one picture: a collision.
        assert value(report, f"{space}_collision") == pytest.approx(0, abs=1e-6)
    least = report.tables["least"]
    assert (least["variance_x"] == 1).all() and np.allclose(
        least.loc[least["space"] == "image", "weak.correlation"], 1
    )
    pairs = report.tables["collisions"]
    assert (pairs["variance_x"] == 1).all() and np.allclose(pairs["variance_y"], pairs["variance_y other"])
    # The column of r has norm 2 (1 - a) / 2: the table has it at every point, and the regions' mean of the
    # low end is 2.
    points = report.tables["points"]
    assert np.allclose(points["image.correlation"], 1 - points["variance_x"], atol=1e-6)
    regions = report.tables["regions"].set_index("variance_x")
    assert (
        regions.loc["low", "image.correlation"] == pytest.approx(2) and regions.loc["high", "points"] == 121
    )


def test_the_same_fold_elsewhere_is_not_the_corners():
    report = make(corner={"variance_x": "low"}, within=0.01)(Planted(vanishing).run(), Noise(0))
    assert value(report, "image_factor_corner") == pytest.approx(2) and value(report, "image_corner") > 1
    assert value(report, "image_rank") > 0.5 and value(report, "image_least") == pytest.approx(0, abs=1e-12)


def test_what_shows_least_need_not_be_the_factor_that_is_suspected():
    """In the corner the third factor is nearly lost, the first is as visible as anywhere."""
    bend = lambda y: torch.stack([y[:, 0], y[:, 1], y[:, 2] * (1.01 - y[:, 1]) / 2], 1)  # noqa: E731
    report = make(corner={"variance_x": "high"}, within=0.01)(Planted(bend).run(), Noise(0))
    assert (
        value(report, "image_corner") < 0.05 and value(report, "image_rank") < 121 / 1331
    )  # none outside it
    assert value(report, "image_factor_corner") == pytest.approx(1) and value(report, "image_alignment") < 0.1


def test_an_encoder_that_folds_pictures_that_do_not():
    """z = (r², a, b): no picture is lost, but r and -r have one code, and at r = 0 the derivative is lost
    too."""
    data = Planted(lambda y: y)

    def encode(x):
        y = x.flatten(1) @ FRAME.T
        return torch.stack([y[:, 0] ** 2, y[:, 1], y[:, 2]], 1)

    report = make()(planted_run(Deterministic(encode, lambda z: z, 3, data.event_shape), data), Noise(0))
    assert value(report, "image_least") == pytest.approx(2, rel=1e-6) and value(
        report, "image_collision"
    ) == pytest.approx(2, rel=1e-6)
    assert value(report, "latent_least") < 1e-5 and value(report, "latent_collision") < 1e-5
    worst = report.tables["least"].query("space == 'latent'")
    assert np.allclose(worst["correlation"], 0, atol=1e-6) and np.allclose(worst["weak.correlation"], 1)
    pairs = report.tables["collisions"].query("space == 'latent'")
    assert np.allclose(pairs["correlation"], -pairs["correlation other"]) and (pairs["ratio"] < 1e-5).all()


def test_fewer_codes_than_factors_lose_a_mixture_everywhere():
    report = make()(Planted(lambda y: y).run(torch.tensor([[1.0, 0, 0], [0, 1, 1]])), Noise(0))
    assert value(report, "latent_median") == 0 and value(report, "image_median") == pytest.approx(2, rel=1e-6)
    assert "codes vary in 2 directions, factors in 3" in " ".join(report.notes)
    weak = report.tables["points"][["latent.weak.variance_x", "latent.weak.variance_y"]].to_numpy()
    assert np.allclose(np.abs(weak), 0.5**0.5, atol=1e-5)


# ---------------------------------------------------------------- the renderer
@pytest.mark.parametrize(("cls", "option"), [(Heatmaps, "heatmaps"), (HeatmapsT, "heatmaps_t")])
def test_derivatives_of_the_heatmaps_are_finite_differences(cls, option):
    arguments = yaml.safe_load((CONF / "data" / f"{option}.yaml").read_text())
    del arguments["_target_"]
    data = cls(**arguments)
    data.rows = 60
    model = Deterministic(lambda x: x.flatten(1)[:, [100, 648, 700]], lambda z: z, 3, data.event_shape)
    report = make()(planted_run(model, data), Noise(0))
    points = report.tables["points"]
    names = [factor.name for factor in data.factors]
    y = torch.from_numpy(points[names].to_numpy(np.float64, copy=True))
    for i, name in enumerate(names[:3]):
        step = torch.zeros_like(y)
        step[:, i] = 1e-5
        slope = (data.render(y + step) - data.render(y - step)).flatten(1).norm(dim=1) / 2e-5
        width = data.factors[i].high - data.factors[i].low
        np.testing.assert_allclose(points[f"image.{name}"], slope * width, rtol=1e-4)
    assert not any("dof" in column for column in points.columns if column != "dof")
    assert ("held at their value: dof" in report.notes) == (option == "heatmaps_t")
    # Two pictures that are mirror images have the same singular values.
    assert points["image.least"].min() > 0.5


# ---------------------------------------------------------------- the rest
def test_data_without_the_named_factors_get_the_general_numbers():
    report = make()(Planted(vanishing, ("height", "width", "depth")).run(), Noise(0))
    assert value(report, "image_least") == pytest.approx(0, abs=1e-12)
    assert (
        not any("corner" in name or "alignment" in name for name in report.metrics)
        and "regions" not in report.tables
    )
    assert "no corner: the data have no real factor variance_x, variance_y" in report.notes
    assert set(make().plot(report)) == {"map", "collisions"}


def test_pictures_of_a_whole_report():
    asked = make()
    report = asked(Planted(vanishing).run(), Noise(0))
    drawn = asked.plot(report)
    assert set(drawn) == {"map", "diagonal", "corner", "collisions"}
    panels = drawn["map"].figure.axes
    assert [ax.get_title() for ax in panels[:4]] == [
        "correlation -1",
        "correlation 0",
        "correlation 1",
        "least over correlation",
    ]
    # A row of pictures that changes by r alone: in the corner a = b = 1 not at all, at the other end by 2.
    change = report.arrays["sweep_change"]
    assert np.allclose(change[0], 0, atol=1e-9) and np.allclose(change[2], np.linspace(0, 2, 9))


def test_at_most_so_many_points_the_same_every_time():
    run = Planted(vanishing).run()
    once, again = (make(points=200)(run, Noise(3)) for _ in range(2))
    assert len(once.tables["points"]) == 200 and once.metrics == again.metrics
    assert len(make()(run, Noise(3)).tables["points"]) == len(GRID)


def test_a_wrong_end_is_named():
    with pytest.raises(
        InputError, match=r"diagnostic\.injectivity\.corner\.variance_x 'hgih' \(did you mean 'high'\?\)"
    ):
        make(corner={"variance_x": "hgih"})


def test_a_collapsed_encoder_keeps_nothing_and_the_pictures_what_they_have():
    report = make()(Planted(lambda y: y).run(torch.zeros(3, 3)), Noise(0))
    assert value(report, "latent_least") == value(report, "latent_median") == 0
    assert value(report, "image_least") == pytest.approx(2, rel=1e-6)


def test_a_factor_without_a_range_is_held():
    data = Planted(lambda y: y, y=GRID * torch.tensor([0.0, 1.0, 1.0]))
    data.factors = (Factor("correlation", "real", 0, 0), *data.factors[1:])
    report = make()(data.run(), Noise(0))
    assert "held at their value: correlation" in report.notes
    assert value(report, "image_least") == pytest.approx(2, rel=1e-6)


def test_without_a_factor_that_varies_there_is_nothing_to_differentiate_by():
    data = Planted(lambda y: y)
    data.factors = tuple(Factor(factor.name, "real", 0, 0) for factor in data.factors)
    with pytest.raises(NothingToMeasure, match="no real factor that varies"):
        make()(data.run(), Noise(0))


class Sphere(Manifold):
    """A latent space that is not flat."""

    dim, ambient_dim = 2, 3
    project = distance = exp = log = lambda self, *points: points[0]


def test_a_curved_latent_space_is_refused():
    run = Planted(vanishing).run()
    assert misfit(make(), run.model, run.data) is None
    run.model.spaces = {"z": Sphere()}
    assert misfit(make(), run.model, run.data) is FLAT
